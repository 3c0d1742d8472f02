#!/usr/bin/env python3
"""Synthetic tweets, one JSON document a line: the same seed gives the same bytes.

Ids hold their time as real ones do, cities follow Zipf's law, text is made of
a few words of the city's language. Beside posts there can be repeated posts,
delete notices (of earlier, later and unknown posts), other notices and broken
messages. --truth writes what a correct reader must find.
"""
import argparse
import collections
import contextlib
import datetime
import itertools
import json
import os
import random
import sys
import time

CITY_FILE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "generate_cities.tsv")
TWITTER_EPOCH_MS = 1288834974657
BLOCK = 10000                   # messages made at a time
JITTER_MS = 2000                # posts come out of order by up to this
POOL_TEXTS = 400                # different texts per language
RESERVOIR = 20000               # posts that can still be repeated or deleted

WORDS = {
    "en": "the today coffee morning city game new love train weather friends street music never again really good "
          "people tonight watching rain home work happy".split(),
    "fr": "le aujourd'hui café matin ville jeu nouveau train météo amis rue musique jamais encore vraiment bon gens "
          "ce soir été pluie maison déjà".split(),
    "es": "el hoy café mañana ciudad juego nuevo amor tren tiempo amigos calle música nunca otra vez gente noche "
          "lluvia casa feliz ¿qué años".split(),
    "pt": "o hoje café manhã cidade jogo novo amor trem tempo amigos rua música nunca de novo gente noite chuva casa "
          "feliz não são".split(),
    "de": "der heute Kaffee Morgen Stadt Spiel neu Liebe Zug Wetter Freunde Straße Musik nie wieder wirklich gut "
          "Leute Regen schön über".split(),
    "it": "il oggi caffè mattina città gioco nuovo amore treno tempo amici strada musica mai ancora gente sera "
          "pioggia casa felice perché".split(),
    "nl": "de vandaag koffie ochtend stad spel nieuw trein weer vrienden straat muziek nooit mensen regen huis".split(),
    "tr": "bugün kahve sabah şehir oyun yeni aşk tren hava arkadaş sokak müzik asla gerçekten iyi insanlar yağmur "
          "ev mutlu çok güzel".split(),
    "id": "hari ini kopi pagi kota main baru cinta kereta cuaca teman jalan musik tidak lagi orang malam hujan "
          "rumah senang".split(),
    "ms": "hari ini kopi pagi bandar baru cinta kereta cuaca kawan jalan muzik tidak orang malam hujan rumah".split(),
    "ru": "сегодня кофе утро город игра новый любовь поезд погода друзья улица музыка никогда снова люди дождь дом".split(),
    "uk": "сьогодні кава ранок місто гра новий любов потяг погода друзі вулиця музика ніколи знову люди дощ".split(),
    "pl": "dzisiaj kawa rano miasto gra nowy miłość pociąg pogoda przyjaciele ulica muzyka nigdy ludzie deszcz".split(),
    "ar": "اليوم قهوة صباح مدينة لعبة جديد حب قطار طقس أصدقاء شارع موسيقى أبدا ناس مطر بيت سعيد".split(),
    "he": "היום קפה בוקר עיר משחק חדש אהבה רכבת חברים רחוב מוזיקה אנשים גשם בית".split(),
    "ja": "今日は コーヒー 朝 街 ゲーム 新しい 電車 天気 友達 音楽 また 本当に 雨 家 楽しい 明日 カレー".split(),
    "ko": "오늘 커피 아침 도시 게임 새로운 사랑 기차 날씨 친구 거리 음악 다시 정말 사람 비 집".split(),
    "zh": "今天 咖啡 早上 城市 遊戲 新 愛 火車 天氣 朋友 街 音樂 再 真的 人 雨 家".split(),
    "th": "วันนี้ กาแฟ เช้า เมือง เกม ใหม่ รัก รถไฟ อากาศ เพื่อน ถนน เพลง ฝน บ้าน".split(),
    "hi": "आज कॉफी सुबह शहर खेल नया प्यार ट्रेन मौसम दोस्त सड़क संगीत फिर लोग बारिश घर".split(),
    "vi": "hôm nay cà phê sáng thành phố trò chơi mới yêu tàu thời tiết bạn đường nhạc mưa nhà".split(),
}
EMOJI = ["😂", "❤️", "🔥", "🙏", "😭", "🌧️", "☕", "🎉", "👩‍💻", "🇨🇦", "✨", "💯"]
JOKES = ["somewhere over the rainbow", "in your heart", "Earth", "the moon 🌙", "she/her", "everywhere", "wonderland",
         "127.0.0.1", "world wide web", "🏳️‍🌈", "here & there", "ur mom's house"]
