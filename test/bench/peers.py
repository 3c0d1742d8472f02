#!/usr/bin/env python3
"""The steps of `peers`, in its directory WORK: peers.py STEP WORK [ARGUMENT ...]

  prepare WORK                       rows ready for COPY, and what the counts must be
  evilnet WORK BOOTSTRAP VARIANT     load through Kafka: counts, authors or default
  peer WORK NAME SECONDS             load by COPY; NAME is one of PEERS
  report WORK                        the tables
"""
import collections
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
RECOUNT = os.path.join(HERE, "..", "tools", "recount.py")
BATCH = 10000
SIZES = [50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000]
PATIENCE = 120                  # seconds after which something hangs
KCAT_BLOCK = 1024               # kcat waits for a whole one; it leaves out the empty lines that fill it

POSTS = "(id bigint, created_at timestamptz, author_id bigint, kind text, lang text, city_id int, body text)"
COUNT = """SELECT date_bin('1 minute', created_at, '2001-01-01 00:00+00') AS bucket, city_id, count(*) AS tweets
	FROM {} GROUP BY 1, 2"""
UPSERT = f"""INSERT INTO counts {COUNT}
	ON CONFLICT (bucket, city_id) DO UPDATE SET tweets = counts.tweets + excluded.tweets;"""
TABLES = f"""CREATE TABLE posts {POSTS};
CREATE TABLE counts (bucket timestamptz, city_id int, tweets bigint, PRIMARY KEY (bucket, city_id));"""
IMMV = f"""CREATE EXTENSION pg_ivm; CREATE TABLE posts {POSTS};
DO $do$ BEGIN PERFORM pgivm.create_immv('counts', $${COUNT.format("posts")}$$); END $do$;"""

# messages as they come: a field is a line, for neither character can be in one
MESSAGES = """CREATE TEMP TABLE message (j jsonb) ON COMMIT DELETE ROWS;
CREATE TABLE place (name text PRIMARY KEY, city_id int);"""
COPY_MESSAGES = "message FROM STDIN (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
DECODE = """INSERT INTO posts SELECT (j->>'id')::bigint, (j->>'created_at')::timestamptz, (j->>'author_id')::bigint,
		CASE WHEN (j->>'is_retweet')::boolean THEN 'retweet' ELSE 'post' END, j->>'lang', coalesce(city_id, 0), j->>'text'
	FROM message LEFT JOIN place ON name = coalesce(j->>'city', j->>'place')"""

Peer = collections.namedtuple("Peer", "title prepare file before copy after limited", defaults=[False])
PEERS = {
    "sql": Peer("SQL pipeline, ready rows", f"{TABLES} CREATE TEMP TABLE staging {POSTS} ON COMMIT DELETE ROWS;",
                "rows.copy", "BEGIN;", "staging FROM STDIN",
                f"INSERT INTO posts TABLE staging; {UPSERT.format('staging')} COMMIT;"),
    "sql_messages": Peer("SQL pipeline, messages", TABLES + MESSAGES, "tweets.ndjson", "BEGIN;", COPY_MESSAGES,
                         f"WITH fresh AS ({DECODE} RETURNING created_at, city_id) {UPSERT.format('fresh')} COMMIT;"),
    "pg_ivm": Peer("pg_ivm, ready rows", IMMV, "rows.copy", "", "posts FROM STDIN", ""),
    "pg_ivm_messages": Peer("pg_ivm, messages", IMMV + MESSAGES, "tweets.ndjson", "BEGIN;", COPY_MESSAGES,
                            f"{DECODE}; COMMIT;"),
    "refresh": Peer("REFRESH MATERIALIZED VIEW, ready rows",
                    f"CREATE TABLE posts {POSTS}; CREATE MATERIALIZED VIEW counts AS {COUNT.format('posts')};",
                    "rows.copy", "", "posts FROM STDIN", "REFRESH MATERIALIZED VIEW counts;", True),
}
VARIANTS = {
    "counts": ("evilnet, messages: posts and retweets", "dedup => false"),
    "authors": ("evilnet, messages: and authors (hll)", "dedup => false"),
    "default": ("evilnet, messages: as it comes (authors, no repeats)", ""),
}
TITLES = {f"evilnet_{name}": title for name, (title, _) in VARIANTS.items()}
TITLES |= {name: peer.title for name, peer in PEERS.items()}


