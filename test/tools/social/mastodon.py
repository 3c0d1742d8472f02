"""Mastodon: streams of server-sent events, and the timelines that fill their gaps."""
import html
import json

from social import stream, timeline

DEFAULTS = {"keepalive_seconds": 15, "keepalive_real": False, "require_token": True, "limits": {"requests": 300},
            "edit_every": 0, "edit_after": 30, "delete_every": 0, "delete_after": 60}
WINDOW_MS = 5 * 60 * 1000


def url(path):
    return "https://mastodon.test/" + path


def content(post):
    """The text as HTML: paragraphs, line breaks, links of tags, entities."""
    text = html.escape(post.text)
    for tag in post.tags:
        text = text.replace("#" + tag, '<a href="%s" class="mention hashtag" rel="tag">#<span>%s</span></a>'
                            % (url("tags/" + tag), tag))
    return "<p>%s</p>" % text.replace("\n", "<br />")


def status(post):
    local = post.local
    name = "user%d" % post.author
    account = {"id": str(post.author), "username": name, "acct": name if local else name + "@elsewhere.test",
               "display_name": "User %d" % post.author, "bot": False, "url": url("@" + name),
               "note": "<p>%s</p>" % html.escape(timeline.author_city(post.author).name)}
    reply = post.kind == "reply"
    return {"id": str(post.id), "created_at": timeline.iso(post.millis), "edited_at":
            timeline.iso(post.edited_at) if post.edited_at is not None else None,
            "in_reply_to_id": str(post.id - (1 << 26)) if reply else None,
            "in_reply_to_account_id": "1001" if reply else None, "sensitive": False, "spoiler_text": "",
            "visibility": "public", "language": post.city.lang, "uri": url("users/%s/statuses/%s" % (name, post.id)),
            "url": url("@%s/%s" % (name, post.id)), "content": content(post), "reblog": None, "account": account,
            "tags": [{"name": tag.lower(), "url": url("tags/" + tag)} for tag in post.tags],
            "mentions": [], "emojis": [], "media_attachments": [], "replies_count": 0, "reblogs_count": 0,
            "favourites_count": post.hash % 5, "poll": None, "card": None}


def sse(event, data, multiline=False, before=""):
    """One server-sent event; data of several lines has the field several times."""
    lines = json.dumps(data, ensure_ascii=False, indent=1).split("\n") if multiline and not isinstance(data, str) else [
        data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))]
    return ("event: %s\n%s%s\n\n" % (event, before, "\n".join("data: " + one for one in lines))).encode()


class Feed(stream.Feed):
    network = "mastodon"
    content_type = "text/event-stream"
    greeting = b":)\n"
    keepalive = b":thump\n"

    def __init__(self, connection, wants):
        super().__init__(connection)
        self.wants = wants

    def headers(self):
        return {**super().headers(), "Cache-Control": "private, no-store", "X-Accel-Buffering": "no"}

    def render(self, event):
        post = event.post
        if post is None or not self.wants(post):
            return None
        if event.kind == "delete":
            return sse("delete", str(post.id), self.multiline)
        return sse("update" if event.kind == "post" else "status.update", status(post), self.multiline)

    def comment(self, text):
        return b":%s\n" % text.encode()

    def disconnect_message(self, step):
        return sse("error", {"error": step.get("detail", "the server is going down")})


class Mastodon:
    def __init__(self, world):
        self.world = world
        self.used = {}
        world.stores.append(self.used.clear)
        for kind in ("public", "public/local", "public/remote", "hashtag", "hashtag/local"):
            name = kind.replace("public/", "").replace("/", "_")
            world.route("GET", "/api/v1/streaming/" + kind, "mastodon." + name, self.streamer(kind), "stream")
        world.route("GET", "/api/v1/streaming/health", "mastodon.health", self.health)
        world.route("GET", "/api/v1/timelines/public", "mastodon.timeline", self.timeline)
        world.route("GET", "/api/v1/timelines/tag/{tag}", "mastodon.tag", self.timeline)
        world.route("POST", "/oauth/token", "mastodon.token", self.give_token)

    async def health(self, connection):
        return await connection.answer(b"OK", content_type="text/plain")

    async def give_token(self, connection):
        return await connection.answer({"access_token": "mastodon-app-token", "token_type": "Bearer",
                                        "scope": "read", "created_at": int(self.world.clock.now() / 1000)})

    def streamer(self, kind):
        async def serve(connection):
            if self.world.config["mastodon"]["require_token"] and connection.token() is None:
                return await connection.answer({"error": "Error: Missing access token"}, 401)
            tag = connection.query.get("tag", "").lower()
            if kind.startswith("hashtag") and not tag:
                return await connection.answer({"error": "Missing tag name parameter"}, 400)

            def wants(post):
                return not ((kind.endswith("local") and not post.local) or (kind.endswith("remote") and post.local) or
                            (tag and tag not in [one.lower() for one in post.tags]))

            return await stream.Stream(connection, Feed(connection, wants)).run()
        return serve

    # ---- timelines

    def rate_headers(self, connection):
        """Counts the request too; None when there were too many."""
        now, key = self.world.clock.now(), connection.row["token"]
        used, ends = self.used.get(key, (0, 0))
        if ends <= now:
            used, ends = 0, now + WINDOW_MS
        self.used[key] = used + 1, ends
        limit = self.world.config["mastodon"]["limits"]["requests"]
        return used < limit, {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(max(0, limit - used - 1)),
                              "X-RateLimit-Reset": timeline.iso(ends)}

    async def timeline(self, connection):
        """Newest first; min_id gives the page next to it, since_id the newest page after it."""
        allowed, headers = self.rate_headers(connection)
        if not allowed:
            return await connection.answer({"error": "Too many requests"}, 429, headers)
        query, line = connection.query, self.world.timelines["mastodon"]
        line.extend()
        limit = min(40, max(1, int(query.get("limit", 20)))) if query.get("limit", "20").isdigit() else 20
        numbers = {}
        for name in ("max_id", "since_id", "min_id"):
            if name in query:
                if not query[name].isdigit():
                    return await connection.answer({"error": "Validation failed: %s" % name}, 422, headers)
                numbers[name] = int(query[name])
        low = line.post_index_after(max(numbers.get("since_id", 0), numbers.get("min_id", 0)))
        high = line.post_index_after(numbers["max_id"] - 1) if "max_id" in numbers else len(line.posts)
        found = [post for post in self.walk(line.posts, low, high, "min_id" in numbers, limit, connection)]
        found.sort(key=lambda post: post.id, reverse=True)
        if found:
            base = self.world.base_url + connection.request.path
            headers["Link"] = '<%s?limit=%d&max_id=%d>; rel="next", <%s?limit=%d&min_id=%d>; rel="prev"' % (
                base, limit, found[-1].id, base, limit, found[0].id)
        connection.ids.extend(post.id for post in found)
        return await connection.answer([status(post) for post in found], headers=headers)

    @staticmethod
    def walk(posts, low, high, upwards, limit, connection):
        query = connection.query
        local, remote = (query.get(name, "") in ("true", "1", "on") for name in ("local", "remote"))
        tag = (connection.argument or "").lower()
        for at in range(low, high) if upwards else range(high - 1, low - 1, -1):
            post = posts[at]
            if post.withheld or post.deleted_at is not None or local and not post.local or remote and post.local:
                continue
            if tag and tag not in [one.lower() for one in post.tags]:
                continue
            yield post
            limit -= 1
            if limit == 0:
                return
