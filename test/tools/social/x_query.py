"""X's language of rules and searches, as much of it as posts of the timeline can meet.

Words, "phrases", #tags and operators side by side must all hold; OR, - and
parentheses are as usual.  Of what no synthetic post has, such as links, the
operators are known and never hold.
"""
import re

STANDALONE = {"from", "to", "url", "retweets_of", "context", "entity", "conversation_id", "place", "place_country",
              "bio", "bio_name", "bio_location", "list", "in_reply_to_tweet_id", "retweets_of_tweet_id", "point_radius",
              "bounding_box"}
DEPENDENT = {"lang", "is", "has", "sample", "followers_count", "tweets_count", "following_count", "listed_count",
             "url_title", "url_description", "url_contains", "source", "keyword_count"}
IS = {"retweet", "reply", "quote", "verified", "nullcast"}
HAS = {"geo", "hashtags", "links", "images", "media", "mentions", "videos", "video_link", "cashtags"}
TOKEN = re.compile(r'\s*(?:(?P<punct>[()])|(?P<minus>-(?=[^\s]))|(?P<phrase>"(?:[^"\\]|\\.)*")|(?P<or>OR\b)'
                   r'|(?P<term>[^\s()"]+(?:"[^"]*")?))')


class Invalid(Exception):
    """The text says what is wrong with the rule."""


def words(text):
    return re.findall(r"\w+", text.lower())


class Parser:
    """Recursive descent to functions of a post; `positive` tells whether a term stood that may stand alone."""

    def __init__(self, text):
        self.tokens, self.positive, at = [], False, 0
        while text[at:].strip():
            match = TOKEN.match(text, at)
            if match is None:
                raise Invalid("no viable alternative at character %d" % at)
            self.tokens.append((match.lastgroup, match.group(match.lastgroup)))
            at = match.end()
        self.tokens.append(("end", ""))
        self.at = 0

    def next(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def parse(self):
        found = self.any()
        if self.tokens[self.at][0] != "end":
            raise Invalid("extraneous input '%s'" % self.tokens[self.at][1])
        if not self.positive:
            raise Invalid("a rule needs a keyword or an operator that can stand alone, and not negated")
        return found

    def any(self):
        parts = [self.all()]
        while self.tokens[self.at][0] == "or":
            self.next()
            parts.append(self.all())
        return lambda post: any(part(post) for part in parts)

    def all(self):
        parts = []
        while self.tokens[self.at][0] not in ("end", "or") and self.tokens[self.at][1] != ")":
            parts.append(self.one())
        if not parts:
            raise Invalid("missing term at '%s'" % (self.tokens[self.at][1] or "the end"))
        return lambda post: all(part(post) for part in parts)

    def one(self, negated=False):
        kind, text = self.next()
        if kind == "minus":
            if negated:
                raise Invalid("a negation is negated")
            part = self.one(True)
            return lambda post: not part(post)
        if text == "(":
            part = self.any()
            if self.next()[1] != ")":
                raise Invalid("missing ')'")
            return part
        if kind == "phrase":
            self.positive = self.positive or not negated
            wanted = " ".join(words(text[1:-1]))
            return lambda post: " %s " % wanted in " %s " % " ".join(words(post.text))
        return self.term(text, negated)

    def term(self, text, negated):
        operator, colon, value = text.partition(":")
        if not colon or text.startswith(("#", "@", "$", "http")):
            self.positive = self.positive or not negated
            return keyword(text)
        if operator not in STANDALONE | DEPENDENT:
            raise Invalid("reference to invalid operator '%s'" % operator)
        if not value:
            raise Invalid("operator '%s' without a value" % operator)
        if operator in STANDALONE:
            self.positive = self.positive or not negated
        return operation(operator, value.strip('"'))


def keyword(text):
    if text.startswith("#"):
        tag = text[1:].lower()
        return lambda post: tag in [one.lower() for one in post.tags]
    if text.startswith(("@", "$")):
        return lambda post: False
    wanted = words(text)
    return lambda post: bool(wanted) and all(word in words(post.text) for word in wanted)


def operation(operator, value):
    if operator == "is":
        if value not in IS:
            raise Invalid("invalid value '%s' of operator 'is'" % value)
        return lambda post: post.kind == value
    if operator == "has":
        if value not in HAS:
            raise Invalid("invalid value '%s' of operator 'has'" % value)
        return {"geo": lambda post: post.has_place or post.has_point,
                "hashtags": lambda post: bool(post.tags)}.get(value, lambda post: False)
    if operator == "lang":
        return lambda post: post.city.lang == value
    if operator == "from":
        return lambda post: value in (str(post.author), "user%d" % post.author)
    if operator == "place_country":
        return lambda post: post.has_place and post.city.code == value.upper()
    if operator == "place":
        return lambda post: post.has_place and value.lower() in post.city.name.lower()
    if operator == "sample":
        if not value.isdigit() or not 1 <= int(value) <= 100:
            raise Invalid("sample takes a number from 1 to 100")
        return lambda post: (post.hash >> 44) % 100 < int(value)
    return lambda post: False


def compile_query(text, longest):
    """A function of a post; raises Invalid."""
    if not text.strip():
        raise Invalid("the rule is empty")
    if len(text) > longest:
        raise Invalid("the rule is longer than %d characters" % longest)
    return Parser(text).parse()
