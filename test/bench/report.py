#!/usr/bin/env python3
"""The figures of a benchmark: report.py BOX RESULTS MESSAGES"""
import collections
import statistics
import sys

TITLES = {
    "evilnet_rows_dedup": "evilnet: rows, no repeats, counts",
    "evilnet_rows": "evilnet: rows, counts",
    "evilnet_counts": "evilnet: counts",
    "sql_rows_dedup": "COPY + SQL: rows, no repeats, counts",
    "sql_rows": "COPY + SQL: rows, counts",
    "sql_counts": "COPY + SQL: counts",
    "spark_counts": "Spark: counts, at the end",
    "spark_stream": "Spark: counts, every 100,000 messages",
    "copy_text": "COPY of ready rows",
    "aggregates_0": "no aggregate",
    "aggregates_1": "1 aggregate",
    "aggregates_4": "4 aggregates",
    "aggregates_16": "16 aggregates",
    "aggregates_history": "1 aggregate with 10 million older buckets",
    "hot_1": "one hot group, 1 worker",
    "hot_2": "one hot group, 2 workers",
}


def read_results(path):
    """{case: {measure: [value of each run]}}"""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    with open(path, encoding="ascii") as lines:
        for line in lines:
            case, _, measure, value = line.rstrip("\n").split("\t")
            found[case][measure].append(float(value))
    return found


def check(case, measures, messages):
    """A speed at which the counts are wrong is none."""
    expected = ["posts"] if case.endswith(("_rows", "_rows_dedup", "copy_text")) else []
    expected += ["counted"] if case not in ("copy_text", "aggregates_0") else []
    for measure in expected:
        if any(value != messages for value in measures[measure] or [0]):
            sys.exit(f"{case}: {measure} {measures[measure]}, not {messages}")


def rate(messages, seconds):
    return f"{messages / seconds:,.0f}"


def speed_row(case, measures, messages):
    walls = measures["wall"]
    inner = measures.get("journal") or measures.get("with start-up")
    return (TITLES[case], rate(messages, statistics.median(walls)),
            f"{rate(messages, max(walls))} .. {rate(messages, min(walls))}",
            rate(messages, statistics.median(inner)) if inner else "",
            " ".join(f"{load:.1f}" for load in measures["load"]))


def stage_row(case, measures, messages):
    stages = {name[6:]: statistics.median(values) / messages
              for name, values in measures.items() if name.startswith("stage ")}
    total = sum(stages.values())
    return (TITLES[case], f"{statistics.median(measures['wall']) * 1e6 / messages:.2f}", f"{total:.2f}",
            ", ".join(f"{name} {value:.2f}" for name, value in stages.items()))


def print_spark(results):
    evilnet = results.get("evilnet_counts")
    for case, when in (("spark_stream", "result every 100,000 messages"), ("spark_counts", "one result at the end")):
        if evilnet and case in results:
            times = statistics.median(results[case]["wall"]) / statistics.median(evilnet["wall"])
            print(f"evilnet counts {times:.1f} times as fast as Spark with {when}.")


def print_aggregates(results, messages):
    """Time in the merge stage, per message and aggregate."""
    for count in (1, 4, 16):
        measures = results.get(f"aggregates_{count}")
        if measures:
            merge = statistics.median(measures["stage merge"]) / messages
            print(f"{count} aggregate(s): {merge:.2f} microseconds per message in the merge, {merge / count:.2f} for each")
    one, history = results.get("aggregates_1"), results.get("aggregates_history")
    if one and history:
        ratio = statistics.median(history["stage merge"]) / statistics.median(one["stage merge"])
        print(f"With 10 million older buckets the merge takes {ratio:.2f} times as long.")
    one, two = results.get("hot_1"), results.get("hot_2")
    if one and two:
        ratio = statistics.median(one["journal"]) / statistics.median(two["journal"])
        print(f"Two workers on one hot group store {ratio:.2f} times as fast as one.")


def print_reads(measures):
    if measures["differences"] != [0]:
        sys.exit("a report counts otherwise than the buckets")
    print(f"Reports of {measures['buckets'][0]:,.0f} buckets, 24 hours of 5,000 cities by the minute, with roll-ups; best of 7:")
    for name in ("top 100 of a day", "top 5 of 60 minutes", "top 5 of an hour", "trend of all cities", "hour of all cities",
                 "hopping windows", "sliding windows", "cumulative windows", "series"):
        print(f"  {name}: {measures[name][0] * 1000:.1f} ms")


def print_table(head, rows):
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    print()


def main():
    box, results, messages = sys.argv[1], read_results(sys.argv[2]), int(sys.argv[3])
    with open(box, encoding="utf-8") as lines:
        for line in lines:
            print("- " + line.rstrip("\n").replace("\t", ": ", 1))
    print()
    cases = [case for case in TITLES if case in results]
    for case in cases:
        check(case, results[case], messages)
    print_table(["", "messages/s", "slowest .. fastest", "by journal, or with start-up", "load before"],
                [speed_row(case, results[case], messages) for case in cases])
    staged = [case for case in cases if any(name.startswith("stage ") for name in results[case])]
    if staged:
        print_table(["microseconds per message", "wall", "stages", "of which"],
                    [stage_row(case, results[case], messages) for case in staged])
    bar = results.get("sql_rows_dedup"), results.get("evilnet_rows_dedup")
    if all(bar):
        times = statistics.median(bar[0]["wall"]) / statistics.median(bar[1]["wall"])
        print(f"evilnet stores rows without repeats and counts them {times:.1f} times as fast as COPY + SQL.")
    print_spark(results)
    print_aggregates(results, messages)
    if "reads" in results:
        print_reads(results["reads"])


if __name__ == "__main__":
    main()
