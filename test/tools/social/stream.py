"""Streams: what follows the clock on a connection, and every step that a script may have for it."""
import asyncio
import base64
import time

from social import bench, connection as connections, sinks

BEFORE_HEADERS = {"status", "redirect", "gzip", "headers"}


class Feed:
    """What a network's stream sends; the networks say how."""
    network = None
    content_type = "application/json"
    keepalive = b"\r\n"
    greeting = b""
    websocket = False

    def __init__(self, connection):
        self.connection, self.world = connection, connection.world
        self.timeline = self.world.timelines[self.network]
        self.config = self.world.config[self.network]
        self.multiline = False

    def start(self):
        """Index of the first event to send: by default what happens from now on."""
        self.timeline.extend()
        return len(self.timeline.events)

    def render(self, event):
        """Bytes, or None for what this stream does not send."""
        raise NotImplementedError

    def headers(self):
        return {"Content-Type": self.content_type}

    def disconnect_message(self, step):
        return b""

    def comment(self, text):
        return b""


class Stream:
    """One connection that sends events until somebody ends it."""

    def __init__(self, connection, feed):
        self.connection, self.feed, self.world = connection, feed, connection.world
        self.sink = sinks.WebSocketSink(connection) if feed.websocket else sinks.HttpSink(connection)
        self.glue = False
        self.last_write = 0
        self.position = 0

    async def run(self):
        """The answer to give to aiohttp."""
        connection = self.connection
        answer = await self.before_headers()
        if answer is not None:
            return answer
        connection.status = 101 if self.feed.websocket else 200
        self.position = self.feed.start()
        await self.sink.start(self.feed.headers())
        self.last_write, self.opened = self.now(), self.world.clock.now()
        try:
            if self.feed.greeting:
                await self.sink.write(self.feed.greeting)
            while connection.ended is None:
                step = connection.take_step()
                if step is None:
                    await self.flow()
                else:
                    await getattr(self, "do_" + step["do"])(step)
        except (sinks.Gone, ConnectionError, asyncio.CancelledError):
            connection.ended = connection.ended or "client"
        return self.sink.result()

    async def before_headers(self, ends_only=False):
        """Steps that come before the first byte, or replace it; the answer if they end the connection."""
        connection = self.connection
        while True:
            step = connection.peek_step()
            if step is None or not (step["do"] in BEFORE_HEADERS or step.get("before_headers")):
                return None
            if ends_only and step["do"] not in connections.ENDING:
                return None
            connection.take_step()
            do = step["do"]
            if do in ("status", "redirect"):
                return connection.scripted_answer(step)
            if do == "headers":
                connection.headers.update(step.get("headers", {}))
            elif do == "gzip":
                accepted = connection.request.headers.get("Accept-Encoding", "")
                self.sink.gzip = "gzip" in accepted or bool(step.get("always"))
            elif do == "stall":
                await connection.stall(step)
            elif do == "reset":
                connection.do_reset()
                return connection.nothing()
            elif do == "half_open":
                await connection.do_half_open(step)
                return connection.nothing()
            else:
                connection.do_hang_up("close")
                return connection.nothing()

    # ---- the normal flow

    async def flow(self, count=None, until=None, skip=False):
        """Send what happens: so many posts, until a time, or until a script says otherwise."""
        connection, clock = self.connection, self.world.clock
        while connection.ended is None:
            self.feed.timeline.extend()
            count = await self.send_due(count, skip)
            if count == 0 or until is not None and clock.now() >= until:
                return
            await self.keep_alive()
            if count is None and until is None and connection.peek_step() is not None:
                return
            if self.position < len(self.feed.timeline.events):
                continue
            if await self.at_limit():
                return
            times = [self.feed.timeline.next_due(), until, self.limit()]
            real = None
            if self.feed.config["keepalive_real"]:
                real = max(0.0, (self.next_keepalive() - self.now()) / 1000)
            else:
                times.append(self.next_keepalive())
            await connection.wait(min((one for one in times if one is not None), default=None), real)

    def now(self):
        """By the clock of keep-alives."""
        return time.monotonic() * 1000 if self.feed.config["keepalive_real"] else self.world.clock.now()

    def next_keepalive(self):
        return self.last_write + self.feed.config["keepalive_seconds"] * 1000

    def limit(self):
        seconds = self.feed.config.get("max_connection_seconds", 0)
        return self.opened + seconds * 1000 if seconds else None

    async def at_limit(self):
        """The server's own end of long connections."""
        if self.limit() is None or self.world.clock.now() < self.limit():
            return False
        await self.sink.finish()
        self.connection.ended = "limit"
        return True

    def message(self, event):
        """What the stream says of an event; nothing of posts that are withheld."""
        if event.post is not None and event.post.withheld:
            return None
        return self.feed.render(event)

    async def send_due(self, count, skip):
        """Events from here on; returns how many posts are still to send."""
        events, messages = self.feed.timeline.events, []
        while self.position < len(events) and count != 0:
            event = events[self.position]
            self.position += 1
            message = self.message(event)
            if message is None:
                continue
            if event.kind == "post":
                if count is not None:
                    count -= 1
                if skip:
                    event.post.skipped += 1
                    self.connection.events["skipped"] += 1
                    continue
            messages.append(message)
            self.note(event)
            if not self.glue or len(messages) >= 1000:
                await self.send(messages)
                messages = []
        await self.send(messages)
        return count

    def note(self, event):
        self.connection.events[event.kind] += 1
        if event.kind == "post":
            event.post.sent += 1
            self.connection.ids.append(event.post.id)
        elif event.kind == "delete":
            event.post.delete_sent += 1

    async def send(self, messages):
        if not messages:
            return
        if self.glue and not self.feed.websocket:
            messages = [b"".join(messages)]
        await self.sink.write_messages(messages)
        self.last_write = self.now()

    async def keep_alive(self):
        """All that are due since the last byte: the clock may have jumped."""
        while self.next_keepalive() <= self.now():
            due = self.next_keepalive()
            await self.sink.keepalive(self.feed.keepalive)
            self.connection.events["keepalive"] += 1
            self.last_write = due

    # ---- steps of scripts

    def provide(self, step, n):
        """Without a rate there is nothing to wait for: the posts happen now."""
        line = self.feed.timeline
        line.extend()
        if not step.get("make", line.rate <= 0):
            return
        looked_at, ready = self.position, 0
        for _ in range(1000 * n):
            ready += sum(event.kind == "post" and self.message(event) is not None for event in line.events[looked_at:])
            if ready >= n:
                return
            looked_at = len(line.events)
            line.make(1)

    async def do_posts(self, step):
        self.provide(step, step.get("n", 1))
        await self.flow(step.get("n", 1))

    async def do_skip(self, step):
        self.provide(step, step.get("n", 1))
        await self.flow(step.get("n", 1), skip=True)

    async def do_withhold(self, step):
        line = self.feed.timeline
        if step.get("make", line.rate <= 0):
            line.make(step.get("n", 1), withheld=True)
        else:
            line.withhold_next += step.get("n", 1)

    async def do_repeat(self, step):
        """The last posts again, oldest first, as after a reconnect with an overlap."""
        again = []
        for event in reversed(self.feed.timeline.events[:self.position]):
            if len(again) == step.get("n", 1):
                break
            if event.kind == "post" and event.post.sent and event.post.deleted_at is None and self.message(event):
                again.insert(0, event)
        for event in again:
            self.note(event)
        self.connection.events["repeated"] += len(again)
        await self.send([self.feed.render(event) for event in again])

    async def do_delete(self, step):
        """The latest posts that were sent are deleted."""
        await self.change("delete", step)

    async def do_edit(self, step):
        await self.change("edit", step)

    async def change(self, kind, step):
        line = self.feed.timeline
        left = step.get("n", 1)
        for post in reversed(line.posts):
            if left == 0:
                break
            if post.sent and post.deleted_at is None:
                line.change(kind, post)
                left -= 1
        await self.flow(until=self.world.clock.now())

    async def do_event(self, step):
        """A made-up event: kind and what belongs to it, as POST /_control/event has it."""
        self.feed.timeline.change(step.get("kind"), None, extra=step)
        await self.flow(until=self.world.clock.now())

    async def do_live(self, step):
        await self.flow(until=self.world.clock.now() + step.get("seconds", 60) * 1000)

    async def do_ok(self, step):
        """Nothing but the normal flow until the client has enough."""
        await self.flow(until=float("inf"))

    async def do_stall(self, step):
        await self.connection.stall(step)
        self.last_write = self.now()

    async def do_keepalives(self, step):
        for _ in range(step.get("n", 1)):
            await self.sink.keepalive(self.feed.keepalive)
            self.connection.events["keepalive"] += 1
        self.last_write = self.now()

    async def do_comment(self, step):
        await self.sink.write(self.feed.comment(step.get("text", "a comment")))

    async def do_raw(self, step):
        data = base64.b64decode(step["base64"]) if "base64" in step else step.get("text", "").encode()
        if self.feed.websocket and step.get("frame") is False:
            await self.sink.write_bytes(data)
        else:
            await self.sink.write(data)

    async def do_bench(self, step):
        await bench.send(self.sink, step.get("n", 1000000), step.get("bytes", 150), self.world.clock.now())

    async def do_disconnect_message(self, step):
        await self.sink.write(self.feed.disconnect_message(step))
        if step.get("close", True):
            await self.do_close(step)

    async def do_split(self, step):
        self.connection.split = step.get("bytes", 1)

    async def do_glue(self, step):
        self.glue = step.get("on", True)

    async def do_multiline(self, step):
        self.feed.multiline = step.get("on", True)

    async def do_linger(self, step):
        self.connection.linger = step.get("seconds", 10)

    async def do_ws_fragment(self, step):
        self.sink.fragment = step.get("bytes", 16)

    async def do_ws_ping(self, step):
        await self.sink.keepalive(step.get("text", "ping").encode())

    async def do_ws_close(self, step):
        await self.sink.finish(step.get("code", 1001), step.get("reason", ""))
        self.connection.ended = "ws_close"

    async def do_close(self, step):
        await self.sink.finish()
        self.connection.ended = "close"

    async def do_reset(self, step):
        self.connection.do_reset()

    async def do_half_open(self, step):
        await self.connection.do_half_open(step)

    async def do_truncate(self, step):
        """Half of the next post, which counts as not sent, and no end of the message."""
        self.provide(step, 1)
        line = self.feed.timeline
        while True:
            line.extend()
            for event in line.events[self.position:]:
                message = self.message(event) if event.kind == "post" else None
                if message is not None:
                    await self.sink.write_half(message)
                    if step.get("clean"):
                        await self.sink.finish()
                        self.connection.ended = "truncate"
                    else:
                        self.connection.do_hang_up("truncate")
                    return
            await self.connection.wait(line.next_due())

    async def do_endless(self, step):
        await self.sink.endless(step)

    # these come before the headers; later they have no meaning

    async def do_gzip(self, step):
        self.connection.events["too late: gzip"] += 1

    async def do_headers(self, step):
        self.connection.events["too late: headers"] += 1

    async def do_status(self, step):
        """After posts: end here, so that the next connection gets the status."""
        self.world.scripts[self.connection.endpoint].appendleft(step)
        await self.do_close(step)

    do_redirect = do_status


STEPS = {name.removeprefix("do_") for name in vars(Stream) if name.startswith("do_")}
