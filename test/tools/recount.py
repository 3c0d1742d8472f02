#!/usr/bin/env python3
"""An independent recount: what must stand in the tables after these messages were consumed.

Reads newline-delimited JSON, plain or .gz, several files as one topic, with
nothing but Python's own JSON parser. Output is tab-separated as COPY reads it.

  totals   name and number
  windows  start of the window (epoch seconds), with --cities also the city, then
           posts, retweets, different authors
  posts    id, created_at (epoch seconds), author_id, lang, is_retweet
  hints    id, created_at (epoch seconds), place, country_code, lon, lat, profile:
           what the city of a post can be told from

The rules: an id counts once, its later posts are duplicates; a post that any
delete notice names is not stored, wherever the notice stands; a retweet's or
quote's own fields count, never those of the post within it; empty lines are
no messages, a line with nothing but white space is one that cannot be decoded.
"""
import argparse
import calendar
import collections
import datetime
import gzip
import json
import sys
import time

TWITTER_EPOCH_MS = 1288834974657
FIRST_SNOWFLAKE = 29_700_859_247        # ids up to November 2010 were plain numbers
MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
NOTICES = {"limit", "scrub_geo", "status_withheld", "user_withheld", "disconnect", "warning", "friends",
           "friends_str", "event", "for_user", "control", "user_update", "user_delete", "user_undelete"}
READ_KEYS = {"id", "id_str", "created_at", "timestamp_ms", "timestamp", "author_id", "city", "place", "lang",
             "is_retweet", "text", "user", "data", "includes", "delete", "status", "full_name", "name",
             "country_code", "coordinates", "geo", "location", "place_id", "users", "places", "referenced_tweets",
             "retweeted_status", "quoted_status", "entities", "hashtags"}

Post = collections.namedtuple("Post", "id millis author lang retweet place country lon lat profile")


class Undecodable(Exception):
    """The reason is the text."""


# ---- one message to one value

def unique_pairs(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        count = collections.Counter(key for key, _ in pairs)
        if any(times > 1 and key in READ_KEYS for key, times in count.items()):
            raise Undecodable("duplicate_key")
    return found


def no_constant(name):
    raise Undecodable("bad_json")


def depth(value):
    deepest, level = 0, [value]
    while level:
        below = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        deepest += any(isinstance(one, (dict, list)) for one in level)
        level = below
    return deepest


def parse(message):
    if not message.strip(b" \t\r\n"):
        raise Undecodable("empty")
    if len(message) > MAX_BYTES:
        raise Undecodable("too_large")
    if b"\0" in message:
        raise Undecodable("nul")
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError:
        raise Undecodable("bad_encoding") from None
    try:
        document = json.loads(text, object_pairs_hook=unique_pairs, parse_constant=no_constant)
    except RecursionError:
        raise Undecodable("too_deep") from None
    except ValueError:
        raise Undecodable("bad_json") from None
    if message.count(b"{") + message.count(b"[") > MAX_DEPTH and depth(document) > MAX_DEPTH:
        raise Undecodable("too_deep")
    if b"\\u" in message:
        plain = json.dumps(document, ensure_ascii=False)
        if "\\u0000" in plain and has_nul(document):
            raise Undecodable("nul")
        try:
            plain.encode("utf-8")
        except UnicodeEncodeError:
            raise Undecodable("bad_escape") from None
    if not isinstance(document, dict):
        raise Undecodable("unknown_form")
    return document


def has_nul(value):
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(has_nul(key) or has_nul(one) for key, one in value.items())
    return isinstance(value, list) and any(map(has_nul, value))


def child(value, *path):
    """The value at the path, None if anything on the way is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def integer(value):
    """A positive 64-bit integer, as a number or as digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 63:
        return None
    return value


def post_id(*candidates):
    for one in candidates:
        if one is not None:
            number = integer(one)
            if number is not None:
                return number
            raise Undecodable("no_id")
    raise Undecodable("no_id")


def read_time(text):
    """Milliseconds since 1970 of Twitter's or ISO 8601 text, or of an epoch number."""
    try:
        if isinstance(text, (int, float)) and not isinstance(text, bool):
            return int(text if text > 1e11 else text * 1000)
        if text.isdigit():
            return read_time(int(text))
        if text[:1].isalpha():
            return calendar.timegm(time.strptime(text, "%a %b %d %H:%M:%S +0000 %Y")) * 1000
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
        return calendar.timegm(moment.utctimetuple()) * 1000 + moment.microsecond // 1000
    except (ValueError, AttributeError, OverflowError):
        raise Undecodable("bad_time") from None


def post_time(number, *candidates):
    for one in candidates:
        if one is not None:
            return read_time(one)
    if number < FIRST_SNOWFLAKE:
        raise Undecodable("no_time")
    return (number >> 22) + TWITTER_EPOCH_MS


def point_of(values, swapped=False):
    if not isinstance(values, list) or len(values) != 2:
        return None, None
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values):
        return None, None
    lon, lat = reversed(values) if swapped else values
    return (lon, lat) if -180 <= lon <= 180 and -90 <= lat <= 90 else (None, None)


def by_id(items, key):
    for one in items if isinstance(items, list) else ():
        if child(one, "id") == key and key is not None:
            return one
    return None


