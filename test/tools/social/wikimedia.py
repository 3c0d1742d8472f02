"""Wikimedia EventStreams: recent changes as server-sent events that can be resumed.

The id of an event says where to go on: for each topic the offset or the time
after it.  By default it is the time, as in production, where events of the same
millisecond would be skipped; the synthetic ones have different milliseconds
unless they are of different partitions.
"""
import datetime
import json

from social import mastodon, stream, timeline

TOPIC = "eqiad.mediawiki.recentchange"
OTHER_TOPIC = "codfw.mediawiki.recentchange"
DEFAULTS = {"keepalive_seconds": 15, "keepalive_real": False, "max_connection_seconds": 900, "ids": "timestamp",
            "history_days": 7, "canary_every": 0,
            "edit_every": 0, "edit_after": 30, "delete_every": 0, "delete_after": 60}


def change(post, event, offset, canary):
    """A recentchange event."""
    city = post.city
    wiki = city.lang if city.lang in ("en", "fr", "es", "pt", "de", "it", "ja", "ru") else "en"
    domain = wiki + ".wikipedia.org"
    h = post.hash
    return {
        "$schema": "/mediawiki/recentchange/1.0.0",
        "meta": {"uri": "https://%s/wiki/%s" % (domain, city.name.replace(" ", "_")), "request_id": "%032x" % h,
                 "id": "%08x-%04x-4%03x-8%03x-%012x" % (h >> 32, h >> 16 & 65535, h >> 4 & 4095, h & 4095, post.number),
                 "dt": timeline.iso(event.millis), "domain": "canary" if canary else domain,
                 "stream": "mediawiki.recentchange", "topic": TOPIC, "partition": 0, "offset": offset},
        "id": post.id, "type": ("edit", "edit", "edit", "new", "categorize", "log")[h % 6], "namespace": 0,
        "title": city.name, "title_url": "https://%s/wiki/%s" % (domain, city.name.replace(" ", "_")),
        "comment": post.text, "timestamp": event.millis // 1000, "user": "User%d" % post.author,
        "bot": post.author % 4 == 0, "minor": bool(h >> 9 & 1), "length": {"old": 1000, "new": 1000 + h % 500},
        "revision": {"old": post.id - 1, "new": post.id}, "server_url": "https://" + domain, "server_name": domain,
        "server_script_path": "/w", "wiki": wiki + "wiki", "parsedcomment": post.text}


class Feed(stream.Feed):
    network = "wikimedia"
    content_type = "text/event-stream; charset=utf-8"
    greeting = b":ok\n\n"
    keepalive = b":keepalive\n\n"

    def __init__(self, connection, position):
        super().__init__(connection)
        self.position, self.offsets = position, None

    def start(self):
        return self.position

    def render(self, event):
        if event.kind != "post":
            return None
        offset = event.post.number
        every = self.config["canary_every"]
        canary = bool(every) and offset % every == every - 1
        data = change(event.post, event, offset, canary)
        return mastodon.sse("message", data, self.multiline, "id: %s\n" % self.event_id(event, offset))

    def event_id(self, event, offset):
        here = {"topic": TOPIC, "partition": 0}
        if self.config["ids"] in ("offset", "both"):
            here["offset"] = offset + 1
        if self.config["ids"] in ("timestamp", "both"):
            here["timestamp"] = event.millis + 1
        return json.dumps([here, {"topic": OTHER_TOPIC, "partition": 0, "offset": -1}], separators=(",", ":"))

    def comment(self, text):
        return b": %s\n" % text.encode()

    def disconnect_message(self, step):
        return mastodon.sse("error", {"message": step.get("detail", "Local: Broker transport failure"),
                                      "origin": "kafka", "name": "KafkaError"})


def read_time(text):
    """Milliseconds of ISO 8601 or epoch milliseconds."""
    if text.isdigit():
        return int(text)
    parsed = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.timezone.utc)
    return int(parsed.timestamp() * 1000)


class Wikimedia:
    def __init__(self, world):
        self.world = world
        world.route("GET", "/v2/stream/{streams}", "wikimedia.stream", self.stream, "stream")

    async def stream(self, connection):
        if "recentchange" not in connection.argument.split(","):
            return await connection.answer({"type": "https://mediawiki.org/wiki/HyperSwitch/errors/not_found",
                                            "title": "Stream not found"}, 404)
        try:
            position = self.position(connection)
        except (ValueError, KeyError, TypeError, AttributeError):
            return await connection.answer({"title": "Invalid assignment", "status": 400}, 400)
        return await stream.Stream(connection, Feed(connection, position)).run()

    def position(self, connection):
        """Index of the first event: by Last-Event-ID, by since, else what happens from now on."""
        line = self.world.timelines["wikimedia"]
        line.extend()
        oldest = line.index_at(self.world.clock.now() - self.world.config["wikimedia"]["history_days"] * 86400000)
        last = connection.request.headers.get("Last-Event-ID")
        if last:
            for one in json.loads(last):
                if one["topic"] == TOPIC and one.get("offset", -1) >= 0:
                    return max(oldest, self.index_of(line, one["offset"]))
                if one["topic"] == TOPIC and "timestamp" in one:
                    return max(oldest, line.index_at(one["timestamp"]))
        elif "since" in connection.query:
            return max(oldest, line.index_at(read_time(connection.query["since"])))
        return len(line.events)

    @staticmethod
    def index_of(line, offset):
        """Of the event of the post with that number, or the end."""
        if offset >= len(line.posts):
            return len(line.events)
        return line.index_at(line.posts[offset].millis)