SOURCES = ["Twitter for iPhone", "Twitter for Android", "Twitter Web App", "TweetDeck", "IFTTT"]

City = collections.namedtuple("City", "name other region country code lon lat lang")
Author = collections.namedtuple("Author", "id handle city lang profile flat v1 v2")
Text = collections.namedtuple("Text", "json tags")


def read_cities():
    with open(CITY_FILE, encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]
    return [City(*row[:5], float(row[5]), float(row[6]), row[7]) for row in rows]


def quoted(rng, text):
    """JSON with every letter beyond ASCII escaped, or none."""
    return json.dumps(text, ensure_ascii=rng.random() < 0.5)


def make_text(rng, lang, length):
    """About length bytes as JSON, no letter cut in two."""
    words, tags = [], []
    joined = "" if lang in ("ja", "zh", "th") else " "
    size = 0
    ascii_only = rng.random() < 0.5
    while True:
        word = rng.choice(WORDS.get(lang, WORDS["en"]))
        draw = rng.random()
        if draw < 0.06:
            word = rng.choice(EMOJI)
        elif draw < 0.16:
            word = "#" + word.strip("¿").replace("'", "")
        elif draw < 0.17:
            word = '"\n'
        more = len(json.dumps(word, ensure_ascii=ascii_only).encode()) - 2 + len(joined)
        if words and size + more > length:
            break
        if word[0] == "#":
            tags.append(word[1:])
        words.append(word)
        size += more
    # a hashtag needs a space around it in any script
    text = joined.join(f" {word} " if word[0] == "#" and not joined else word for word in words)
    return Text(json.dumps(text, ensure_ascii=ascii_only), tags)


def make_profile(rng, city):
    """What people write as their location; None for nothing."""
    draw = rng.random()
    if draw < 0.25:
        return None
    if draw < 0.35:
        return rng.choice(JOKES)
    if draw < 0.42:
        return city.country
    forms = [city.name, f"{city.name}, {city.region}", f"{city.name}, {city.country}", city.name.upper(),
             f"{city.name}, {city.code}", city.other or city.name.lower(), f"{city.name} 📍"]
    return rng.choice(forms)


def compact(value, rng):
    return json.dumps(value, ensure_ascii=rng.random() < 0.5, separators=(",", ":"))


