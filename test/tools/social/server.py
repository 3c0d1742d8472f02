"""The server beneath all networks: routes, the log, connections, and the steps of scripts.

A script is a queue of steps per endpoint.  A connection takes steps from it one
after the other until one ends the connection; the next connection goes on with
the rest.  With no step left a stream follows the clock, a request is answered.
"""
import asyncio
import base64
import collections
import hashlib
import json
import socket
import struct
import time
import zlib

from aiohttp import web

from social import timeline

PIECES_DRAIN = 64 * 1024        # bytes that may wait in our buffer
HIDDEN_HEADERS = ("authorization", "cookie")
HIDDEN_FIELDS = ("access_token", "client_secret", "code")

# what may be in a script, and where
ENDING = {"status", "redirect", "reset", "close", "truncate", "half_open", "endless", "disconnect_message", "ws_close"}
REQUEST_STEPS = {"status", "redirect", "reset", "close", "truncate", "half_open", "endless", "stall", "split", "gzip",
                 "headers", "malformed", "ok"}
STREAM_STEPS = {"status", "redirect", "reset", "close", "truncate", "half_open", "endless", "stall", "split", "gzip",
                "headers", "disconnect_message", "posts", "skip", "withhold", "repeat", "delete", "edit", "event",
                "live", "keepalives", "glue", "multiline", "comment", "raw", "linger", "bench", "ws_fragment",
                "ws_close", "ws_ping", "ok"}
BEFORE_HEADERS = {"status", "redirect", "gzip", "headers"}


class Gone(Exception):
    """The client has closed its end."""


class BadScript(Exception):
    """The text says why."""


class Protocol(web.RequestHandler):
    """aiohttp's, which also tells that the client is gone."""

    def __init__(self, manager, **options):
        super().__init__(manager, **options)
        self.lost = False

    def connection_lost(self, exc):
        self.lost = True
        self._manager.on_lost()
        super().connection_lost(exc)


class Server(web.Server):
    on_lost = None
    options = {}

    def __call__(self):
        return Protocol(self, loop=asyncio.get_running_loop(), **self.options)


class World:
    """All that connections share."""

    def __init__(self, args, config):
        self.args, self.config = args, config
        self.signal = timeline.Signal()
        self.clock = timeline.Clock(args.start, args.speed, self.signal)
        self.routes = {}        # path -> {method: (endpoint, handler)}
        self.endpoints = {}     # name -> "stream" or "request"
        self.connections = set()
        self.stores = []        # called by reset()
        self.base_url = None
        self.reset()

    def reset(self):
        """Everything as at the start, but the clock and the live connections."""
        self.log = []
        self.scripts = collections.defaultdict(collections.deque)
        self.timelines = {network: timeline.Timeline(network, self.args.seed, self.clock, self.config[network])
                          for network in timeline.NETWORKS}
        for network, rate in self.args.rate.items():
            self.timelines[network].set_rate(rate)
        for store in self.stores:
            store()
        self.signal.fire()

    def route(self, method, path, endpoint, handler, kind="request"):
        """A path may end in a parameter, as in /v2/stream/{streams}."""
        self.routes.setdefault(path, {})[method] = (endpoint, handler)
        if endpoint:
            self.endpoints[endpoint] = kind

    def find_route(self, path):
        if path in self.routes:
            return self.routes[path], None
        parent, _, last = path.rpartition("/")
        for known, methods in self.routes.items():
            if known.endswith("}") and known.rpartition("/")[0] == parent and last:
                return methods, last
        return None, None

    async def handle(self, request):
        methods, argument = self.find_route(request.path)
        if methods is None:
            return web.json_response({"error": "Not Found"}, status=404)
        if request.method not in methods:
            return web.json_response({"error": "Method Not Allowed"}, status=405)
        endpoint, handler = methods[request.method]
        if endpoint is None:
            return await handler(request)
        connection = Connection(self, request, endpoint, argument)
        try:
            return await handler(connection)
        except (Gone, ConnectionError, asyncio.CancelledError):
            connection.ended = connection.ended or "client"
            return connection.nothing()
        finally:
            connection.finish()

    def add_script(self, endpoint, steps):
        kind = self.endpoints.get(endpoint)
        if kind is None:
            raise BadScript("no such endpoint; there are " + " ".join(sorted(self.endpoints)))
        known = STREAM_STEPS if kind == "stream" else REQUEST_STEPS
        for step in steps:
            if not isinstance(step, dict) or step.get("do") not in known:
                raise BadScript("no such step for %s: %r; there are %s" % (endpoint, step, " ".join(sorted(known))))
        self.scripts[endpoint].extend(steps)
        self.signal.fire()

    async def settle(self, seconds=2.0):
        """Until every stream has sent what is due; False when some client does not read."""
        for connection in self.connections:
            connection.idle = False
        self.signal.fire()
        limit = time.monotonic() + seconds
        while any(not connection.idle for connection in self.connections):
            if time.monotonic() > limit:
                return False
            await asyncio.sleep(0.001)
        return True


