/*
 * city_resolve.c
 *		Resolves the hints of a post to a city: place, coordinates, profile.
 *
 * A text is folded and split into segments.  Segments that are names of areas
 * (countries, regions) narrow the others down; the first segment that names a
 * city decides.  A segment that is no name as it stands is tried again
 * without its trailing area ("austin tx") or without words like "city".
 */
#include "c.h"

#include <math.h>

#include "city_index_private.h"
#include "text_fold.h"

/* a point further from every city than this is nowhere, km */
#define MAX_DISTANCE  50.0
#define KM_PER_DEGREE 111.2

/* a city this near to another one that the text names is the one meant, km */
#define NEAR_DISTANCE 75.0

/* population from which a name in a profile is believed without an area beside it */
#define PROFILE_NAME_POPULATION	 10000
#define PROFILE_ALIAS_POPULATION 50000
/* the same when it is not the first thing said */
#define PROFILE_LATER_POPULATION 100000

/* population from which a city outshines an area of the same name */
#define GREAT_CITY 1000000

/*
 * A city with this share of the people of an area is what the area's name
 * means.  Boroughs are counted again beside their city, so even a city state
 * has no more than a quarter.
 */
#define COUNTRY_SHARE 0.25
#define REGION_SHARE  0.4

/* aliases are less likely meant than proper names */
#define ALIAS_WEIGHT 0.2f

typedef struct Areas
{
	const uint32 *areas;
	uint32		  count;
} Areas;

typedef struct Query
{
	const EvnCityIndex *index;
	bool				profile; /* free text: be careful */
	uint16				country; /* the city's country, 0 for any */
	int					nsegments;
	EvnText				segments[EVN_FOLD_SEGMENTS];
	bool				ignored[EVN_FOLD_SEGMENTS]; /* text that names no city */
	Areas areas[EVN_FOLD_SEGMENTS + 1];				/* they name; the last: what was cut off one */
} Query;

#define CUT_AREA EVN_FOLD_SEGMENTS

static inline uint16
city_country(const EvnCityIndex *index, const City *city)
{
	return index->areas[city->area].country;
}

static bool
city_in_area(const EvnCityIndex *index, const City *city, uint32 area)
{
	const Area *in = &index->areas[area];

	return city->area == area || (in->region_hash == 0 && in->country == city_country(index, city));
}

typedef struct Point
{
	double lon;
	double lat;
	double shrink; /* of a degree of longitude at this latitude */
} Point;

static Point
make_point(double lon, double lat)
{
	Point point = {lon, lat, cos(lat * (M_PI / 180))};

	return point;
}

/* km squared; flat, which is right enough for the distances that matter here */
static inline double
distance_squared(const City *city, const Point *point)
{
	double dx = fabs(city->lon - point->lon);
	double dy = city->lat - point->lat;

	if (dx > 180)
		dx = 360 - dx;
	dx *= point->shrink;
	return (dx * dx + dy * dy) * (KM_PER_DEGREE * KM_PER_DEGREE);
}

/* Does city lie in one of the areas each other segment names? */
static bool
fits_areas(const Query *query, int segment, const City *city)
{
	int i;

	for (i = 0; i <= CUT_AREA; i++)
	{
		bool   fits = query->areas[i].count == 0 || i == segment;
		uint32 a;

		for (a = 0; a < query->areas[i].count && !fits; a++)
			fits = city_in_area(query->index, city, query->areas[i].areas[a]);
		if (!fits)
			return false;
	}
	return true;
}

/* Is an area meant as a region?  "CA" may be, but "México" says the country and not its state. */
static bool
names_region(const Query *query, int segment)
{
	const Areas *areas = &query->areas[segment];
	bool		 code = segment < query->nsegments && query->segments[segment].len <= 2;
	bool		 region = false;
	uint32		 a;

	for (a = 0; a < areas->count; a++)
	{
		if (query->index->areas[areas->areas[a]].region_hash != 0)
			region = true;
		else if (!code)
			return false;
	}
	return region;
}

/* Does another segment name an area?  regions_only leaves countries out. */
static bool
is_narrowed(const Query *query, int segment, bool regions_only)
{
	int i;

	for (i = 0; i <= CUT_AREA; i++)
		if (i != segment && query->areas[i].count > 0 && (!regions_only || names_region(query, i)))
			return true;
	return false;
}

static float
target_weight(const Query *query, uint32 target)
{
	const City *city = &query->index->cities[target & EVN_TARGET_CITY];

	return (target & EVN_TARGET_ALIAS) ? city->population * ALIAS_WEIGHT : city->population;
}