class Generator:
    """All messages of one run, in order."""

    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.cities = read_cities()
        self.texts = {lang: self.make_texts(lang) for lang in WORDS}
        self.authors = self.make_authors()
        self.places = {}
        self.reservoir = []             # (id, line) of some earlier posts
        self.held = []                  # posts to come after their delete notice
        self.seen = set()
        self.deleted = set()
        self.counts = collections.Counter()
        self.sequence = itertools.count(1)
        self.brokens = BROKEN_TEXT if args.text_only else BROKEN_TEXT + BROKEN_BINARY

    def make_texts(self, lang):
        # what a flat message has beside its text comes to about 145 bytes
        length = max(8, self.args.bytes - 145) if self.args.form == "flat" else None
        return [make_text(self.rng, lang, self.rng.randint(length // 2, length * 3 // 2) if length
                          else self.rng.randint(20, 200)) for _ in range(POOL_TEXTS)]

    def make_authors(self):
        number = min(max(self.args.count // 8, 10), 200000)
        weights = list(itertools.accumulate(1 / rank for rank in range(1, len(self.cities) + 1)))
        homes = self.rng.choices(self.cities, cum_weights=weights, k=number)
        return [self.make_author(index, home) for index, home in enumerate(homes)]

    def make_author(self, index, city):
        rng = self.rng
        number = rng.randrange(10**6, 4 * 10**9) if rng.random() < 0.5 else rng.randrange(7 * 10**17, 15 * 10**17)
        lang = city.lang if city.lang in WORDS and rng.random() < 0.85 else "en"
        if self.args.form == "flat":
            key = '"city":' if index % 2 else '"place":'
            flat = f'"author_id":{number},{key}{quoted(rng, city.name)},"lang":"{lang}","is_retweet":'
            return Author(number, None, city, lang, None, flat, None, None)
        handle = f"user_{index:x}{rng.choice(WORDS['en'])}"[:15].replace("'", "")
        profile = make_profile(rng, city)
        name = f"{rng.choice(WORDS[lang])} {rng.choice(WORDS[lang])}"
        place = f'"city":{quoted(rng, city.name)}' if index % 2 else f'"place":{quoted(rng, f"{city.name}, {city.region}")}'
        flat = f'"author_id":"{number}",{place},"lang":"{lang}","is_retweet":'
        v1 = compact({"id": number, "id_str": str(number), "name": name, "screen_name": handle, "location": profile,
                      "url": None, "description": "synthetic", "protected": False, "verified": False,
                      "followers_count": rng.randrange(5000), "friends_count": rng.randrange(2000),
                      "statuses_count": rng.randrange(90000), "created_at": "Sat Sep 12 14:11:33 +0000 2009",
                      "utc_offset": None, "time_zone": None, "geo_enabled": True, "lang": None}, rng)
        user = {"id": str(number), "name": name, "username": handle, "created_at": "2012-10-24T15:26:55.000Z"}
        if profile is not None:
            user["location"] = profile
        return Author(number, handle, city, lang, profile, flat, v1, compact(user, rng))

    # ---- places

    def place_of(self, city):
        """(v1.1 place, v2 place, v2 place id) of a city as JSON."""
        if city not in self.places:
            place_id = f"{random.Random(city.name + city.region).getrandbits(64):016x}"
            west, south, east, north = (round(value, 6) for value in (
                city.lon - 0.15, city.lat - 0.1, city.lon + 0.15, city.lat + 0.1))
            full_name = f"{city.name}, {city.region}"
            corners = [[[west, south], [west, north], [east, north], [east, south]]]
            v1 = {"id": place_id, "url": f"https://api.twitter.com/1.1/geo/id/{place_id}.json", "place_type": "city",
                  "name": city.name, "full_name": full_name, "country_code": city.code, "country": city.country,
                  "bounding_box": {"type": "Polygon", "coordinates": corners}, "attributes": {}}
            v2 = {"full_name": full_name, "id": place_id, "country_code": city.code, "place_type": "city",
                  "geo": {"type": "Feature", "bbox": [west, south, east, north], "properties": {}}}
            self.places[city] = (compact(v1, self.rng), compact(v2, self.rng), place_id)
        return self.places[city]

    # ---- the three forms of a post: (id, JSON)

    def flat(self, number, millis, author, text, kind):
        retweet = "true" if kind == "retweet" else "false"
        if number % 3 == 0 and self.args.form != "flat":
            return f'{{"id":"{number}","timestamp":{millis},{author.flat}{retweet},"text":{text.json}}}'
        return f'{{"id":{number},"created_at":"{iso(millis)}",{author.flat}{retweet},"text":{text.json}}}'

    def v1(self, number, millis, author, text, kind):
        rng = self.rng
        draw = rng.random()
        place = self.place_of(author.city)[0] if draw < 0.15 else "null"
        point = "null"
        if 0.12 < draw < 0.20:
            lon, lat = (round(value + rng.uniform(-0.05, 0.05), 5) for value in (author.city.lon, author.city.lat))
            point = f'{{"type":"Point","coordinates":[{lon},{lat}]}}'
        other = rng.choice(self.authors)
        earlier = number - (rng.randrange(1, 10**7) << 22)
        reply, quote, more = "null", "false", ""
        if kind == "reply":
            reply = str(earlier)
        elif kind == "quote":
            quote = "true"
            more = f'"quoted_status_id":{earlier},"quoted_status_id_str":"{earlier}","quoted_status":' + \
                self.v1_original(earlier, other) + ","
        elif kind == "retweet":
            more = f'"retweeted_status":{self.v1_original(earlier, other)},'
        tags = ",".join(f'{{"text":{json.dumps(tag)},"indices":[0,1]}}' for tag in text.tags)
        return (f'{{"created_at":"{v1_time(millis)}","id":{number},"id_str":"{number}","text":{text.json},'
                f'"source":"\\u003ca href=\\"http:\\/\\/example.com\\" rel=\\"nofollow\\"\\u003e{rng.choice(SOURCES)}\\u003c\\/a\\u003e",'
                f'"truncated":false,"in_reply_to_status_id":{reply},"in_reply_to_user_id":null,"user":{author.v1},'
                f'"geo":null,"coordinates":{point},"place":{place},"contributors":null,"is_quote_status":{quote},{more}'
                f'"retweet_count":0,"favorite_count":0,"entities":{{"hashtags":[{tags}],"urls":[],"user_mentions":[],'
                f'"symbols":[]}},"favorited":false,"retweeted":false,"filter_level":"low","lang":"{author.lang}",'
                f'"timestamp_ms":"{millis}"}}')

    def v1_original(self, number, author):
        """A post within a post; it has a place of its own, which must not count."""
        text = self.rng.choice(self.texts[author.lang])
        millis = (number >> 22) + TWITTER_EPOCH_MS
        return (f'{{"created_at":"{v1_time(millis)}","id":{number},"id_str":"{number}","text":{text.json},'
                f'"user":{author.v1},"coordinates":null,"place":{self.place_of(author.city)[0]},"lang":"{author.lang}"}}')

    def v2(self, number, millis, author, text, kind):
        rng = self.rng
        geo, places, references, users = "", "", "", author.v2
        draw = rng.random()
        if draw < 0.2:
            _, place, place_id = self.place_of(author.city)
            point = ""
            if draw < 0.06:
                point = f'"coordinates":{{"type":"Point","coordinates":[{author.city.lon},{author.city.lat}]}},'
            geo = f'"geo":{{{point}"place_id":"{place_id}"}},'
            places = f',"places":[{place}]'
        if kind != "post":
            name = {"retweet": "retweeted", "reply": "replied_to", "quote": "quoted"}[kind]
            earlier = number - (rng.randrange(1, 10**7) << 22)
            references = f'"referenced_tweets":[{{"type":"{name}","id":"{earlier}"}}],'
            other = rng.choice(self.authors)
            # the other author may stand first: only the id says who wrote this post
            users = f"{other.v2},{users}" if other.id != author.id else users
        tags = ",".join(f'{{"start":0,"end":1,"tag":{json.dumps(tag)}}}' for tag in text.tags)
        entities = f'"entities":{{"hashtags":[{tags}]}},' if tags else ""
        return (f'{{"data":{{"author_id":"{author.id}","conversation_id":"{number}","created_at":"{iso(millis)}",{entities}'
                f'{geo}"id":"{number}","lang":"{author.lang}",{references}"public_metrics":{{"retweet_count":0,'
                f'"reply_count":0,"like_count":0,"quote_count":0}},"text":{text.json}}},"includes":{{"users":[{users}]{places}}},'
                f'"matching_rules":[{{"id":"1412189062441439700","tag":"synthetic"}}]}}')

    # ---- the stream

    def post(self, form, millis):
        rng = self.rng
        number = ((millis - TWITTER_EPOCH_MS) << 22) | (next(self.sequence) * 2654435761 & 0x3FFFFF)
        author = self.authors[int(len(self.authors) * rng.random() ** 2)]
        draw = rng.random()
        kind = "retweet" if draw < self.args.retweets else \
            "post" if form == "flat" or draw < 0.8 else "reply" if draw < 0.95 else "quote"
        text = rng.choice(self.texts[author.lang])
        return number, getattr(self, form)(number, millis, author, text, kind)

    def send(self, number, line):
        """A post goes out: it is a first one or a repetition."""
        self.counts["duplicates" if number in self.seen else "sent"] += 1
        self.seen.add(number)
        if len(self.reservoir) < RESERVOIR:
            self.reservoir.append((number, line))
        else:
            self.reservoir[self.rng.randrange(RESERVOIR)] = (number, line)
        return line

    def notice_of(self, number, millis):
        self.counts["deletes"] += 1
        self.deleted.add(number)
        return (f'{{"delete":{{"status":{{"id":{number},"id_str":"{number}","user_id":7,"user_id_str":"7"}},'
                f'"timestamp_ms":"{millis}"}}}}')

    def delete(self, form, millis):
        """Mostly of an earlier post; also of one still to come, and of one never seen."""
        draw = self.rng.random()
        if draw < 0.7 and self.reservoir:
            return self.notice_of(self.rng.choice(self.reservoir)[0], millis)
        number, line = self.post(form, millis)
        if draw < 0.9:
            self.held.append((number, line))
        return self.notice_of(number, millis)

    def other_notice(self, millis):
        self.counts["notices"] += 1
        return f'{{"limit":{{"track":{self.rng.randrange(1, 999)},"timestamp_ms":"{millis}"}}}}'

    def broken(self, form, millis):
        self.counts["undecodable"] += 1
        number, line = self.post(form, millis)
        return self.rng.choice(self.brokens)(self.rng, number, millis, line)

    def message(self, form, millis):
        args, draw = self.args, self.rng.random()
        if draw < args.duplicates:
            return self.send(*self.rng.choice(self.reservoir)) if self.reservoir else self.send(*self.post(form, millis))
        draw -= args.duplicates
        if draw < args.deletes:
            return self.delete(form, millis)
        draw -= args.deletes
        if draw < args.broken:
            return self.broken(form, millis)
        draw -= args.broken
        if draw < args.notices:
            return self.other_notice(millis)
        if self.held and draw < args.notices + 0.2:
            return self.send(*self.held.pop())
        return self.send(*self.post(form, millis))

    def times(self, first, number):
        """Milliseconds of a block of messages: rising evenly, with some disorder."""
        args, uniform = self.args, self.rng.random
        step = args.span * 1000 / args.count
        start = args.until_ms - args.span * 1000
        jitter = min(JITTER_MS, args.span * 100)
        return [int(max(start, start + step * index - jitter * uniform())) for index in range(first, first + number)]

    def blocks(self):
        forms = {"mixed": ["flat", "v2", "v2", "v1"]}.get(self.args.form, [self.args.form])
        plain = not (self.args.duplicates or self.args.deletes or self.args.broken or self.args.notices
                     or self.args.form != "flat")
        for first in range(0, self.args.count, BLOCK):
            times = self.times(first, min(BLOCK, self.args.count - first))
            if plain:
                yield self.plain_block(times)
            else:
                chosen = self.rng.choices(forms, k=len(times))
                yield [self.message(form, millis) for form, millis in zip(chosen, times)]

    def plain_block(self, times):
        """Flat posts and nothing else, for benchmarks: the loop is all that costs."""
        uniform, authors, texts, retweets = self.rng.random, self.authors, self.texts, self.args.retweets
        number_of_authors, lines = len(authors), []
        for millis, sequence in zip(times, self.sequence):
            number = ((millis - TWITTER_EPOCH_MS) << 22) | (sequence * 2654435761 & 0x3FFFFF)
            author = authors[int(number_of_authors * uniform() ** 2)]
            text = texts[author.lang][int(POOL_TEXTS * uniform())]
            retweet = "true" if uniform() < retweets else "false"
            lines.append(f'{{"id":{number},"created_at":"{iso(millis)}",{author.flat}{retweet},"text":{text.json}}}')
        self.counts["plain"] += len(lines)
        return lines

    def truth(self):
        """What a reader must find. A post named by a delete notice is not stored, wherever the notice stands."""
        found = {name: self.counts[name] for name in ("duplicates", "deletes", "notices", "undecodable")}
        return {"messages": self.args.count, "posts": len(self.seen - self.deleted) + self.counts["plain"], **found}


# ---- broken messages: each takes (random, id, milliseconds, a good message)

def truncated(rng, number, millis, line):
    return line[:rng.randrange(1, len(line) - 1)]


def with_id(text):
    return lambda rng, number, millis, line: '{"id":%d,"created_at":"%s",%s}' % (number, iso(millis), text)


BROKEN_TEXT = [
    truncated,
    lambda rng, number, millis, line: "Exceeded connection limit for user",
    lambda rng, number, millis, line: line + "}",
    with_id('"city":"Paris","text":"a\\u0000b"'),
    with_id('"city":"Paris","text":"half \\ud83d of a pair"'),
    with_id('"city":"Paris","text":"no such \\x escape"'),
    with_id('"city":"Paris","deep":' + "[" * 100 + "]" * 100),
    with_id('"text":"id twice","id":1'),
    lambda rng, number, millis, line: '{"created_at":"%s","author_id":1,"text":"no id"}' % iso(millis),
    lambda rng, number, millis, line: '{"id":-5,"created_at":"%s","author_id":1,"text":"bad id"}' % iso(millis),
    lambda rng, number, millis, line: '{"id":%d,"created_at":"yesterday","author_id":1,"text":"bad time"}' % number,
    lambda rng, number, millis, line: '{"id":17,"author_id":1,"text":"an id of before Snowflake and no time"}',
    lambda rng, number, millis, line: '{"hello":"world"}',
    lambda rng, number, millis, line: "[%s]" % line,
]
BROKEN_BINARY = [
    with_id('"city":"Paris","text":"not UTF-8: \udcff\udcfe"'),
    with_id('"city":"Paris","text":"cut letter: \udce6\udc9d"'),
    with_id('"city":"Paris","text":"a NUL byte: \0"'),
]


# ---- times

seconds_cache = {}


def second_text(second, form):
    """Seconds repeat, strftime is slow."""
    key = (second, form)
    if key not in seconds_cache:
        if len(seconds_cache) > 100000:
            seconds_cache.clear()
        seconds_cache[key] = time.strftime(form, time.gmtime(second))
    return seconds_cache[key]


def iso(millis):
    return f"{second_text(millis // 1000, '%Y-%m-%dT%H:%M:%S')}.{millis % 1000:03d}Z"


def v1_time(millis):
    return second_text(millis // 1000, "%a %b %d %H:%M:%S +0000 %Y")


def milliseconds(text):
    if text == "now":
        return int(time.time() * 1000)
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp() * 1000)


def command_line():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--count", type=int, default=10000, help="messages (10000)")
    add("--seed", type=int, default=1)
    add("--form", choices=["flat", "v2", "v1", "mixed"], default="flat")
    add("--until", dest="until_ms", type=milliseconds, default="now", metavar="TIME", help="of the last message (now)")
    add("--span", type=float, default=3600, metavar="SECONDS", help="from the first to the last message (3600)")
    add("--bytes", type=int, default=165, help="mean length of a message of --form flat (165)")
    for name, default, text in (("duplicates", 0, "repeated posts"), ("deletes", 0, "delete notices"),
                                ("broken", 0, "messages that cannot be decoded"), ("notices", 0, "limit notices"),
                                ("retweets", 0.25, "retweets among the posts")):
        add(f"--{name}", type=float, default=default, metavar="SHARE", help=f"{text} ({default})")
    add("--text-only", action="store_true", help="broken messages are broken in ways that fit a PostgreSQL text")
    add("--crlf", action="store_true", help="lines end in CR LF, as Twitter's did")
    add("--output", metavar="FILE", help="instead of standard output")
    add("--truth", metavar="FILE", help="write what a reader must find as JSON")
    return parser.parse_args()


def main():
    args = command_line()
    generator = Generator(args)
    end = "\r\n" if args.crlf else "\n"
    with contextlib.ExitStack() as files:
        out = files.enter_context(open(args.output, "wb")) if args.output else sys.stdout.buffer
        for lines in generator.blocks():
            lines.append("")
            out.write(end.join(lines).encode("utf-8", "surrogateescape"))
        out.flush()
    if args.truth:
        with open(args.truth, "w", encoding="ascii") as file:
            json.dump(generator.truth(), file)
            file.write("\n")


if __name__ == "__main__":
    main()
