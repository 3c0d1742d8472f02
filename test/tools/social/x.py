"""X API v2: streams, their rules, recent search, compliance streams."""
import base64
import binascii
import bisect
import calendar
import html
import json
import time

from aiohttp import web

from social import stream, timeline, x_query

PROBLEM = "https://api.twitter.com/2/problems/"
WINDOW_MS = 15 * 60 * 1000
POST_FIELDS = set("article attachments author_id card_uri community_id context_annotations conversation_id created_at "
                  "display_text_range edit_controls edit_history_tweet_ids entities geo id in_reply_to_user_id lang "
                  "matched_media_notes media_metadata non_public_metrics note_tweet organic_metrics possibly_sensitive "
                  "promoted_metrics public_metrics referenced_tweets reply_settings scopes source suggested_source_links "
                  "text withheld edit_history_post_ids note_post referenced_posts".split())
EXPANSIONS = set("article.cover_media article.media_entities attachments.media_keys attachments.media_source_tweet "
                 "attachments.poll_ids author_id edit_history_tweet_ids entities.mentions.username geo.place_id "
                 "in_reply_to_user_id entities.note.mentions.username referenced_tweets.id "
                 "referenced_tweets.id.attachments.media_keys referenced_tweets.id.author_id edit_history_post_ids "
                 "referenced_posts.id referenced_posts.id.author_id".split())
USER_EVENTS = set("user_delete user_undelete user_withheld user_protect user_unprotect user_suspend user_unsuspend "
                  "user_profile_modification scrub_geo".split())
POST_EVENTS = {"withheld", "drop", "undrop"}
DISCONNECTS = "This stream has been disconnected upstream for operational reasons."

DEFAULTS = {
    "keepalive_seconds": 20, "keepalive_real": False, "max_connections": 1, "tokens": None, "spelling": "old",
    "sample_percent": 1, "sample10_percent": 10, "search_delay": 0, "search_days": 7,
    "max_rules": 1000, "max_rule_length": 1024, "invalid_rules_status": 201, "rules_all_or_none": False,
    "edit_every": 0, "edit_after": 30, "delete_every": 0, "delete_after": 60,
    "limits": {"x.stream": 50, "x.sample": 50, "x.sample10": 50, "x.compliance": 100, "x.user_compliance": 100,
               "x.search": 450, "x.rules": 450, "x.rules_post": 100},
}


def problem(status, title, detail, kind=None, **more):
    return {"title": title, "detail": detail, "type": PROBLEM + kind if kind else "about:blank", **more,
            **({} if kind else {"status": status})}


def invalid_request(parameter, values, message):
    return {"errors": [{"parameters": {parameter: values}, "message": message}], "title": "Invalid Request",
            "detail": "One or more parameters to your request was invalid.", "type": PROBLEM + "invalid-request"}


class Refused(Exception):
    """An answer other than the wanted one."""

    def __init__(self, status, body):
        super().__init__(body.get("detail"))
        self.status, self.body = status, body


def too_many_connections():
    return problem(429, "ConnectionException", "This stream is currently at the maximum allowed connection limit.",
                   "streaming-connection", connection_issue="TooManyConnections")


class Fields:
    """What a request wants to be told of posts, and in which spelling."""

    def __init__(self, query, spelling):
        self.new = spelling == "new" or "post.fields" in query
        self.posts = self.read(query, "tweet.fields", POST_FIELDS) | self.read(query, "post.fields", POST_FIELDS)
        self.users = self.read(query, "user.fields", None)
        self.places = self.read(query, "place.fields", None)
        self.expansions = self.read(query, "expansions", EXPANSIONS)

    @staticmethod
    def read(query, name, known):
        wanted = {one for value in query.getall(name, []) for one in value.split(",") if one}
        if known is not None and wanted - known:
            bad = sorted(wanted - known)
            raise Refused(400, invalid_request(name, bad, "The `%s` query parameter value [%s] is not one of [%s]"
                                               % (name, bad[0], ",".join(sorted(known)))))
        return {one.replace("_post_ids", "_tweet_ids").replace("note_post", "note_tweet")
                .replace("referenced_posts", "referenced_tweets") for one in wanted}

    def spell(self, name):
        return name.replace("tweet", "post") if self.new else name


