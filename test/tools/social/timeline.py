"""The simulated clock, and what happens on a network: one endless, deterministic line of events.

The same seed, start and orders give the same ids, times and texts.  A post comes to be
when the clock passes its time, if the network has a rate, or when somebody asks for it.
"""
import asyncio
import bisect
import functools
import heapq
import time

import generate_tweets

TWITTER_EPOCH_MS = generate_tweets.TWITTER_EPOCH_MS
MACHINE = 21                    # of the synthetic snowflakes
PER_MILLISECOND = {"x": 4096, "mastodon": 65536, "jetstream": 1000, "wikimedia": 1}
NETWORKS = tuple(PER_MILLISECOND)
AUTHORS = 5000
TAGS = ["news", "rain", "music", "coffee", "Montréal", "猫", "x2026", "music_now"]
SPICE = ["", "", "", " & more", " <3", " \"quoted\"", "\nsecond line", " 😂👩‍💻", " \\o/", " \u2028 …"]
SORTABLE = "234567abcdefghijklmnopqrstuvwxyz"
MASK = (1 << 64) - 1


def mix(*numbers):
    """64 well mixed bits of some integers."""
    h = 0x9E3779B97F4A7C15
    for number in numbers:
        h = (h ^ number) * 0xBF58476D1CE4E5B9 & MASK
        h = (h ^ h >> 30) * 0x94D049BB133111EB & MASK
        h ^= h >> 31
    return h


def base32(number, width):
    return "".join(SORTABLE[number >> 5 * i & 31] for i in range(width - 1, -1, -1))


