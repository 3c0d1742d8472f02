"""The control API under /_control: scripts, clock, posts on order, the log and the truth."""
import json

from aiohttp import web

from social import server, timeline, wikimedia


class Control:
    def __init__(self, world):
        self.world = world
        for method, path, handler in (
                ("POST", "script", self.add_script), ("GET", "script", self.get_script),
                ("POST", "reset", self.reset), ("GET", "log", self.get_log), ("GET", "truth", self.get_truth),
                ("GET", "clock", self.get_clock), ("POST", "clock", self.set_clock), ("POST", "rate", self.set_rate),
                ("GET", "config", self.get_config), ("POST", "config", self.set_config),
                ("POST", "posts", self.make_posts), ("POST", "delete", self.change), ("POST", "edit", self.change),
                ("POST", "event", self.make_event), ("GET", "connections", self.get_connections)):
            world.route(method, "/_control/" + path, None, self.checked(handler))

    @staticmethod
    def checked(handler):
        """The order as JSON in, the answer as JSON out."""
        async def answer(request):
            try:
                order = json.loads(await request.read() or b"{}")
                found = await handler(request, order)
            except (server.BadScript, ValueError, KeyError, TypeError) as error:
                return web.json_response({"error": "%s: %s" % (type(error).__name__, error)}, status=400)
            return found if isinstance(found, web.StreamResponse) else web.json_response(found)
        return answer

    # ---- what shall happen

    async def add_script(self, request, order):
        if order.get("clear"):
            self.world.scripts[order["endpoint"]].clear()
        self.world.add_script(order["endpoint"], order.get("steps", []))
        await self.world.settle(order.get("settle", 1.0))
        return {"steps": len(self.world.scripts[order["endpoint"]])}

    async def get_script(self, request, order):
        """What is left."""
        return {endpoint: list(steps) for endpoint, steps in self.world.scripts.items() if steps}

    async def reset(self, request, order):
        """No connection, script, rule, log or post any more; the clock and the settings stay."""
        for connection in list(self.world.connections):
            connection.do_hang_up("reset by control")
        self.world.reset()
        return {}

    async def get_clock(self, request, order):
        now = self.world.clock.now()
        return {"millis": now, "time": timeline.iso(now), "speed": self.world.clock.speed}

    async def set_clock(self, request, order):
        """advance and set; with step the way there is gone in steps of so many seconds."""
        clock = self.world.clock
        if "speed" in order:
            clock.pace(order["speed"])
        now = target = clock.now()
        if "set" in order:
            target = order["set"] if isinstance(order["set"], (int, float)) else wikimedia.read_time(order["set"])
        target += order.get("advance", 0) * 1000
        if target < now:
            raise server.BadScript("the clock does not run backwards")
        step = order.get("step", 0) * 1000
        settled = True
        while target > now:
            now = min(target, now + step) if step else target
            clock.set(now)
            for line in self.world.timelines.values():
                line.extend()
            settled = await self.world.settle(order.get("settle", 2.0)) and settled
        if target == now and "advance" not in order and "set" not in order:
            settled = await self.world.settle(order.get("settle", 2.0))
        return {**await self.get_clock(request, order), "settled": settled}

    async def set_rate(self, request, order):
        """Posts per simulated second, {"x": 5} or {"network": "x", "rate": 5}."""
        if "network" in order:
            order = {order["network"]: order["rate"]}
        for network, rate in order.items():
            self.world.timelines[network].set_rate(rate)
        self.world.signal.fire()
        return {network: line.rate for network, line in self.world.timelines.items()}

    async def get_config(self, request, order):
        return self.world.config

    async def set_config(self, request, order):
        for network, values in order.items():
            for name, value in values.items():
                if name not in self.world.config[network]:
                    raise server.BadScript("no such setting: %s.%s" % (network, name))
                old = self.world.config[network][name]
                self.world.config[network][name] = {**old, **value} if isinstance(old, dict) else value
        self.world.signal.fire()
        return self.world.config

    async def make_posts(self, request, order):
        line = self.world.timelines[order["network"]]
        posts = line.make(order.get("n", 1), order.get("withheld", False))
        await self.world.settle()
        return {"ids": [str(post.id) for post in posts]}

    async def change(self, request, order):
        """Posts by their ids, or the n latest."""
        kind = request.path.rpartition("/")[2]
        line = self.world.timelines[order["network"]]
        line.extend()
        if "ids" in order:
            posts = [line.find(one if order["network"] == "jetstream" else int(one)) for one in order["ids"]]
        else:
            posts = [post for post in line.posts if post.deleted_at is None and not post.withheld][-order.get("n", 1):]
        changed = [post for post in posts if post is not None and line.change(kind, post) is not None]
        await self.world.settle()
        return {"ids": [str(post.id) for post in changed]}

    async def make_event(self, request, order):
        """An event about no post of the timeline: {"network": "x", "kind": "user_protect", "id": 1234}."""
        event = self.world.timelines[order["network"]].change(order["kind"], None, extra=order)
        await self.world.settle()
        return {"millis": event.millis}

    # ---- what has happened

    async def get_connections(self, request, order):
        return [one.log_row(False) for one in sorted(self.world.connections, key=lambda one: one.row["n"])]

    async def get_log(self, request, order):
        """since: rows after that number; endpoint; ids=0 without the ids sent."""
        query = request.query
        return [row["connection"].log_row(query.get("ids") != "0") for row in self.world.log
                if row["n"] > int(query.get("since", 0)) and query.get("endpoint", row["endpoint"]) == row["endpoint"]]

    async def get_truth(self, request, order):
        """network; for=QUERY: only what that X rule matches; format=ndjson."""
        query = request.query
        networks = [query["network"]] if "network" in query else timeline.NETWORKS
        wanted = lambda post: True
        if "for" in query:
            from social import x_query
            wanted = x_query.compile_query(query["for"], 4096)
        rows = []
        for network in networks:
            self.world.timelines[network].extend()
            rows += [self.detail(network, post, row) for post, row in self.world.timelines[network].truth()
                     if wanted(post)]
        if query.get("format") == "ndjson":
            return web.Response(text="".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return rows

    @staticmethod
    def detail(network, post, row):
        """What a test needs to know which streams were to send the post."""
        row.update(text=post.text, lang=post.city.lang, tags=post.tags, author=str(post.author))
        if network == "mastodon":
            row["local"] = post.local
        if network == "x":
            row.update(kind=post.kind, country=post.city.code if post.has_place else None)
        if network == "jetstream":
            from social import jetstream
            row.update(uri="at://%s/%s/%s" % (jetstream.did(post.author), jetstream.POSTS, post.id))
        return row
