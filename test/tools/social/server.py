"""The server beneath all networks: routes, scripts, and what all connections share.

A script is a queue of steps per endpoint.  A connection takes steps from it one
after the other until one ends the connection; the next connection goes on with
the rest.  With no step left a stream follows the clock, a request is answered.
"""
import asyncio
import collections
import email.utils
import time

from aiohttp import web

from social import connection as connections, sinks, stream, timeline


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
        self.endpoints = {}     # name -> "stream", "websocket" or "request"
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
        connection = connections.Connection(self, request, endpoint, argument)
        # the clock that clients may reckon by
        connection.headers["Date"] = email.utils.formatdate(self.clock.now() / 1000, usegmt=True)
        try:
            return await handler(connection)
        except (sinks.Gone, ConnectionError, asyncio.CancelledError):
            connection.ended = connection.ended or "client"
            return connection.nothing()
        finally:
            connection.finish()

    def add_script(self, endpoint, steps):
        kind = self.endpoints.get(endpoint)
        if kind is None:
            raise BadScript("no such endpoint; there are " + " ".join(sorted(self.endpoints)))
        known = connections.REQUEST_STEPS
        if kind != "request":
            known = {name for name in stream.STEPS if kind == "websocket" or not name.startswith("ws_")}
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
        limit, rounds = time.monotonic() + seconds, 0
        while any(not connection.idle for connection in self.connections):
            if time.monotonic() > limit:
                return False
            rounds += 1
            await asyncio.sleep(0 if rounds < 100 else 0.001)
        return True
