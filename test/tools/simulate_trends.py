#!/usr/bin/env python3
"""A simulated stream with planted bursts, as SQL for psql, to judge trends by.

    simulate_trends.py --stream S --seed N --cities N --days N --judged N --truth FILE

Counts per city and minute go to S_by_city_slots, what was consumed to
evilnet.stream_offset and evilnet.coverage_span; the truth, one planted burst per
line (city start end factor posts), to FILE. Every city has a rate, a day's
curve by its longitude and a weekend's, and over-dispersed counts. Global surges
lift all cities, an outage leaves a hole that is lost for ever. What is before the
last hours is given by the hour, as one count in its first minute.
"""
import argparse
import datetime
import math
import random

UTC = datetime.timezone.utc
END = datetime.datetime(2026, 6, 15, tzinfo=UTC)       # a Monday
HOUR = 60                                               # in minutes
FACTORS = (2, 3, 3, 4, 6)
LENGTHS = (30, 60, 120, 240)                            # of bursts
DISPERSION = 0.05                                       # of an hour of a city


def poisson(mean):
    if mean > 50:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit, product, n = math.exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        n += 1
    return n


def make_cities(count):
    """(number, posts per minute, longitude) of cities; a few post most."""
    return [(i, 40 / (i + 1) ** 1.1 + 0.02, random.uniform(-180, 180)) for i in range(count)]


def rate(city, minute, start):
    """Posts per minute that are expected at a minute after the start."""
    _, base, lon = city
    at = start + datetime.timedelta(minutes=minute, hours=lon / 15)
    hour = at.hour + at.minute / 60
    curve = 1 + 0.7 * math.sin((hour - 9) / 24 * 2 * math.pi)
    return base * curve * (0.8 if at.weekday() >= 5 else 1)


def plant(cities, minutes, judged):
    """Bursts (city, from, to, factor), one after the other in a city, in the last minutes."""
    bursts = []
    for city in random.sample(cities[: len(cities) // 2], min(60, len(cities) // 4)):
        length = random.choice(LENGTHS)
        begin = minutes - judged + random.randrange(judged - length)
        bursts.append((city[0], begin, begin + length, random.choice(FACTORS)))
    return bursts


def factor_at(bursts_of_city, surges, minute):
    factor = 1.0
    for begin, end, lift in surges + bursts_of_city:
        if begin <= minute < end:
            factor *= lift
    return factor


def noise():
    """How much busier or quieter than expected an hour of a city is."""
    return random.gammavariate(1 / DISPERSION, DISPERSION)


def write(city, start, minute, count):
    if count > 0:
        at = start + datetime.timedelta(minutes=minute)
        print(f"{at.isoformat()}\t{city[0] + 1}\t{count}\t0\t{count}\t0")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stream", default="sim")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cities", type=int, default=200)
    parser.add_argument("--days", type=int, default=22)
    parser.add_argument("--judged", type=int, default=24, help="hours at the end with bursts, surges and outages")
    parser.add_argument("--truth", required=True)
    options = parser.parse_args()
    random.seed(options.seed)
    cities = make_cities(options.cities)
    minutes, judged = options.days * 24 * HOUR, options.judged * HOUR
    start = END - datetime.timedelta(minutes=minutes)
    first = minutes - judged
    bursts = plant(cities, minutes, judged)
    surges = [(begin, begin + 90, random.choice((1.5, 2, 3)))
              for begin in (first + judged // 4, first + 3 * judged // 4)]
    lost = (first + judged // 2, first + judged // 2 + 45)          # nothing was consumed, for ever
    print("\\set ON_ERROR_STOP on")
    print(f"COPY {options.stream}_by_city_slots (bucket, city_id, tweets, retweets, evilnet_rows, evilnet_slot) FROM stdin;")
    posts = [0] * len(bursts)
    for city in cities:
        own = [(begin, end, factor) for number, begin, end, factor in bursts if number == city[0]]
        for hour in range(0, first - 3 * HOUR, HOUR):
            write(city, start, hour, poisson(HOUR * rate(city, hour + HOUR / 2, start) * noise()))
        for minute in range(first - 3 * HOUR, minutes):
            if minute % HOUR == 0:
                level = noise()
            if lost[0] <= minute < lost[1]:
                continue
            count = poisson(rate(city, minute, start) * level * factor_at(own, surges, minute))
            write(city, start, minute, count)
            for index, (number, begin, end, _) in enumerate(bursts):
                if number == city[0] and begin <= minute < end:
                    posts[index] += count
    print("\\.")

    def when(minute):
        return (start + datetime.timedelta(minutes=minute)).isoformat()

    print(f"INSERT INTO evilnet.coverage_span (stream, kafka_partition, since, until, ended_by)"
          f" VALUES ('{options.stream}', 0, '{when(0)}', '{when(lost[0])}', 'seek');")
    print(f"INSERT INTO evilnet.stream_offset (stream, kafka_partition, next_offset, topic_partitions, covered_since, covered_until)"
          f" VALUES ('{options.stream}', 0, 1, 1, '{when(lost[1])}', '{when(minutes)}');")
    with open(options.truth, "w", encoding="ascii") as truth:
        for (number, begin, end, factor), count in zip(bursts, posts):
            truth.write(f"{number + 1}\t{when(begin)}\t{when(end)}\t{factor}\t{count}\n")


if __name__ == "__main__":
    main()