def fingerprint(token):
    """Says whether two tokens are the same, and no more."""
    return hashlib.sha256(token.encode()).hexdigest()[:8] if token else None


class Connection:
    """One request, its row of the log, and what scripts do to it."""

    def __init__(self, world, request, endpoint, argument):
        self.world, self.request, self.endpoint, self.argument = world, request, endpoint, argument
        self.query = request.query
        self.idle = True
        self.ended = self.status = None
        self.split = None               # bytes a piece
        self.headers = {}               # from a script
        self.linger = 0
        self.ids = []
        self.events = collections.Counter()
        self.row = {
            "n": len(world.log) + 1, "endpoint": endpoint, "method": request.method, "path": request.path,
            "query": {key: "hidden" if key in HIDDEN_FIELDS else value for key, value in request.query.items()},
            "headers": {key: "hidden" if key.lower() in HIDDEN_HEADERS else value
                        for key, value in request.headers.items()},
            "token": fingerprint(self.token()), "time": world.clock.now(), "real_time": time.time(),
            "status": None, "ended": None, "ended_time": None}
        world.log.append(self.row)
        self.row["connection"] = self
        world.connections.add(self)

    def token(self):
        kind, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and token.strip():
            return token.strip()
        return self.query.get("access_token")

    def finish(self):
        self.world.connections.discard(self)
        self.row.update(status=self.status, ended=self.ended or "answered", ended_time=self.world.clock.now())

    def log_row(self, with_ids):
        row = {key: value for key, value in self.row.items() if key != "connection"}
        row.update(status=self.status, events=dict(self.events), sent=len(self.ids))
        if with_ids:
            row["ids"] = [str(one) for one in self.ids]
        return row

    # ---- waiting

    @property
    def gone(self):
        transport = self.request.transport
        return self.request.protocol.lost or transport is None or transport.is_closing()

    async def wait(self, millis=None):
        """Until something has changed, or the simulated time has come."""
        if self.gone:
            raise Gone
        self.idle = True
        try:
            await self.world.signal.wait(None if millis is None else self.world.clock.real_seconds(millis))
        finally:
            self.idle = False
        if self.gone:
            raise Gone

    async def stall(self, step):
        """Simulated seconds, or real ones."""
        if "real_seconds" in step:
            until = time.monotonic() + step["real_seconds"]
            while time.monotonic() < until and not self.gone:
                self.idle = True
                await self.world.signal.wait(until - time.monotonic())
            self.idle = False
            if self.gone:
                raise Gone
            return
        until = self.world.clock.now() + step.get("seconds", 25) * 1000
        while self.world.clock.now() < until:
            await self.wait(until)

    # ---- ends of a connection

    def nothing(self):
        """What a handler returns after the connection was taken from aiohttp."""
        self.request.protocol.force_close()
        return web.Response()

    def do_reset(self):
        transport = self.request.transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        self.ended = "reset"

    def do_hang_up(self, how):
        """An end without any end of the message."""
        if self.request.transport is not None:
            self.request.transport.close()
        self.ended = how

    async def do_half_open(self, step):
        """Neither read nor write, for that long."""
        self.request.transport.pause_reading()
        self.ended = "half_open"
        await self.stall(dict({"seconds": 60}, **step))
        if not self.gone:
            self.request.transport.abort()

    # ---- steps

    def peek_step(self):
        steps = self.world.scripts[self.endpoint]
        return steps[0] if steps else None

    def take_step(self):
        step = self.peek_step()
        if step is not None:
            self.world.scripts[self.endpoint].popleft()
            self.events["step " + step["do"]] += 1
        return step

    def scripted_answer(self, step):
        """The answer of steps status and redirect."""
        if step["do"] == "redirect":
            to = step.get("to") or self.world.base_url.replace("127.0.0.1", "localhost") + self.request.path_qs
            self.status = step.get("code", 302)
            self.ended = "redirect"
            return web.Response(status=self.status, headers={"Location": to, **self.headers})
        body = step.get("body", "")
        if not isinstance(body, str):
            body = json.dumps(body)
        self.status, self.ended = step.get("code", 503), "status"
        headers = {"Content-Type": "application/json; charset=utf-8", **self.headers}
        headers.update({key: str(value) for key, value in step.get("headers", {}).items()})
        return web.Response(status=self.status, headers=headers, body=body.encode())

    async def answer(self, value, status=200, headers=None, content_type="application/json; charset=utf-8"):
        """Answer a request, as the script has it."""
        body = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        headers = {"Content-Type": content_type, **(headers or {})}
        step, gzip, cut = {}, False, False
        while step.get("do") not in ENDING | {"ok", "malformed"}:
            step = self.take_step()
            if step is None:
                break
            do = step["do"]
            if do == "stall":
                await self.stall(step)
            elif do == "split":
                self.split = step.get("bytes", 1)
            elif do == "gzip":
                gzip = True
            elif do == "headers":
                headers.update(step.get("headers", {}))
            elif do in ("status", "redirect"):
                self.headers = {key: headers[key] for key in headers if key.lower().startswith("x-rate")}
                return self.scripted_answer(step)
            elif do == "reset":
                self.do_reset()
                return self.nothing()
            elif do == "close":
                self.do_hang_up("close")
                return self.nothing()
            elif do == "half_open":
                await self.do_half_open(step)
                return self.nothing()
            elif do == "malformed":
                body = body[:len(body) // 2]
            elif do in ("truncate", "endless"):
                cut = do
        self.status = status
        sink = HttpSink(self)
        sink.gzip = gzip and "gzip" in self.request.headers.get("Accept-Encoding", "")
        sink.status = status
        await sink.start(headers)
        if cut == "truncate":
            await sink.write(body[:len(body) // 2])
            self.do_hang_up("truncate")
        elif cut == "endless":
            await sink.write(body[:-1])
            await sink.endless(step)
        else:
            await sink.write(body)
            await sink.finish()
        return sink.response


class HttpSink:
    """Writes the body of an answer, whole or in pieces."""

    def __init__(self, connection):
        self.connection, self.response, self.gzip, self.status, self._deflate = connection, None, False, 200, None

    async def start(self, headers):
        headers = {**headers, **self.connection.headers}
        if self.gzip:
            headers["Content-Encoding"] = "gzip"
            self._deflate = zlib.compressobj(wbits=31)
        self.response = web.StreamResponse(status=self.status, headers=headers)
        self.response.enable_chunked_encoding()
        await self.response.prepare(self.connection.request)
        writer = self.response._payload_writer
        if hasattr(writer, "send_headers"):     # newer aiohttp would wait for the first byte of the body
            writer.send_headers()

    async def write(self, data):
        """Each piece is one chunk of the body."""
        if self._deflate is not None:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        if not data:
            return
        size = self.connection.split
        if not size:
            await self.response.write(data)
            return
        for start in range(0, len(data), size):
            await self.response.write(data[start:start + size])
            await asyncio.sleep(0)

    async def write_messages(self, messages):
        """One write each."""
        for message in messages:
            await self.write(message)

    async def write_half(self, message):
        await self.write(message[:len(message) // 2])

    async def keepalive(self, data):
        await self.write(data)

    async def finish(self):
        """The clean end; the connection is closed after it."""
        if self._deflate is not None:
            await self.response.write(self._deflate.flush())
        await self.response.write_eof()

    async def endless(self, step):
        """A line without end, until the client has enough of it."""
        piece = b"x" * 65536
        for _ in range(max(1, step.get("bytes", 64 << 20) // len(piece))):
            await self.write(piece)
        self.connection.do_hang_up("endless")

    def result(self):
        return self.response


class WebSocketSink:
    """Writes text messages as frames of its own making: aiohttp's are never in fragments."""

    def __init__(self, connection):
        self.connection, self.response, self.fragment, self._reader = connection, None, None, None
        self.gzip = False

    async def start(self, headers):
        self.response = web.WebSocketResponse(compress=False, autoping=True)
        self.response.headers.update(self.connection.headers)
        await self.response.prepare(self.connection.request)
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self):
        async for message in self.response:
            self.connection.events["message from client"] += 1
        self.connection.world.signal.fire()

    @property
    def closed(self):
        return self._reader.done()

    @staticmethod
    def frame(opcode, payload, fin=True):
        first = bytes([opcode | (0x80 if fin else 0)])
        if len(payload) < 126:
            return first + bytes([len(payload)]) + payload
        if len(payload) < 65536:
            return first + b"\x7e" + struct.pack("!H", len(payload)) + payload
        return first + b"\x7f" + struct.pack("!Q", len(payload)) + payload

    def frames(self, message):
        """One, or fragments with a ping in between, which the protocol allows."""
        if not self.fragment:
            return self.frame(1, message)
        size, pieces = self.fragment, []
        for start in range(0, len(message), size):
            last = start + size >= len(message)
            pieces.append(self.frame(1 if start == 0 else 0, message[start:start + size], last))
        return self.frame(9, b"between").join(pieces)

    async def write_bytes(self, data):
        connection, transport = self.connection, self.connection.request.transport
        size = connection.split or max(1, len(data))
        for start in range(0, len(data), size):
            if connection.gone or self.closed:
                raise Gone
            transport.write(data[start:start + size])
            if size < len(data):
                await asyncio.sleep(0)
        while transport.get_write_buffer_size() > PIECES_DRAIN:
            await asyncio.sleep(0.002)
            if connection.gone or self.closed:
                raise Gone

    async def write(self, data):
        await self.write_bytes(self.frames(data))

    async def write_messages(self, messages):
        for message in messages:
            await self.write_bytes(self.frames(message))

    async def write_half(self, message):
        frames = self.frames(message)
        await self.write_bytes(frames[:len(frames) // 2])

    async def keepalive(self, data):
        await self.write_bytes(self.frame(9, data))

    async def finish(self, code=1000, reason=""):
        await self.write_bytes(self.frame(8, struct.pack("!H", code) + reason.encode()))
        await asyncio.wait({self._reader}, timeout=2)
        if not self.connection.gone:
            self.connection.request.transport.close()

    async def endless(self, step):
        piece = b"x" * 65536
        for i in range(max(1, step.get("bytes", 64 << 20) // len(piece))):
            await self.write_bytes(self.frame(0 if i else 1, piece, False))
        self.connection.do_hang_up("endless")

    def result(self):
        if self._reader is not None:
            self._reader.cancel()
        return self.response


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

    def keepalive_seconds(self):
        return self.config["keepalive_seconds"]


class Stream:
    """One connection that sends events until somebody ends it."""

    def __init__(self, connection, feed):
        self.connection, self.feed, self.world = connection, feed, connection.world
        self.sink = WebSocketSink(connection) if feed.websocket else HttpSink(connection)
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
        self.last_write = self.opened = self.world.clock.now()
        try:
            if self.feed.greeting:
                await self.sink.write(self.feed.greeting)
            while connection.ended is None:
                step = connection.take_step()
                if step is None:
                    await self.flow()
                else:
                    await getattr(self, "do_" + step["do"])(step)
        except (Gone, ConnectionError, asyncio.CancelledError):
            connection.ended = connection.ended or "client"
        return self.sink.result()

    async def before_headers(self, ends_only=False):
        """Steps that come before the first byte, or replace it; the answer if they end the connection."""
        connection = self.connection
        while True:
            step = connection.peek_step()
            if step is None or not (step["do"] in BEFORE_HEADERS or step.get("before_headers")):
                return None
            if ends_only and step["do"] not in ENDING:
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
            await connection.wait(self.next_time(until))

    def next_time(self, until):
        times = [self.last_write + self.feed.keepalive_seconds() * 1000, self.feed.timeline.next_due(), until,
                 self.limit()]
        return min(one for one in times if one is not None)

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

    async def send(self, messages):
        if not messages:
            return
        if self.glue and not self.feed.websocket:
            messages = [b"".join(messages)]
        await self.sink.write_messages(messages)
        self.last_write = self.world.clock.now()

    async def keep_alive(self):
        """All that are due since the last byte: the clock may have jumped."""
        every = self.feed.keepalive_seconds() * 1000
        while self.last_write + every <= self.world.clock.now():
            await self.sink.keepalive(self.feed.keepalive)
            self.connection.events["keepalive"] += 1
            self.last_write += every

    # ---- steps of scripts

    def provide(self, step, n):
        """Without a rate there is nothing to wait for: the posts happen now."""
        line = self.feed.timeline
        line.extend()
        if not step.get("make", line.rate <= 0):
            return
        ready = sum(1 for event in line.events[self.position:]
                    if event.kind == "post" and self.message(event) is not None)
        for _ in range(1000 * n):
            if ready >= n:
                return
            line.make(1)
            ready += self.message(line.events[-1]) is not None

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
        self.last_write = self.world.clock.now()

    async def do_keepalives(self, step):
        for _ in range(step.get("n", 1)):
            await self.sink.keepalive(self.feed.keepalive)
            self.connection.events["keepalive"] += 1
        self.last_write = self.world.clock.now()

    async def do_comment(self, step):
        await self.sink.write(self.feed.comment(step.get("text", "a comment")))

    async def do_raw(self, step):
        data = base64.b64decode(step["base64"]) if "base64" in step else step.get("text", "").encode()
        if self.feed.websocket and step.get("frame") is False:
            await self.sink.write_bytes(data)
        else:
            await self.sink.write(data)

    async def do_bench(self, step):
        from social import bench
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