static bool
fits_country(const Query *query, const City *city)
{
	return query->country == 0 || city_country(query->index, city) == query->country;
}

/* Is a name without an area beside it to be believed? */
static bool
is_credible(const Query *query, int segment, uint32 target)
{
	float population = query->index->cities[target & EVN_TARGET_CITY].population;
	bool  alias = (target & EVN_TARGET_ALIAS) != 0;

	if (!query->profile || is_narrowed(query, segment, false))
		return true;
	if (segment > 0 && population < PROFILE_LATER_POPULATION)
		return false;
	return population >= (alias ? PROFILE_ALIAS_POPULATION : PROFILE_NAME_POPULATION);
}

/* The best city of this name that the rest of the text allows; near may be NULL. */
static const City *
best_city(const Query *query, int segment, uint64 hash, const Point *near)
{
	uint32		  count;
	const uint32 *targets = evn_city_find_name(&query->index->city_names, hash, &count);
	const City	 *best = NULL;
	float		  best_weight = -1;
	uint32		  i;

	for (i = 0; i < count; i++)
	{
		const City *city = &query->index->cities[targets[i] & EVN_TARGET_CITY];
		float		weight = target_weight(query, targets[i]);

		/* most populous first: nothing better follows */
		if (city->population <= best_weight)
			break;
		if (weight <= best_weight || !fits_country(query, city) ||
			!fits_areas(query, segment, city) || !is_credible(query, segment, targets[i]))
			continue;
		if (near != NULL && distance_squared(city, near) > NEAR_DISTANCE * NEAR_DISTANCE)
			continue;
		best = city;
		best_weight = weight;
	}
	return best;
}

/* Is a city with so few people in the shadow of an area of the same name? */
static bool
is_outweighed(const Area *area, float population)
{
	double share = area->region_hash == 0 ? COUNTRY_SHARE : REGION_SHARE;

	return population < share * area->population;
}

/* Is this city what the name of area, which is its own name too, means? */
static bool
stands_for_area(const Query *query, uint32 target, uint32 area_number)
{
	const EvnCityIndex *index = query->index;
	const City		   *city = &index->cities[target & EVN_TARGET_CITY];
	const Area		   *area = &index->areas[area_number];
	bool				great = city->population >= GREAT_CITY;

	if (city_country(index, city) != area->country)
		return false;
	if (area->region_hash == 0)
		return !is_outweighed(area, city->population);
	if (target & EVN_TARGET_ALIAS)
		return query->profile && great;
	return great || area->top_city == (target & EVN_TARGET_CITY);
}

/* The same for all areas of the name; a country is meant before its region. */
static bool
stands_for_areas(const Query *query, uint32 target, Areas areas)
{
	const City *city = &query->index->cities[target & EVN_TARGET_CITY];
	bool		stands = false;
	uint32		a;

	for (a = 0; a < areas.count; a++)
	{
		const Area *area = &query->index->areas[areas.areas[a]];

		if (stands_for_area(query, target, areas.areas[a]))
			stands = true;
		else if (area->region_hash == 0 && area->country == city_country(query->index, city))
			return false;
	}
	return stands;
}

/* The city that a name means which areas have too */
static const City *
city_of_area(const Query *query, int segment, uint64 hash, Areas areas)
{
	uint32		  count;
	const uint32 *targets = evn_city_find_name(&query->index->city_names, hash, &count);
	uint32		  i;

	for (i = 0; i < count; i++)
	{
		const City *city = &query->index->cities[targets[i] & EVN_TARGET_CITY];

		if (fits_country(query, city) && fits_areas(query, segment, city) &&
			stands_for_areas(query, targets[i], areas))
			return city;
	}
	return NULL;
}

/* Is one of the areas of this name much larger than the best city of it? */
static bool
area_outweighs(const Query *query, Areas areas, const City *city)
{
	uint32 a;

	for (a = 0; a < areas.count; a++)
	{
		const Area *area = &query->index->areas[areas.areas[a]];

		if ((query->country == 0 || query->country == area->country) &&
			is_outweighed(area, city->population))
			return true;
	}
	return false;
}

static uint64
text_hash(EvnText text)
{
	return evn_city_hash(text.data, text.len);
}

/* Narrow city down to one of its name near the city that the next segment names, if there is one. */
static const City *
prefer_neighbour(const Query *query, int segment, uint64 hash, const City *city)
{
	int			next = segment + 1;
	const City *neighbour;
	const City *nearer;
	Point		near;

	if (next >= query->nsegments || query->areas[next].count > 0 || query->ignored[next])
		return city;
	neighbour = best_city(query, next, text_hash(query->segments[next]), NULL);
	if (neighbour == NULL)
		return city;
	near = make_point(neighbour->lon, neighbour->lat);
	nearer = best_city(query, segment, hash, &near);
	return nearer == NULL ? city : nearer;
}

