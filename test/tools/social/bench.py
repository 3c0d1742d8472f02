"""Posts as fast as they can be sent: made by one format operation per thousand."""
import json

from social import sinks, timeline

POSTS = 1000


def template(size):
    """A thousand posts of about that many bytes, with room for ids and the time."""
    post = {"data": {"author_id": "1234", "created_at": "%s", "id": "%d", "lang": "en", "text": ""}}
    line = json.dumps(post, separators=(",", ":"))
    length = len(line) - len("%s%d") + len("2026-01-01T00:00:00.000Z") + 19 + 2
    post["data"]["text"] = ("how fast can it be read " * (size // 24 + 1))[:max(1, size - length)]
    return (json.dumps(post, separators=(",", ":")) + "\r\n") * POSTS


async def send(sink, count, size, now):
    """The ids hold the time, as those of X do, a millisecond for each thousand posts; 0 is without end."""
    whole, sent, millis = template(size), 0, int(now) - (count // POSTS if count else 0)
    while not count or sent < count:
        n = min(POSTS, count - sent) if count else POSTS
        text = whole if n == POSTS else whole[:len(whole) // POSTS * n]
        first, moment = millis - timeline.TWITTER_EPOCH_MS << 22, timeline.iso(millis)
        values = [moment] * (2 * n)
        values[1::2] = range(first, first + n)
        await sink.write((text % tuple(values)).encode())
        sent += n
        millis += 1


class Bench:
    def __init__(self, world):
        world.route("GET", "/bench/stream", "bench.stream", self.stream)

    async def stream(self, connection):
        sink = sinks.HttpSink(connection)
        await sink.start({"Content-Type": "application/json"})
        connection.status = 200
        await send(sink, int(connection.query.get("count", 0)), int(connection.query.get("bytes", 150)),
                   connection.world.clock.now())
        await sink.finish()
        return sink.response
