"""One connection: its row of the log, waiting on the clock, its ends, and what scripts do to a plain request."""
import base64
import collections
import hashlib
import json
import socket
import struct
import time

from aiohttp import web

from social import sinks

HIDDEN_HEADERS = ("authorization", "cookie")
HIDDEN_FIELDS = ("access_token", "client_secret", "code")

ENDING = {"status", "redirect", "reset", "close", "truncate", "half_open", "endless"}
REQUEST_STEPS = ENDING | {"stall", "split", "gzip", "headers", "malformed", "ok"}


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

    async def wait(self, millis=None, real_seconds=None):
        """Until something has changed, the simulated time has come, or the real seconds are over."""
        if self.gone:
            raise sinks.Gone
        seconds = [real_seconds, None if millis is None else self.world.clock.real_seconds(millis)]
        self.idle = True
        try:
            await self.world.signal.wait(min((one for one in seconds if one is not None), default=None))
        finally:
            self.idle = False
        if self.gone:
            raise sinks.Gone

    async def stall(self, step):
        """Simulated seconds, or real ones."""
        if "real_seconds" in step:
            until = time.monotonic() + step["real_seconds"]
            while time.monotonic() < until and not self.gone:
                self.idle = True
                await self.world.signal.wait(until - time.monotonic())
            self.idle = False
            if self.gone:
                raise sinks.Gone
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
        if "base64" in step:
            body = base64.b64decode(step["base64"])
        else:
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.status, self.ended = step.get("code", 503), "status"
        headers = {"Content-Type": "application/json; charset=utf-8", **self.headers}
        headers.update({key: str(value) for key, value in step.get("headers", {}).items()})
        return web.Response(status=self.status, headers=headers, body=body)

    async def answer(self, value, status=200, headers=None, content_type="application/json; charset=utf-8"):
        """Answer a request, as the script has it."""
        body = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        headers = {"Content-Type": content_type, **(headers or {})}
        step, gzip, cut = {}, False, False
        scripted = self.world.endpoints[self.endpoint] == "request"     # a stream's steps are not for its refusals
        while scripted and step.get("do") not in ENDING | {"ok", "malformed"}:
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
        sink = sinks.HttpSink(self)
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