class Session:
    """One psql, for as long as there is something to say."""

    def __init__(self):
        self.psql = subprocess.Popen(["psql", "-X", "-q", "-At", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", "bench"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, *script):
        """The rows that the SQL answers, after the last of them has come."""
        for part in script:
            self.psql.stdin.write(part if isinstance(part, bytes) else part.encode())
        self.psql.stdin.write(b"\n\\echo =done=\n")
        self.psql.stdin.flush()
        rows = []
        for line in self.psql.stdout:
            if line == b"=done=\n":
                return rows
            rows.append(line.decode().rstrip("\n").split("\t"))
        sys.exit(f"psql ended with {self.psql.wait()}")

    def value(self, query):
        return self.run(query)[0][0]


class Work:
    """Files that the steps hand on to each other."""

    def __init__(self, directory):
        self.directory = directory

    def path(self, name):
        return os.path.join(self.directory, name)

    def batches(self, name):
        """The lines of a file, BATCH at a time, as bytes."""
        with open(self.path(name), "rb") as lines:
            while batch := b"".join(itertools.islice(lines, BATCH)):
                yield batch

    def record(self, case, **measures):
        with open(self.path("results.tsv"), "a", encoding="ascii") as out:
            for measure, value in measures.items():
                out.write(f"{case}\t{measure.replace('_', ' ')}\t{value}\n")

    def results(self):
        found = collections.defaultdict(lambda: collections.defaultdict(list))
        with open(self.path("results.tsv"), encoding="ascii") as lines:
            for case, measure, value in (line.split("\t") for line in lines):
                found[case][measure].append(float(value))
        return found


# ---- rows, and the truth about them

def place_of(post):
    return post.get("city") or post.get("place")


def city_ids(session, places):
    """evilnet's city of each place, which the peers are given."""
    names = "".join(f"{place}\n" for place in sorted(places))
    session.run("CREATE EXTENSION evilnet CASCADE; CREATE TEMP TABLE place (name text);\n",
                "COPY place FROM STDIN;\n", names, "\\.\n")
    return {name: int(city) for name, city in
            session.run("SELECT name, (evilnet.resolve_city(place => name)).city_id FROM place;")}


def escaped(text):
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def prepare(work):
    """rows.copy; places.copy, the city of each place; cities.copy, the city of each post for the recount."""
    with open(work.path("tweets.ndjson"), "rb") as lines:
        places = {place_of(json.loads(line)) for line in lines} - {None}
    cities = city_ids(Session(), places)
    with open(work.path("places.copy"), "w", encoding="utf-8", newline="\n") as known:
        known.writelines(f"{name}\t{city}\n" for name, city in cities.items())
    with (open(work.path("tweets.ndjson"), "rb") as lines,
          open(work.path("cities.copy"), "w", encoding="ascii") as known,
          open(work.path("rows.copy"), "w", encoding="utf-8", newline="\n") as rows):
        for post in map(json.loads, lines):
            city = cities.get(place_of(post), 0)
            kind = "retweet" if post["is_retweet"] else "post"
            known.write(f"{post['id']}\t{city}\n")
            rows.write(f"{post['id']}\t{post['created_at']}\t{post['author_id']}\t{kind}\t{post['lang']}\t{city}\t"
                       f"{escaped(post['text'])}\n")
    with open(work.path("truth.copy"), "wb") as out:
        recount(work, "tweets.ndjson", out)


def recount(work, name, out):
    subprocess.run([RECOUNT, "windows", work.path(name), "--width", "60", "--cities", work.path("cities.copy")],
                   check=True, stdout=out)


def truth(work, batches):
    """{(epoch of the minute, city): posts} of the first batches, counted anew from the messages."""
    name = "truth.copy"
    if batches is not None:
        name = "part-truth.copy"
        with open(work.path("part.ndjson"), "wb") as part:
            part.writelines(itertools.islice(work.batches("tweets.ndjson"), batches))
        with open(work.path(name), "wb") as out:
            recount(work, "part.ndjson", out)
    with open(work.path(name), encoding="ascii") as lines:
        rows = (line.split("\t") for line in lines)
        return {(int(row[0]), int(row[1])): int(row[2]) for row in rows}


def check(work, session, case, posts, counts, batches=None):
    """A speed at which the counts are wrong is none."""
    expected = truth(work, batches)
    rows = session.run(f"SELECT extract(epoch FROM bucket)::bigint, city_id, tweets FROM {counts};")
    found = {(int(bucket), int(city)): int(tweets) for bucket, city, tweets in rows}
    wrong = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    if wrong or len(found) < len(rows):
        examples = ", ".join(f"{key}: {found.get(key)}, not {expected.get(key)}" for key in sorted(wrong)[:5])
        sys.exit(f"{case}: {len(wrong)} of {len(expected)} counts are wrong: {examples}")
    stored = int(session.value(f"SELECT count(*) FROM {posts};"))
    if stored != sum(expected.values()):
        sys.exit(f"{case}: {stored} posts are stored, not {sum(expected.values())}")
    work.record(case, checked=len(expected))


# ---- loading

def load_peer(work, name, seconds):
    peer, session = PEERS[name], Session()
    session.run(peer.prepare)
    if peer.file == "tweets.ndjson":
        session.run("COPY place FROM STDIN;\n", *work.batches("places.copy"), "\\.\nANALYZE place;")
    session.run("CHECKPOINT;")
    spent, number = 0.0, 0
    for number, batch in enumerate(work.batches(peer.file), 1):
        began = time.perf_counter()
        session.run(peer.before, f"COPY {peer.copy};\n", batch, "\\.\n", peer.after)
        took = time.perf_counter() - began
        work.record(name, batch=took)
        # off the clock, for autovacuum is off: without statistics pg_ivm searches its view from end to end
        if number & (number - 1) == 0:
            session.run("ANALYZE posts; ANALYZE counts;")
        spent += took
        if peer.limited and spent > seconds:
            break
    check(work, session, name, "posts", "counts", number if peer.limited else None)


def wait_for(session, stream, messages):
    """Until the transaction that counts the last of the messages can be seen."""
    deadline = time.monotonic() + PATIENCE + messages / 1000
    query = f"SELECT coalesce(sum(messages), 0) FROM evilnet.stream_offset WHERE stream = '{stream}'::regclass;"
    while (stored := int(session.value(query))) < messages:
        if time.monotonic() > deadline:
            problem = session.value("SELECT concat(state, ': ', last_error) FROM evilnet.stat_stream "
                                    f"WHERE stream = '{stream}';")
            sys.exit(f"{stream}: {stored} of {messages} messages in time; {problem}")
        time.sleep(0.001)


def create_stream(session, stream, topic, variant):
    arguments = ", ".join(filter(None, [f"'{stream}', server => 'bus', topic => '{topic}'", VARIANTS[variant][1]]))
    session.run(f"CHECKPOINT; SELECT evilnet.create_stream({arguments});")


def load_stored(work, session, variant, messages):
    """A topic that is full before the clock starts: the steady speed, by the journal."""
    create_stream(session, "stored", "stored", variant)
    wait_for(session, "stored", messages)
    took = session.value("SELECT extract(epoch FROM max(committed_at) - min(started_at)) FROM evilnet.batch "
                         "WHERE stream = 'stored'::regclass;")
    work.record(f"evilnet_{variant}", stored=took)
    check(work, session, f"evilnet_{variant}, stored", "stored", "stored_by_city")
    session.run("SELECT evilnet.drop_stream('stored');")


def load_live(work, session, bootstrap, variant):
    """A batch is handed to a producer when the one before it is in the counts."""
    topic = f"live_{variant}"
    create_stream(session, "live", topic, variant)
    while session.value("SELECT state FROM evilnet.stat_stream WHERE stream = 'live';") not in ("running", "idle"):
        time.sleep(0.01)
    producer = subprocess.Popen(["kcat", "-P", "-q", "-b", bootstrap, "-t", topic, "-X", "linger.ms=5",
                                 "-X", "sticky.partitioning.linger.ms=0"], stdin=subprocess.PIPE)
    messages = 0
    for batch in work.batches("tweets.ndjson"):
        messages += batch.count(b"\n")
        began = time.perf_counter()
        producer.stdin.write(batch + b"\n" * (-len(batch) % KCAT_BLOCK))
        producer.stdin.flush()
        wait_for(session, "live", messages)
        work.record(f"evilnet_{variant}", batch=time.perf_counter() - began)
    producer.stdin.close()
    if producer.wait() != 0:
        sys.exit(f"evilnet_{variant}: kcat ended with {producer.returncode}")
    check(work, session, f"evilnet_{variant}", "live", "live_by_city")


def load_evilnet(work, bootstrap, variant):
    session = Session()
    if variant != "counts":
        session.run("CREATE EXTENSION hll;")
    session.run("CREATE EXTENSION evilnet; CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka "
                f"OPTIONS (\"bootstrap.servers\" '{bootstrap}');")
    load_stored(work, session, variant, count_messages(work))
    load_live(work, session, bootstrap, variant)


# ---- report

def count_messages(work):
    return sum(batch.count(b"\n") for batch in work.batches("tweets.ndjson"))


def sized(work, count):
    """Rows in each batch of `count` batches: the last one of all may be short."""
    messages = count_messages(work)
    return [min(BATCH, messages - first) for first in range(0, messages, BATCH)][:count]


def speed_row(work, case, measures):
    times = measures["batch"]
    rows = sum(sized(work, len(times)))
    one_by_one = f"{rows / sum(times):,.0f}"
    stored = measures.get("stored")
    return (TITLES[case], f"{rows:,}", f"{rows / stored[0]:,.0f}" if stored else one_by_one, one_by_one,
            f"{statistics.mean(times) * 1000:.0f}", f"{max(times) * 1000:.0f}", f"{measures['load'][0]:.1f}",
            f"{measures['checked'][0]:,.0f}")


def growth_row(work, case, measures, sizes):
    """Speed between one size of the table and the next."""
    ends = list(itertools.accumulate(sized(work, len(measures["batch"]))))
    cells, done = [], 0
    for size in sizes:
        upto = sum(end <= size for end in ends)
        spent = sum(measures["batch"][done:upto])
        first = ends[done - 1] if done else 0
        whole = upto > done and (ends[upto - 1] == size or upto == len(ends))
        cells.append(f"{(ends[upto - 1] - first) / spent:,.0f}" if whole else "")
        done = upto
    return (TITLES[case], *cells)


def print_table(head, rows):
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    print()


def report(work):
    results, messages = work.results(), count_messages(work)
    with open(work.path("box.tsv"), encoding="utf-8") as lines:
        for line in lines:
            print("- " + line.rstrip("\n").replace("\t", ": ", 1))
    print()
    cases = [case for case in TITLES if case in results]
    print_table(["", "rows", "rows/s", "one batch after the other", "fresh after ms, mean", "max", "load before",
                 "counts compared"], [speed_row(work, case, results[case]) for case in cases])
    sizes = [size for size in SIZES if size < messages] + [messages]
    print_table(["rows/s while the table grows to", *(f"{size:,}" for size in sizes)],
                [growth_row(work, case, results[case], sizes) for case in cases])


def main():
    step, work, arguments = sys.argv[1], Work(sys.argv[2]), sys.argv[3:]
    if step == "prepare":
        prepare(work)
    elif step == "evilnet":
        load_evilnet(work, *arguments)
    elif step == "peer":
        load_peer(work, arguments[0], float(arguments[1]))
    else:
        report(work)


if __name__ == "__main__":
    main()