/* Areas of this name; those of another country than the place's do not count. */
static Areas
find_areas(const Query *query, uint64 hash)
{
	Areas  found;
	uint32 a;

	found.areas = evn_city_find_name(&query->index->area_names, hash, &found.count);
	if (query->country == 0)
		return found;
	for (a = 0; a < found.count; a++)
		if (query->index->areas[found.areas[a]].country == query->country)
			return found;
	found.count = 0;
	return found;
}

/* The city of this name, tried exactly */
static const City *
exact_city(const Query *query, int segment, EvnText name)
{
	uint64		hash = text_hash(name);
	const City *city = best_city(query, segment, hash, NULL);
	Areas		areas;

	if (city == NULL)
		return NULL;
	if (is_narrowed(query, segment, true))
		return city;
	areas = find_areas(query, hash);
	if (area_outweighs(query, areas, city))
		return city_of_area(query, segment, hash, areas);
	return prefer_neighbour(query, segment, hash, city);
}

/* Offset of the last word that starts before end, 0 when there is no such space */
static int
last_word(EvnText text, int end)
{
	int i = end - 1;

	while (i > 0 && text.data[i - 1] != ' ')
		i--;
	return Max(i, 0);
}

/* "austin tx", "las vegas nevada usa": the last one to three words are an area. */
static const City *
city_before_area(Query *query, int segment, EvnText name)
{
	int			start = name.len;
	int			words;
	const City *city = NULL;

	for (words = 1; words <= 3 && city == NULL; words++)
	{
		EvnText rest = {name.data, 0};
		EvnText area;

		start = last_word(name, start) - 1;
		if (start <= 0)
			break;
		rest.len = start;
		area.data = name.data + start + 1;
		area.len = name.len - start - 1;
		query->areas[CUT_AREA] = find_areas(query, text_hash(area));
		if (query->areas[CUT_AREA].count > 0)
			city = exact_city(query, segment, rest);
	}
	query->areas[CUT_AREA].count = 0;
	return city;
}

static bool
cut_prefix(EvnText *name, const char *prefix)
{
	int len = (int) strlen(prefix);

	if (name->len <= len || memcmp(name->data, prefix, len) != 0)
		return false;
	name->data += len;
	name->len -= len;
	return true;
}

static bool
cut_suffix(EvnText *name, const char *suffix)
{
	int len = (int) strlen(suffix);

	if (name->len <= len || memcmp(name->data + name->len - len, suffix, len) != 0)
		return false;
	name->len -= len;
	return true;
}

/* Words around a name that are not part of it */
static bool
cut_words(EvnText *name)
{
	static const char *const prefixes[] = {
		"city of ",	  "ciudad de ", "cidade de ", "ville de ", "stadt ", "kota ",
		"kabupaten ", "greater ",	"downtown ",  "central ",  "north ", "south ",
		"east ",	  "west ",		"from ",	  "in ",	   "the "};
	static const char *const suffixes[] = {
		" city",		" bay area",	" area",		" metro",
		" ish",			" town",		" shi",			" utara",
		" selatan",		" timur",		" barat",		" pusat", /* Indonesian */
		"\xe5\xb8\x82", /* Chinese, Japanese: city, ward, county */
		"\xe5\x8c\xba", "\xe5\x8d\x80", "\xe5\x8e\xbf", "\xe7\xb8\xa3",
		"\xec\x8b\x9c"}; /* Korean: city */
	size_t i;

	for (i = 0; i < lengthof(prefixes); i++)
		if (cut_prefix(name, prefixes[i]))
			return true;
	for (i = 0; i < lengthof(suffixes); i++)
		if (cut_suffix(name, suffixes[i]))
			return true;
	return false;
}

static const City *
city_in_segment(Query *query, int segment)
{
	EvnText		name = query->segments[segment];
	const City *city = exact_city(query, segment, name);

	/* an area that no city stands for is not to be taken apart */
	if (city != NULL || query->areas[segment].count > 0)
		return city;
	city = city_before_area(query, segment, name);
	while (city == NULL && cut_words(&name))
		city = exact_city(query, segment, name);
	return city;
}

static void
classify_segments(Query *query, const EvnFoldedText *folded)
{
	int i;

	query->nsegments = folded->nsegments;
	for (i = 0; i < folded->nsegments; i++)
	{
		uint64 hash = text_hash(folded->segments[i]);
		uint32 count = 0;

		query->segments[i] = folded->segments[i];
		if (query->profile)
			(void) evn_city_find_name(&query->index->no_cities, hash, &count);
		query->ignored[i] = count > 0;
		if (count == 0)
			query->areas[i] = find_areas(query, hash);
	}
}