def referenced(post):
    """Of a retweet, reply or quote: some older post."""
    return post.id - (1 + post.hash % 1000 << 22)


def place_id(city):
    return "%016x" % timeline.mix(*city.name.encode())


def data_object(post, fields):
    """The post with the fields that were asked for: by default id and text."""
    city, kind = post.city, post.kind
    text = html.escape(("RT @someone: " if kind == "retweet" else "") + post.text, quote=False)
    long = post.hash >> 50 & 63 == 0
    data = {"id": str(post.id), "text": text[:60] + "…" if long else text,
            fields.spell("edit_history_tweet_ids"): [str(post.id)]}
    wanted = fields.posts
    if "created_at" in wanted:
        data["created_at"] = timeline.iso(post.millis)
    if "author_id" in wanted or "author_id" in fields.expansions:
        data["author_id"] = str(post.author)
    if "lang" in wanted:
        data["lang"] = city.lang
    if "note_tweet" in wanted and long:
        data[fields.spell("note_tweet")] = {"text": text}
    if "entities" in wanted and post.tags:
        data["entities"] = {"hashtags": [{"start": text.find("#" + tag), "end": text.find("#" + tag) + len(tag) + 1,
                                          "tag": tag} for tag in post.tags]}
    if "geo" in wanted or "geo.place_id" in fields.expansions:
        geo = {"place_id": place_id(city)} if post.has_place else {}
        if post.has_point:
            geo["coordinates"] = {"type": "Point", "coordinates": [city.lon, city.lat]}
        if geo:
            data["geo"] = geo
    if "referenced_tweets" in wanted and kind != "post":
        data[fields.spell("referenced_tweets")] = [
            {"type": {"retweet": "reposted" if fields.new else "retweeted", "reply": "replied_to",
                      "quote": "quoted"}[kind], "id": str(referenced(post))}]
    if "public_metrics" in wanted:
        data["public_metrics"] = {"like_count": post.hash % 7, "reply_count": 0, "quote_count": 0,
                                  ("repost_count" if fields.new else "retweet_count"): post.hash % 3}
    return data


def includes(posts, fields):
    found = {}
    if "author_id" in fields.expansions:
        found["users"] = []
        for author in sorted({post.author for post in posts}):
            city = timeline.author_city(author)
            user = {"id": str(author), "name": "User %d" % author, "username": "user%d" % author}
            if "location" in fields.users and author % 3:
                user["location"] = "%s, %s" % (city.name, city.country)
            found["users"].append(user)
    places = {place_id(post.city): post.city for post in posts if post.has_place}
    if "geo.place_id" in fields.expansions and places:
        found["places"] = []
        for one, city in sorted(places.items()):
            place = {"id": one, "full_name": "%s, %s" % (city.name, city.region)}
            optional = {"name": city.name, "country": city.country, "country_code": city.code, "place_type": "city"}
            place.update({name: value for name, value in optional.items() if name in fields.places})
            found["places"].append(place)
    return found


