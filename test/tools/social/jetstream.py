"""Bluesky Jetstream: commits of repositories as JSON text messages over a WebSocket.

A cursor is in microseconds and includes the event of that very time, so who goes
on from the last event gets that one again.
"""
import hashlib
import json

from social import stream, timeline

POSTS = "app.bsky.feed.post"
DEFAULTS = {"keepalive_seconds": 30, "keepalive_real": False, "history_hours": 24,
            "like_every": 0, "identity_every": 0,
            "edit_every": 0, "edit_after": 30, "delete_every": 0, "delete_after": 60}
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def did(author):
    digest = hashlib.sha256(b"did%d" % author).digest()
    return "did:plc:" + "".join(ALPHABET[byte & 31] for byte in digest[:24])


def cid(*parts):
    digest = hashlib.sha256(repr(parts).encode()).digest() * 2
    return "bafyrei" + "".join(ALPHABET[byte & 31] for byte in digest[:52])


def record(post):
    text = post.text
    found = {"$type": POSTS, "createdAt": timeline.iso(post.millis), "langs": [post.city.lang], "text": text}
    facets = []
    for tag in post.tags:
        start = len(text[:text.find("#" + tag)].encode())
        facets.append({"features": [{"$type": "app.bsky.richtext.facet#tag", "tag": tag}],
                       "index": {"byteStart": start, "byteEnd": start + len(("#" + tag).encode())}})
    if facets:
        found["facets"] = facets
    if post.kind == "reply":
        parent = {"cid": cid(post.number, "parent"), "uri": "at://%s/%s/3jzfcijpj2z2a" % (did(post.author + 1), POSTS)}
        found["reply"] = {"parent": parent, "root": parent}
    return found


class Feed(stream.Feed):
    network = "jetstream"
    websocket = True
    keepalive = b"alive"

    def __init__(self, connection, cursor):
        super().__init__(connection)
        self.cursor = cursor
        self.collections = connection.query.getall("wantedCollections", [])
        self.dids = set(connection.query.getall("wantedDids", []))
        self.largest = int(connection.query.get("maxMessageSizeBytes", 0) or 0)

    def start(self):
        """The event of the cursor's own time too; one in the future means from now on."""
        self.timeline.extend()
        events = self.timeline.events
        if self.cursor is None:
            return len(events)
        oldest = self.world.clock.now() - self.config["history_hours"] * 3600000
        at = self.timeline.index_at(max(oldest, self.cursor // 1000))
        while at < len(events) and events[at].micros < self.cursor:
            at += 1
        return at

    def wants(self, collection):
        return not self.collections or any(
            collection == one or one.endswith(".*") and collection.startswith(one[:-1]) for one in self.collections)

    def render(self, event):
        if event.post is None:
            return self.made_up(event)
        post = event.post
        who = did(post.author)
        if self.dids and who not in self.dids or not self.wants(POSTS):
            return None
        commit = {"rev": timeline.base32(event.micros << 10, 13), "collection": POSTS, "rkey": post.id,
                  "operation": {"post": "create", "edit": "update", "delete": "delete"}[event.kind]}
        if event.kind != "delete":
            commit.update(record=record(post), cid=cid(post.number, event.kind))
        return self.message(event, who, {"kind": "commit", "commit": commit})

    def made_up(self, event):
        """Accounts and identities, which come whatever collections are wanted, and other collections."""
        extra = dict(event.extra or {})
        who = extra.get("did", did(1))
        if event.kind == "identity":
            return self.message(event, who, {"kind": "identity", "identity": {
                "did": who, "handle": "somebody.bsky.test", "seq": event.millis % 1000000,
                "time": timeline.iso(event.millis)}})
        if event.kind == "account":
            return self.message(event, who, {"kind": "account", "account": {
                "active": extra.get("active", False), "did": who, "seq": event.millis % 1000000,
                "time": timeline.iso(event.millis), "status": extra.get("status", "deleted")}})
        collection = extra.get("collection", "app.bsky.feed.like")
        if not self.wants(collection):
            return None
        return self.message(event, who, {"kind": "commit", "commit": {
            "rev": timeline.base32(event.micros << 10, 13), "operation": "create", "collection": collection,
            "rkey": timeline.base32(event.micros << 10, 13), "cid": cid(event.micros),
            "record": {"$type": collection, "createdAt": timeline.iso(event.millis)}}})

    def message(self, event, who, body):
        text = json.dumps({"did": who, "time_us": event.micros, **body}, ensure_ascii=False,
                          separators=(",", ":")).encode()
        return text if not self.largest or len(text) <= self.largest else None


class Jetstream:
    def __init__(self, world):
        self.world = world
        world.route("GET", "/subscribe", "jetstream.subscribe", self.subscribe, "websocket")

    async def subscribe(self, connection):
        query = connection.query
        cursor = query.get("cursor")
        if cursor is not None and not cursor.isdigit():
            return await connection.answer({"error": "invalid cursor"}, 400)
        if len(query.getall("wantedCollections", [])) > 100:
            return await connection.answer({"error": "too many wanted collections"}, 400)
        if query.get("compress") == "true":
            return await connection.answer({"error": "this server does not compress"}, 400)
        step = connection.peek_step()
        if "websocket" not in connection.request.headers.get("Upgrade", "").lower() and (
                step is None or step["do"] not in stream.BEFORE_HEADERS):
            return await connection.answer({"error": "a WebSocket is wanted"}, 400)
        return await stream.Stream(connection, Feed(connection, int(cursor) if cursor else None)).run()