static const City *
resolve_text(const EvnCityIndex *index, EvnText text, uint16 country, bool profile)
{
	Query		  query = {.index = index, .profile = profile, .country = country};
	EvnFoldedText folded;
	const City	 *city = NULL;
	int			  i;

	if (text.data == NULL)
		return NULL;
	evn_text_fold(text, &folded);
	classify_segments(&query, &folded);
	for (i = 0; i < query.nsegments && city == NULL; i++)
		if (!query.ignored[i])
			city = city_in_segment(&query, i);
	return city;
}

typedef struct Nearest
{
	const EvnCityIndex *index;
	Point				point;
	const City		   *city;
	double				share; /* square of distance / reach */
} Nearest;

static void
try_cells(Nearest *nearest, int row, int first, int last)
{
	const EvnCityIndex *index = nearest->index;
	const uint32	   *start = index->grid_start + row * EVN_GRID_COLUMNS;
	uint32				i;

	for (i = start[first]; i < start[last + 1]; i++)
	{
		const City *city = &index->cities[index->grid_cities[i]];
		double		distance = distance_squared(city, &nearest->point);
		double		share = distance / ((double) city->reach * city->reach);

		if (share < nearest->share && distance <= MAX_DISTANCE * MAX_DISTANCE)
		{
			nearest->city = city;
			nearest->share = share;
		}
	}
}

/* Try the cells of a row up to width cells away; the row closes at 180 degrees. */
static void
try_row(Nearest *nearest, int row, int column, int width)
{
	int first = column - width;
	int last = column + width;

	if (last - first >= EVN_GRID_COLUMNS - 1)
	{
		try_cells(nearest, row, 0, EVN_GRID_COLUMNS - 1);
		return;
	}
	if (first < 0)
		try_cells(nearest, row, first + EVN_GRID_COLUMNS, EVN_GRID_COLUMNS - 1);
	if (last >= EVN_GRID_COLUMNS)
		try_cells(nearest, row, 0, last - EVN_GRID_COLUMNS);
	try_cells(nearest, row, Max(first, 0), Min(last, EVN_GRID_COLUMNS - 1));
}

static const City *
resolve_point(const EvnCityIndex *index, double lon, double lat)
{
	const double degrees = MAX_DISTANCE / KM_PER_DEGREE;
	const int	 height = (int) ceil(degrees / EVN_GRID_STEP);
	Nearest		 nearest = {index, make_point(lon, lat), NULL, HUGE_VAL};
	double		 shrink;
	int			 row;
	int			 column;
	int			 width;
	int			 r;

	/* written so that not-a-number fails */
	if (!(lon >= -180 && lon <= 180 && lat >= -90 && lat <= 90))
		return NULL;
	row = (int) evn_city_grid_cell(lon, lat) / EVN_GRID_COLUMNS;
	column = (int) evn_city_grid_cell(lon, lat) % EVN_GRID_COLUMNS;
	/* a degree of longitude is shortest on the side of the pole */
	shrink = cos(Min(fabs(lat) + degrees, 90) * (M_PI / 180));
	width = (int) Min(ceil(height / Max(shrink, 0.001)), EVN_GRID_COLUMNS);
	for (r = Max(row - height, 0); r <= Min(row + height, EVN_GRID_ROWS - 1); r++)
		try_row(&nearest, r, column, width);
	return nearest.city;
}

static EvnCityMatch
match(const City *city, EvnCitySource source)
{
	EvnCityMatch result = {city->city_id, source};

	return result;
}

EvnCityMatch
evn_city_index_resolve(const EvnCityIndex *index, const EvnCityHints *hints)
{
	EvnCityMatch none = {0, EVN_CITY_NONE};
	const City	*city;

	city = resolve_text(index, hints->place, evn_city_country_number(hints->country_code), false);
	if (city != NULL)
		return match(city, EVN_CITY_PLACE);
	if (hints->has_point)
	{
		city = resolve_point(index, hints->lon, hints->lat);
		if (city != NULL)
			return match(city, EVN_CITY_COORDINATES);
	}
	city = resolve_text(index, hints->profile, 0, true);
	return city == NULL ? none : match(city, EVN_CITY_PROFILE);
}

const char *
evn_city_source_name(EvnCitySource source)
{
	static const char *const names[] = {"none", "place", "coordinates", "profile"};

	return names[source];
}