def iso(millis):
    """ISO 8601 with milliseconds, as all networks but Wikimedia write it."""
    seconds, rest = divmod(int(millis), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".%03dZ" % rest


@functools.lru_cache(maxsize=None)
def cities():
    return generate_tweets.read_cities()


class Signal:
    """Wakes all that wait when anything has changed: they look for themselves what it was."""

    def __init__(self):
        self._future = None

    def fire(self):
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
        self._future = None

    async def wait(self, seconds):
        """Until something has changed or the real seconds are over; None: no limit."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        if seconds is None or seconds > 0:
            await asyncio.wait({self._future}, timeout=seconds)
        else:
            await asyncio.sleep(0)


class Clock:
    """Milliseconds since 1970 that pass `speed` times as fast as real ones, or only by order."""

    def __init__(self, start, speed, signal):
        self._base, self._mark, self.speed, self._signal = start, time.monotonic(), speed, signal

    def now(self):
        return self._base + (time.monotonic() - self._mark) * 1000 * self.speed

    def set(self, millis):
        self._base, self._mark = millis, time.monotonic()
        self._signal.fire()

    def pace(self, speed):
        self.set(self.now())
        self.speed = speed

    def real_seconds(self, millis):
        """Until then, None when the clock does not run."""
        if self.speed <= 0:
            return None
        return max(0.0, (millis - self.now()) / 1000 / self.speed)


class Post:
    __slots__ = ("number", "id", "millis", "hash", "author", "sent", "skipped", "withheld", "deleted_at", "edited_at",
                 "delete_sent")

    def __init__(self, number, post_id, millis, h, withheld):
        self.number, self.id, self.millis, self.hash, self.withheld = number, post_id, millis, h, withheld
        self.author = 1000 + h % AUTHORS
        self.sent = self.skipped = self.delete_sent = 0
        self.deleted_at = self.edited_at = None

    # what the hash says of it: each takes other bits

    @property
    def city(self):
        return cities()[(self.hash >> 8) % len(cities())]

    @property
    def has_place(self):
        return self.hash >> 20 & 3 == 0

    @property
    def has_point(self):
        return self.hash >> 22 & 15 == 0

    @property
    def kind(self):
        return ("retweet", "reply", "quote", "post", "post", "post", "post", "post")[self.hash >> 26 & 7]

    @property
    def tags(self):
        return [TAGS[self.hash >> 30 & 7]] if self.hash >> 33 & 1 else []

    @property
    def local(self):
        return bool(self.hash >> 34 & 1)

    @property
    def text(self):
        words = generate_tweets.WORDS.get(self.city.lang) or generate_tweets.WORDS["en"]
        chosen = [words[(self.hash >> 3 * i + 7) % len(words)] for i in range(3, 10)]
        text = " ".join(chosen) + SPICE[(self.hash >> 40) % len(SPICE)]
        if self.edited_at is not None:
            text += " (edited)"
        return text + "".join(" #" + tag for tag in self.tags)


def author_city(author):
    return cities()[mix(author) % len(cities())]


class Event:
    """Something a stream may tell: post, delete, edit, or what a control request made up."""
    __slots__ = ("kind", "post", "millis", "seq", "extra")

    def __init__(self, kind, post, millis, seq, extra=None):
        self.kind, self.post, self.millis, self.seq, self.extra = kind, post, millis, seq, extra

    @property
    def micros(self):
        return self.millis * 1000 + self.seq


class Timeline:
    """All that happened on one network, in order; ids and times ascend."""

    def __init__(self, network, seed, clock, config):
        self.network, self.clock, self.config = network, clock, config
        self.seed = mix(seed, *network.encode())
        self.events, self.posts = [], []
        self.withhold_next = 0
        self._later = []        # heap of (due, number, kind, post)
        self._last = (0, 0)     # the last stamp given
        self.rate = 0.0
        self._rate_since, self._rate_number = clock.now(), 0

    def set_rate(self, rate):
        """Posts per simulated second from now on."""
        self.extend()
        self.rate, self._rate_since, self._rate_number = rate, self.clock.now(), 0

    def _next_post_due(self):
        if self.rate <= 0:
            return None
        jitter = mix(self.seed, len(self.posts)) % 1000 / 2000
        return self._rate_since + (self._rate_number + jitter) * 1000 / self.rate

    def next_due(self):
        """When something will happen by itself, None for never."""
        due = [self._later[0][0]] if self._later else []
        post = self._next_post_due()
        return min(due + [post] if post is not None else due, default=None)

    def extend(self):
        """Let happen what is due."""
        now = self.clock.now()
        while True:
            due, post = self.next_due(), self._next_post_due()
            if due is None or due > now:
                return
            if due == post:
                self._rate_number += 1
                self._add_post(due)
            else:
                _, _, kind, post = heapq.heappop(self._later)
                self.change(kind, post, due)

    def make(self, n, withheld=False):
        """n posts, now."""
        self.extend()
        return [self._add_post(self.clock.now(), withheld) for _ in range(n)]

    def change(self, kind, post, millis=None, extra=None):
        """A delete, an edit or another event about a post; None when it comes too late."""
        stamp = self._stamp(self.clock.now() if millis is None else millis)
        if kind in ("delete", "edit"):
            if post.deleted_at is not None:
                return None
            setattr(post, "deleted_at" if kind == "delete" else "edited_at", stamp[0])
        self.events.append(Event(kind, post, *stamp, extra))
        return self.events[-1]

    def _stamp(self, millis):
        millis = int(millis)
        last, seq = self._last
        if millis > last:
            self._last = (millis, 0)
        elif seq + 1 < PER_MILLISECOND[self.network]:
            self._last = (last, seq + 1)
        else:
            self._last = (last + 1, 0)
        return self._last

    def _make_id(self, h, millis, seq):
        if self.network == "x":
            return millis - TWITTER_EPOCH_MS << 22 | MACHINE << 12 | seq
        if self.network == "mastodon":
            return millis << 16 | seq
        if self.network == "wikimedia":
            return 1_900_000_000 + len(self.posts)
        return base32(millis * 1000 + seq << 10 | MACHINE, 13)

    def _add_post(self, due, withheld=False):
        number = len(self.posts)
        h = mix(self.seed, number, 7)
        millis, seq = self._stamp(due)
        if self.withhold_next > 0:
            self.withhold_next -= 1
            withheld = True
        post = Post(number, self._make_id(h, millis, seq), millis, h, withheld)
        self.posts.append(post)
        self.events.append(Event("post", post, millis, seq))
        for kind in ("edit", "delete"):
            every = self.config.get(kind + "_every", 0)
            if every and number % every == every - 1 and not withheld:
                heapq.heappush(self._later, (millis + self.config[kind + "_after"] * 1000, number, kind, post))
        for kind in ("like", "identity"):
            every = self.config.get(kind + "_every", 0)
            if every and number % every == every - 1:
                self.events.append(Event(kind, None, *self._stamp(millis), {}))
        return post

    def index_at(self, millis):
        """Of the first event that is not before then."""
        return bisect.bisect_left(self.events, millis, key=lambda event: event.millis)

    def post_index_after(self, post_id):
        """Of the first post with a larger id."""
        return bisect.bisect_right(self.posts, post_id, key=lambda post: post.id)

    def find(self, post_id):
        at = self.post_index_after(post_id) - 1
        if at >= 0 and self.posts[at].id == post_id:
            return self.posts[at]
        return None

    def truth(self):
        """What was ever sent or could be found, and what was withheld."""
        for post in self.posts:
            row = {"network": self.network, "id": str(post.id), "created_at": iso(post.millis), "millis": post.millis,
                   "sent": post.sent, "skipped": post.skipped, "withheld": post.withheld,
                   "deleted": post.deleted_at is not None, "edited": post.edited_at is not None}
            if post.deleted_at is not None:
                row.update(deleted_at=iso(post.deleted_at), delete_sent=post.delete_sent)
            yield post, row