def line(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\r\n"


class PostFeed(stream.Feed):
    """Posts, one JSON object a line; a stream says which posts."""
    network = "x"
    content_type = "application/json; charset=utf-8"

    def __init__(self, connection, x):
        super().__init__(connection)
        self.x = x
        self.fields = Fields(connection.query, self.config["spelling"])
        self.backfill = x.whole(connection, "backfill_minutes", 0, 5, 0)

    def start(self):
        self.timeline.extend()
        if not self.backfill:
            return len(self.timeline.events)
        return self.timeline.index_at(self.world.clock.now() - self.backfill * 60000)

    def wants(self, post):
        return {}

    def render(self, event):
        if event.kind != "post":
            return None
        more = self.wants(event.post)
        if more is None:
            return None
        envelope = {"data": data_object(event.post, self.fields)}
        included = includes([event.post], self.fields)
        if included:
            envelope["includes"] = included
        return line({**envelope, **more})

    def disconnect_message(self, step):
        return line({"errors": [{"title": "operational-disconnect",
                                 "disconnect_type": step.get("type", "UpstreamOperationalDisconnect"),
                                 "detail": step.get("detail", DISCONNECTS),
                                 "type": PROBLEM + "operational-disconnect"}]})


class RuleFeed(PostFeed):
    """The filtered stream: a change of the rules takes effect at once."""

    def wants(self, post):
        matching = [{"id": rule["id"], **({"tag": rule["tag"]} if rule.get("tag") else {})}
                    for rule in self.x.rules.values() if rule["matches"](post)]
        return {"matching_rules": matching} if matching else None


class SampleFeed(PostFeed):
    name, partitions = "sample", 1

    def __init__(self, connection, x):
        super().__init__(connection, x)
        self.partition = 1
        if self.partitions > 1:
            self.partition = x.whole(connection, "partition", 1, self.partitions)

    def wants(self, post):
        share = (post.hash >> 44) % 1000 < 10 * self.config[self.name + "_percent"]
        return {} if share and (post.hash >> 54) % self.partitions == self.partition - 1 else None


class Sample10Feed(SampleFeed):
    name, partitions = "sample10", 2


class ComplianceFeed(PostFeed):
    """What happened to posts: deletes, edits and what the control API makes up."""
    partitions = 4
    kinds = POST_EVENTS | {"delete", "edit"}

    def __init__(self, connection, x):
        super().__init__(connection, x)
        self.partition = x.whole(connection, "partition", 1, self.partitions)

    def number(self, event):
        return event.post.id if event.post is not None else int(event.extra.get("id", 0))

    def render(self, event):
        if event.kind not in self.kinds or self.number(event) % self.partitions != self.partition - 1:
            return None
        return line({"data": {self.name(event): {**self.subject(event), "event_at": timeline.iso(event.millis)}}})

    def name(self, event):
        return self.fields.spell("tweet_edit") if event.kind == "edit" else event.kind

    def subject(self, event):
        number = str(self.number(event))
        about = {"id": number}
        if event.kind == "delete":
            about["author_id"] = str(event.post.author)
        found = {self.fields.spell("tweet"): about}
        if event.kind == "edit":
            found[self.fields.spell("initial_tweet_id")] = number
            found[self.fields.spell("edit_tweet_ids")] = [number]
        if event.kind == "withheld":
            found["withheld_in_countries"] = event.extra.get("countries", ["XY"])
        return found


class UserComplianceFeed(ComplianceFeed):
    kinds = USER_EVENTS

    def name(self, event):
        return event.kind

    def subject(self, event):
        found = {"user": {"id": str(self.number(event))}}
        if event.kind == "scrub_geo":
            found[self.fields.spell("up_to_tweet_id")] = str(event.extra.get("up_to", 0))
        if event.kind == "user_withheld":
            found["withheld_in_countries"] = event.extra.get("countries", ["XY"])
        if event.kind == "user_profile_modification":
            found.update(profile_field="location", new_value=event.extra.get("value", "Toronto"))
        return found


class X:
    def __init__(self, world):
        self.world = world
        self.rules, self.used, self.slots = {}, {}, {}
        world.stores.append(self.reset)
        for path, endpoint, feed in (
                ("/2/tweets/search/stream", "x.stream", RuleFeed), ("/2/tweets/sample/stream", "x.sample", SampleFeed),
                ("/2/tweets/sample10/stream", "x.sample10", Sample10Feed),
                ("/2/tweets/compliance/stream", "x.compliance", ComplianceFeed),
                ("/2/users/compliance/stream", "x.user_compliance", UserComplianceFeed)):
            world.route("GET", path, endpoint, self.streamer(feed), "stream")
        world.route("GET", "/2/tweets/search/stream/rules", "x.rules", self.guard(self.get_rules))
        world.route("POST", "/2/tweets/search/stream/rules", "x.rules_post", self.guard(self.post_rules))
        world.route("GET", "/2/tweets/search/recent", "x.search", self.guard(self.search))
        world.route("POST", "/oauth2/token", "x.token", self.give_token)

    @property
    def config(self):
        return self.world.config["x"]

    def reset(self):
        self.rules.clear()
        self.used.clear()
        self.slots.clear()

    # ---- who may, and how often

    def check_token(self, connection):
        token = connection.token() if "Authorization" in connection.request.headers else None
        if token is None or self.config["tokens"] is not None and token not in self.config["tokens"]:
            raise Refused(401, problem(401, "Unauthorized", "Unauthorized"))

    def window(self, connection):
        """Requests of this window and when it ends, one each per endpoint and token."""
        key = (connection.endpoint, connection.row["token"])
        used, ends = self.used.get(key, (0, 0))
        if ends <= self.world.clock.now():
            used, ends = 0, self.world.clock.now() + WINDOW_MS
            self.used[key] = used, ends
        return key, used, ends

    def count_request(self, connection):
        key, used, ends = self.window(connection)
        if used >= self.limit(connection):
            raise Refused(429, problem(429, "Too Many Requests", "Too Many Requests"))
        self.used[key] = used + 1, ends

    def limit(self, connection):
        return self.config["limits"].get(connection.endpoint, 450)

    def rate_headers(self, connection):
        _, used, ends = self.window(connection)
        return {"x-rate-limit-limit": str(self.limit(connection)),
                "x-rate-limit-remaining": str(max(0, self.limit(connection) - used)),
                "x-rate-limit-reset": str(int(ends / 1000 + 0.999))}

    def refuse(self, connection, refused):
        connection.status, connection.ended = refused.status, "refused"
        headers = self.rate_headers(connection) if refused.status != 401 else {}
        return web.json_response(refused.body, status=refused.status, headers={**headers, **connection.headers})

    def guard(self, handler):
        async def guarded(connection):
            try:
                self.check_token(connection)
                self.count_request(connection)
                return await handler(connection)
            except Refused as refused:
                return self.refuse(connection, refused)
        return guarded

    async def give_token(self, connection):
        """An app's key and secret for its bearer token."""
        if not connection.request.headers.get("Authorization", "").startswith("Basic "):
            errors = [{"code": 99, "message": "Unable to verify your credentials"}]
            return await connection.answer({"errors": errors}, 403)
        token = (self.config["tokens"] or ["AAAA-app-token"])[0]
        return await connection.answer({"token_type": "bearer", "access_token": token})

    @staticmethod
    def whole(connection, name, least, most, default=None):
        """A parameter that is a number in a range."""
        text = connection.query.get(name)
        if text is None and default is not None:
            return default
        if text is None or not text.isdigit() or not least <= int(text) <= most:
            raise Refused(400, invalid_request(name, [text] if text is not None else [],
                                               "The `%s` query parameter value [%s] is not between %d and %d"
                                               % (name, text, least, most)))
        return int(text)

    # ---- streams

    def streamer(self, feed_class):
        async def serve(connection):
            key = (connection.endpoint, connection.row["token"], connection.query.get("partition"))
            try:
                self.check_token(connection)
                self.count_request(connection)
                connection.headers.update(self.rate_headers(connection))
                feed = feed_class(connection, self)
                running = stream.Stream(connection, feed)
                answer = await running.before_headers(ends_only=True)
                if answer is not None:
                    return answer
                if feed_class is RuleFeed and not self.rules:
                    raise Refused(409, problem(
                        409, "ConnectionException", "Define rules with POST /2/tweets/search/stream/rules first.",
                        "streaming-connection", connection_issue="RuleConfigurationIssue"))
                open_slots = self.open_slots(key)
                if len(open_slots) >= self.config["max_connections"]:
                    raise Refused(429, too_many_connections())
            except Refused as refused:
                return self.refuse(connection, refused)
            slot = [float("inf")]
            open_slots.append(slot)
            try:
                return await running.run()
            finally:
                slot[0] = self.world.clock.now() + connection.linger * 1000
        return serve

    def open_slots(self, key):
        """Connections that are open, or count as open for a while."""
        now = self.world.clock.now()
        self.slots[key] = [slot for slot in self.slots.get(key, []) if slot[0] > now]
        return self.slots[key]

    # ---- rules

    def sent(self):
        return timeline.iso(self.world.clock.now())

    async def get_rules(self, connection):
        wanted = connection.query.get("ids")
        rules = [self.public(rule) for rule in self.rules.values()
                 if wanted is None or rule["id"] in wanted.split(",")]
        body = {"data": rules} if rules else {}
        body["meta"] = {"sent": self.sent(), "result_count": len(rules)}
        return await connection.answer(body, headers=self.rate_headers(connection))

    @staticmethod
    def public(rule):
        return {key: rule[key] for key in ("id", "value", "tag") if rule.get(key) is not None}

    async def post_rules(self, connection):
        try:
            body = json.loads(await connection.request.read())
        except ValueError:
            body = None
        adding = isinstance(body, dict) and isinstance(body.get("add"), list) and body["add"]
        deleting = isinstance(body, dict) and isinstance(body.get("delete"), dict)
        if bool(adding) == bool(deleting):
            raise Refused(400, invalid_request("add", [], "either add or delete must be given"))
        dry_run = connection.query.get("dry_run", "").lower() == "true"
        status, answer = self.add_rules(adding, dry_run) if adding else self.delete_rules(body["delete"], dry_run)
        return await connection.answer(answer, status, self.rate_headers(connection))

    def add_rules(self, wanted, dry_run):
        if len(self.rules) + len(wanted) > self.config["max_rules"]:
            raise Refused(422, problem(422, "RulesCapExceeded", "There would be too many rules.", "rule-cap"))
        rules, created, errors, invalid = dict(self.rules), [], [], 0
        for one in wanted:
            value = one.get("value", "") if isinstance(one, dict) else ""
            same = [rule for rule in rules.values() if rule["value"] == value]
            if same:
                errors.append({"value": value, "id": same[0]["id"], "title": "DuplicateRule",
                               "type": PROBLEM + "duplicate-rules"})
                continue
            try:
                matches = x_query.compile_query(value, self.config["max_rule_length"])
            except x_query.Invalid as reason:
                invalid += 1
                errors.append({"value": value, "details": [str(reason)], "title": "UnprocessableEntity",
                               "type": PROBLEM + "invalid-rules"})
                continue
            number = timeline.mix(*value.encode(), len(rules)) >> 4
            rule = {"id": str(10 ** 18 + number % 10 ** 18), "value": value, "tag": one.get("tag"), "matches": matches}
            rules[rule["id"]] = rule
            created.append(self.public(rule))
        if invalid and self.config["rules_all_or_none"]:
            created, rules = [], self.rules
        if not dry_run:
            self.rules = rules
            self.world.signal.fire()
        answer = {"data": created} if created else {}
        answer["meta"] = {"sent": self.sent(), "summary": {
            "created": len(created), "not_created": len(wanted) - len(created),
            "valid": len(wanted) - len(errors), "invalid": len(errors)}}
        if errors:
            answer["errors"] = errors
        return (self.config["invalid_rules_status"] if errors and not created else 201), answer

    def delete_rules(self, wanted, dry_run):
        ids = [str(one) for one in wanted.get("ids", [])]
        values = list(wanted.get("values", []))
        doomed = {rule["id"] for rule in self.rules.values() if rule["id"] in ids or rule["value"] in values}
        missing = [one for one in ids if one not in self.rules]
        missing += [one for one in values if one not in [rule["value"] for rule in self.rules.values()]]
        if not dry_run:
            self.rules = {key: rule for key, rule in self.rules.items() if key not in doomed}
            self.world.signal.fire()
        answer = {"meta": {"sent": self.sent(), "summary": {"deleted": len(doomed), "not_deleted": len(missing)}}}
        if missing:
            answer["errors"] = [{"errors": [{"parameters": {}, "message": "Rule does not exist"}],
                                 "title": "Invalid Request", "type": PROBLEM + "invalid-request", "value": one}
                                for one in missing]
        return 200, answer

    # ---- recent search

    async def search(self, connection):
        query, line_ = connection.query, self.world.timelines["x"]
        line_.extend()
        fields = Fields(query, self.config["spelling"])
        count = self.whole(connection, "max_results", 10, 100, 10)
        try:
            matches = x_query.compile_query(query.get("query", ""), 4096)
        except x_query.Invalid as reason:
            raise Refused(400, invalid_request("query", [query.get("query", "")], str(reason)))
        low, high = self.bounds(query, line_)
        token = query.get("next_token") or query.get("pagination_token")
        if token:
            high = min(high, self.open_token(token, line_))
        found = []
        while high > low and len(found) <= count:
            high -= 1
            post = line_.posts[high]
            if not post.withheld and post.deleted_at is None and matches(post):
                found.append(post)
        page = found[:count]
        body = {"data": [data_object(post, fields) for post in page]} if page else {}
        included = includes(page, fields)
        if page and included:
            body["includes"] = included
        body["meta"] = {"result_count": len(page)}
        if page:
            body["meta"].update(newest_id=str(page[0].id), oldest_id=str(page[-1].id))
        if len(found) > count:
            body["meta"]["next_token"] = base64.urlsafe_b64encode(b"next:%d" % page[-1].id).decode().rstrip("=")
        connection.ids.extend(post.id for post in page)
        return await connection.answer(body, headers=self.rate_headers(connection))

    @staticmethod
    def open_token(token, line_):
        """Index of the post where the last page ended."""
        try:
            text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            return line_.post_index_after(int(text.removeprefix("next:"))) - 1
        except (ValueError, binascii.Error):
            raise Refused(400, invalid_request("next_token", [token], "The `next_token` is invalid")) from None

    def bounds(self, query, line_):
        """Range of posts that since_id, until_id and the times leave."""
        if ("since_id" in query or "until_id" in query) and ("start_time" in query or "end_time" in query):
            raise Refused(400, invalid_request("since_id", [query.get("since_id", "")], "Invalid use of 'since_id' or "
                                               "'until_id' in conjunction with 'start_time' or 'end_time'."))
        now = self.world.clock.now()
        oldest, newest = now - self.config["search_days"] * 86400000, now - self.config["search_delay"] * 1000
        by_time = dict(key=lambda post: post.millis)
        low = bisect.bisect_left(line_.posts, oldest, **by_time)
        high = bisect.bisect_right(line_.posts, newest, **by_time) if self.config["search_delay"] else len(line_.posts)
        if "since_id" in query:
            since = self.read_id(query, "since_id")
            if (since >> 22) + timeline.TWITTER_EPOCH_MS < oldest:
                raise Refused(400, invalid_request("since_id", [str(since)],
                                                   "'since_id' must be of a post after " + timeline.iso(oldest)))
            low = max(low, line_.post_index_after(since))
        if "until_id" in query:
            high = min(high, line_.post_index_after(self.read_id(query, "until_id") - 1))
        if "start_time" in query:
            start = self.read_time(query, "start_time")
            if start < oldest:
                raise Refused(400, invalid_request("start_time", [query["start_time"]],
                                                   "'start_time' must not be before " + timeline.iso(oldest)))
            low = max(low, bisect.bisect_left(line_.posts, start, **by_time))
        if "end_time" in query:
            high = min(high, bisect.bisect_left(line_.posts, self.read_time(query, "end_time"), **by_time))
        return low, high

    @staticmethod
    def read_id(query, name):
        if not query[name].isdigit():
            raise Refused(400, invalid_request(name, [query[name]], "`%s` is not a post id" % name))
        return int(query[name])

    @staticmethod
    def read_time(query, name):
        """Whole seconds in UTC, with or without a fraction, as X wants it."""
        text = query[name]
        for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"):
            try:
                parsed = time.strptime(text, form)
                return calendar.timegm(parsed) * 1000 + int(text[20:-1].ljust(3, "0")[:3] or 0)
            except ValueError:
                continue
        raise Refused(400, invalid_request(name, [text], "`%s` is not a time like 2026-01-05T00:00:00Z" % name))