def v2_post(document):
    data, includes = document["data"], document.get("includes")
    number = post_id(data.get("id"))
    place = by_id(child(includes, "places"), child(data, "geo", "place_id"))
    user = by_id(child(includes, "users"), data.get("author_id"))
    references = data.get("referenced_tweets") or []
    return Post(number, post_time(number, data.get("created_at")), integer(data.get("author_id")), data.get("lang"),
                any(child(one, "type") == "retweeted" for one in references),
                child(place, "full_name") or child(place, "name"), child(place, "country_code"),
                *point_of(child(data, "geo", "coordinates", "coordinates")), child(user, "location"))


def v1_post(document):
    number = post_id(document.get("id_str"), document.get("id"))
    lon, lat = point_of(child(document, "coordinates", "coordinates"))
    if lon is None:
        lon, lat = point_of(child(document, "geo", "coordinates"), swapped=True)
    return Post(number, post_time(number, document.get("timestamp_ms"), document.get("created_at")),
                integer(child(document, "user", "id_str") or child(document, "user", "id")), document.get("lang"),
                bool(document.get("retweeted_status")),
                child(document, "place", "full_name") or child(document, "place", "name"),
                child(document, "place", "country_code"), lon, lat, child(document, "user", "location"))


def flat_post(document):
    number = post_id(document.get("id"))
    return Post(number, post_time(number, document.get("created_at"), document.get("timestamp")),
                integer(document.get("author_id")), document.get("lang"), document.get("is_retweet") is True,
                document.get("city") or document.get("place"), None, None, None, None)


def decode(message):
    """A Post, the id that a delete notice names, or None for another notice."""
    document = parse(message)
    if isinstance(document.get("data"), dict):
        return v2_post(document)
    if "delete" in document:
        status = child(document, "delete", "status")
        return post_id(child(status, "id_str"), child(status, "id"))
    if "id_str" in document or isinstance(document.get("user"), dict):
        return v1_post(document)
    if "id" in document or "text" in document:
        return flat_post(document)
    if NOTICES & document.keys():
        return None
    raise Undecodable("unknown_form")


# ---- a topic

class Topic:
    """Everything that the messages say together."""

    def __init__(self):
        self.counts = collections.Counter()
        self.first = {}
        self.deleted = set()

    def add(self, message):
        self.counts["messages"] += 1
        try:
            found = decode(message)
        except Undecodable as reason:
            self.counts["undecodable"] += 1
            self.counts[f"undecodable_{reason}"] += 1
            return
        if found is None:
            self.counts["notices"] += 1
        elif isinstance(found, int):
            self.counts["deletes"] += 1
            self.deleted.add(found)
        elif self.first.setdefault(found.id, found) is not found:
            self.counts["duplicates"] += 1

    def posts(self):
        return [post for number, post in self.first.items() if number not in self.deleted]

    def totals(self):
        names = ("messages", "duplicates", "deletes", "notices", "undecodable")
        yield from ((name, self.counts[name]) for name in names)
        yield "posts", len(self.posts())
        yield "deleted_posts", len(self.first.keys() & self.deleted)
        yield from sorted(item for item in self.counts.items() if item[0] not in names)


def read_messages(paths):
    for path in paths:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as lines:
            for line in lines:
                line = line[:-1] if line.endswith(b"\n") else line
                if line:
                    yield line


# ---- output

def field(value):
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    text = str(value)
    for character, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escaped)
    return text


def seconds(post):
    return f"{post.millis // 1000}.{post.millis % 1000:03d}"


def windows(topic, width, cities):
    found = collections.defaultdict(lambda: [0, 0, set()])
    for post in topic.posts():
        start = post.millis // (width * 1000) * width
        window = found[(start,) if cities is None else (start, cities.get(post.id, 0))]
        window[0] += 1
        window[1] += post.retweet
        if post.author is not None:
            window[2].add(post.author)
    for key in sorted(found):
        tweets, retweets, authors = found[key]
        yield (*key, tweets, retweets, len(authors))


def read_cities(path):
    with open(path, encoding="ascii") as lines:
        return {int(number): int(city) for number, city in (line.split("\t") for line in lines)}


def rows(args, topic):
    if args.mode == "totals":
        return topic.totals()
    if args.mode == "windows":
        return windows(topic, args.width, read_cities(args.cities) if args.cities else None)
    if args.mode == "posts":
        return ((post.id, seconds(post), post.author, post.lang, post.retweet) for post in topic.posts())
    return ((post.id, seconds(post), post.place, post.country, post.lon, post.lat, post.profile)
            for post in topic.posts())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["totals", "windows", "posts", "hints"])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--width", type=int, default=300, metavar="SECONDS", help="of a window (300)")
    parser.add_argument("--cities", metavar="FILE", help="tab-separated id and city_id; ids that are missing have city 0")
    args = parser.parse_args()
    topic = Topic()
    for message in read_messages(args.files):
        topic.add(message)
    out = open(sys.stdout.fileno(), "w", encoding="utf-8", newline="\n", closefd=False)
    with out:
        for row in rows(args, topic):
            out.write("\t".join(map(field, row)) + "\n")


if __name__ == "__main__":
    main()
