/*
 * city_index_test.c
 *		Resolution of places, points and profiles over a gazetteer of a few
 *		cities, and the folding of names it stands on.
 */
#include "c.h"

#include "city_index.h"
#include "text_fold.h"
#include "tap.h"

/* clang-format off */
enum
{
	NOWHERE = 0,
	TORONTO, TORONTO_OHIO, LONDON, LONDON_ONTARIO, PORTLAND, PORTLAND_MAINE, NEW_YORK, LOS_ANGELES,
	SYDNEY, BONDI, LIVERPOOL, SAO_PAULO, GUARULHOS, TOKYO, SINGAPORE, WASHINGTON, SEATTLE, HOMETOWN,
	MEXICO_CITY, MEXICO_TOWN, FIJI_EAST, FIJI_WEST, NORTHERNMOST, SPRINGFIELD_IL, SPRINGFIELD_MA,
	SPRINGFIELD_OR, EUGENE,
	/* these make areas outweigh cities of their name */
	REST_OF_NEW_YORK, REST_OF_WASHINGTON, REST_OF_MEXICO
};
/* clang-format on */

typedef struct City
{
	int32		city_id;
	const char *name;
	const char *country_code;
	const char *country;
	const char *region_code;
	const char *region;
	double		lon;
	double		lat;
	int64		population;
	bool		section;
} City;

/* in no order, as a table has none */
static const City cities[] = {
	{TORONTO, "Toronto", "CA", "Canada", "ON", "Ontario", -79.40, 43.71, 2794356, false},
	{LONDON_ONTARIO, "London", "CA", "Canada", "ON", "Ontario", -81.23, 42.98, 422324, false},
	{LONDON, "London", "GB", "United Kingdom", "ENG", "England", -0.13, 51.51, 8961989, false},
	{TORONTO_OHIO, "Toronto", "US", "USA", "OH", "Ohio", -80.60, 40.46, 4882, false},
	{PORTLAND_MAINE, "Portland", "US", "USA", "ME", "Maine", -70.26, 43.66, 66881, false},
	{PORTLAND, "Portland", "US", "USA", "OR", "Oregon", -122.68, 45.52, 652503, false},
	{NEW_YORK, "New York City", "US", "USA", "NY", "New York", -74.01, 40.71, 8804190, false},
	{LOS_ANGELES, "Los Angeles", "US", "USA", "CA", "California", -118.24, 34.05, 3820914, false},
	{WASHINGTON, "Washington", "US", "USA", "DC", "Washington, D.C.", -77.04, 38.90, 689545, false},
	{SEATTLE, "Seattle", "US", "USA", "WA", "Washington", -122.33, 47.61, 780995, false},
	{HOMETOWN, "Home", "US", "USA", "WA", "Washington", -122.76, 47.27, 1377, false},
	{SPRINGFIELD_IL, "Springfield", "US", "USA", "IL", "Illinois", -89.64, 39.80, 114394, false},
	{SPRINGFIELD_MA, "Springfield", "US", "USA", "MA", "Massachusetts", -72.59, 42.10, 154341,
	 false},
	{SYDNEY, "Sydney", "AU", "Australia", "NSW", "New South Wales", 151.21, -33.87, 5638830, false},
	{BONDI, "Bondi", "AU", "Australia", "NSW", "New South Wales", 151.27, -33.89, 10411, true},
	{LIVERPOOL, "Liverpool", "AU", "Australia", "NSW", "New South Wales", 150.93, -33.92, 31078,
	 false},
	{SAO_PAULO, "São Paulo", "BR", "Brazil", "SP", "São Paulo", -46.64, -23.55, 12400232, false},
	{GUARULHOS, "Guarulhos", "BR", "Brazil", "SP", "São Paulo", -46.53, -23.46, 1291771, false},
	{TOKYO, "Tokyo", "JP", "Japan", "40", "Tokyo", 139.69, 35.69, 9733276, false},
	{SINGAPORE, "Singapore", "SG", "Singapore", NULL, NULL, 103.85, 1.29, 5638700, false},
	{MEXICO_CITY, "Mexico City", "MX", "Mexico", "09", "Mexico City", -99.13, 19.43, 12294193,
	 false},
	{MEXICO_TOWN, "Sonora", "MX", "Mexico", "15", "México", -99.5, 19.4, 1294, false},
	{REST_OF_NEW_YORK, "Buffalo", "US", "USA", "NY", "New York", -78.88, 42.89, 15000000, false},
	{REST_OF_WASHINGTON, "Spokane", "US", "USA", "WA", "Washington", -117.43, 47.66, 5000000,
	 false},
	{REST_OF_MEXICO, "Monterrey", "MX", "Mexico", "19", "Nuevo León", -100.32, 25.67, 90000000,
	 false},
	{SPRINGFIELD_OR, "Springfield", "US", "USA", "OR", "Oregon", -123.02, 44.05, 60000, false},
	{EUGENE, "Eugene", "US", "USA", "OR", "Oregon", -123.09, 44.05, 176654, false},
	{FIJI_WEST, "Westend", "FJ", "Fiji", NULL, NULL, 179.97, -16.5, 5000, false},
	{FIJI_EAST, "Eastend", "FJ", "Fiji", NULL, NULL, -179.80, -16.5, 5000, false},
	{NORTHERNMOST, "Polar Station", "RU", "Russia", NULL, NULL, 10.0, 89.9, 0, false},
};

typedef struct Alias
{
	int32		city_id;
	const char *alias;
} Alias;

static const Alias aliases[] = {
	{NEW_YORK, "New York"}, {NEW_YORK, "NYC"},		 {TOKYO, "東京"},		 {LOS_ANGELES, "LA"},
	{LONDON, "Лондон"},		{MEXICO_CITY, "México"}, {SAO_PAULO, "Sampa"},	 {HOMETOWN, "Hometown"},
	{NOWHERE, "Earth"},		{NOWHERE, "Home"},		 {4711, "No such city"},
};

static EvnCityIndex *index_under_test;

static EvnText
slice(const char *string)
{
	EvnText result = {string, string == NULL ? 0 : (int32) strlen(string)};

	return result;
}

static bool
add_area(const char *country_code, const char *region_code, const char *alias)
{
	return evn_city_index_add_area(index_under_test, slice(country_code), slice(region_code),
								   slice(alias));
}

static void
build(void)
{
	size_t i;
	bool   done = true;

	index_under_test = evn_city_index_create();
	for (i = 0; i < lengthof(cities); i++)
	{
		const City *c = &cities[i];
		EvnCity		city = {
				.city_id = c->city_id,
				.name = slice(c->name),
				.ascii_name = slice(c->name),
				.country_code = slice(c->country_code),
				.country = slice(c->country),
				.region = slice(c->region),
				.region_code = slice(c->region_code),
				.lon = c->lon,
				.lat = c->lat,
				.population = c->population,
				.section = c->section,
		};

		done = done && evn_city_index_add_city(index_under_test, &city);
	}
	for (i = 0; i < lengthof(aliases); i++)
		done = done && evn_city_index_add_alias(index_under_test, aliases[i].city_id,
												slice(aliases[i].alias));
	done = done && add_area("US", "", "United States");
	done = done && add_area("BR", "", "Brasil");
	done = done && add_area("US", "CA", "Cali");
	done = done && add_area("US", "ZZ", "Zenda");
	done = done && add_area("1", "ZZ", "Zenda");
	done = done && evn_city_index_finish(index_under_test);
	ok(done, "index is built");
	ok(evn_city_index_memory(index_under_test) > sizeof(cities), "it says how large it is");
}

static void
check(const char *what, EvnCityHints hints, int32 city_id, EvnCitySource source)
{
	EvnCityMatch match = evn_city_index_resolve(index_under_test, &hints);

	ok(match.city_id == city_id && match.source == source, "%s: %d by %s%s%s", what, match.city_id,
	   evn_city_source_name(match.source), match.city_id == city_id ? "" : ", wrong city",
	   match.source == source ? "" : ", wrong source");
}

static void
check_place(const char *place, const char *country_code, int32 city_id)
{
	EvnCityHints hints = {.place = slice(place), .country_code = slice(country_code)};

	check(place, hints, city_id, city_id == NOWHERE ? EVN_CITY_NONE : EVN_CITY_PLACE);
}

static void
check_point(double lon, double lat, int32 city_id)
{
	EvnCityHints hints = {.has_point = true, .lon = lon, .lat = lat};
	char		 what[64];

	snprintf(what, sizeof(what), "point %g %g", lon, lat);
	check(what, hints, city_id, city_id == NOWHERE ? EVN_CITY_NONE : EVN_CITY_COORDINATES);
}

static void
check_profile(const char *profile, int32 city_id)
{
	EvnCityHints hints = {.profile = slice(profile)};

	check(profile, hints, city_id, city_id == NOWHERE ? EVN_CITY_NONE : EVN_CITY_PROFILE);
}

static void
check_folding(const char *written, const char *expected)
{
	EvnFoldedText folded;
	char		  joined[EVN_FOLD_SIZE * 2] = "";
	int			  i;

	evn_text_fold(slice(written), &folded);
	for (i = 0; i < folded.nsegments; i++)
	{
		if (i > 0)
			strcat(joined, "|");
		strncat(joined, folded.segments[i].data, folded.segments[i].len);
	}
	ok(strcmp(joined, expected) == 0, "\"%s\" folds to \"%s\", is \"%s\"", written, expected,
	   joined);
}

static void
test_folding(void)
{
	char long_text[400];

	check_folding("  São   PAULO ", "sao paulo");
	check_folding("Köln/Straße", "koln|strasse");
	check_folding("Saint Louis", "st louis");
	check_folding("St. Louis, Mo.", "st louis|mo");
	check_folding("Washington, D.C.", "washington|dc");
	check_folding("L'Hospitalet", "lhospitalet");
	check_folding("Winston-Salem - NC", "winston salem|nc");
	check_folding("Đà Nẵng", "da nang");
	check_folding("МОСКВА", "москва");
	check_folding("Йошкар-Ола", "иошкар ола");
	check_folding("Αθήνα", "αθηνα");
	check_folding("أَبُو ظَبْي", "ابو ظبي");
	check_folding("東京都 渋谷区", "東京都|渋谷区");
	check_folding("ＴＯＫＹＯ、日本", "tokyo|日本");
	check_folding("서울 강남", "서울|강남");
	check_folding("Berlin 🇩🇪", "berlin|de");
	check_folding("📍Lagos", "lagos");
	check_folding("", "");
	check_folding(" ,. - 🌎", "");
	check_folding("a\xff\xc3(b", "a|b");
	check_folding("cut \xe6\x9d", "cut");
	check_folding("1,2,3,4,5,6,7,8", "1|2|3|4|5|6");
	memset(long_text, 'a', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	check_folding(long_text, "");
}

static void
test_places(void)
{
	check_place("Toronto, Ontario", "CA", TORONTO);
	check_place("Toronto", "CA", TORONTO);
	check_place("Toronto", "US", TORONTO_OHIO);
	check_place("Toronto, OH", "US", TORONTO_OHIO);
	check_place("toronto, oh", NULL, TORONTO_OHIO);
	check_place("Portland, OR", "US", PORTLAND);
	check_place("Portland, ME", "US", PORTLAND_MAINE);
	check_place("Portland", "US", PORTLAND);
	check_place("Portland, TX", "US", PORTLAND); /* an unknown region narrows nothing */
	check_place("Portland, Ohio", "US", NOWHERE);
	check_place("Portland, OR", "GB", NOWHERE);
	check_place("Sao Paulo, Brasil", "BR", SAO_PAULO);
	check_place("São Paulo, São Paulo", "BR", SAO_PAULO);
	check_place("New York, NY", "US", NEW_YORK);
	check_place("Paddington, London", "GB", LONDON);
	check_place("Singapore", "SG", SINGAPORE);
	check_place("Australia", "AU", NOWHERE);
	check_place("California, USA", "US", NOWHERE);
	check_place("New York, USA", "US", NOWHERE); /* Twitter's name of the state */
	check_place("東京 豊島区", "JP", TOKYO);
	check_place("", "JP", NOWHERE);
}

static void
test_points(void)
{
	check_point(-79.4, 43.7, TORONTO);
	check_point(151.27, -33.89, SYDNEY); /* in Bondi, which is a section */
	check_point(150.93, -33.92, LIVERPOOL);
	check_point(151.10, -33.90, SYDNEY); /* nearer to Liverpool, but Sydney's */
	check_point(-46.53, -23.46, GUARULHOS);
	check_point(-60, 0, NOWHERE);			/* more than 50 km from everything */
	check_point(-179.99, -16.5, FIJI_WEST); /* over the date line */
	check_point(179.99, -16.5, FIJI_WEST);
	check_point(180, -16.5, FIJI_WEST);
	check_point(-179.9, -16.5, FIJI_EAST);
	check_point(-170, 89.95, NORTHERNMOST); /* over the pole */
	check_point(0, 90, NORTHERNMOST);
	check_point(0, -90, NOWHERE);
	check_point(0.0 / 0.0, 0, NOWHERE);
	check_point(500, 0, NOWHERE);
	check_point(0, -91, NOWHERE);
}

static void
test_profiles(void)
{
	check_profile("London", LONDON);
	check_profile("LONDON!!", LONDON);
	check_profile("Лондон", LONDON);
	check_profile("London, Ontario", LONDON_ONTARIO);
	check_profile("london on", LONDON_ONTARIO);
	check_profile("London, Canada", LONDON_ONTARIO);
	check_profile("London 🇨🇦", LONDON_ONTARIO);
	check_profile("nyc", NEW_YORK);
	check_profile("New York", NEW_YORK);
	check_profile("New York, USA", NEW_YORK);
	check_profile("new york usa", NEW_YORK);
	check_profile("Downtown Los Angeles", LOS_ANGELES);
	check_profile("LA", LOS_ANGELES);
	check_profile("Los Angeles, Cali", LOS_ANGELES);
	check_profile("Washington DC", WASHINGTON);
	check_profile("Washington, D.C.", WASHINGTON);
	check_profile("Seattle, Washington, USA", SEATTLE);
	check_profile("Springfield", SPRINGFIELD_MA);
	check_profile("Springfield, IL", SPRINGFIELD_IL);
	check_profile("Springfield / Eugene", SPRINGFIELD_OR); /* the one near Eugene */
	check_profile("coffee lover | Seattle", SEATTLE);
	check_profile("coffee lover | Portland, ME", PORTLAND_MAINE);
	check_profile("sampa", SAO_PAULO);
	check_profile("東京", TOKYO);
	check_profile("Singapore", SINGAPORE);
	check_profile("Sonora, México", MEXICO_TOWN);
	check_profile("México", NOWHERE);
	check_profile("Washington", NOWHERE); /* the state is larger */
	check_profile("California", NOWHERE);
	check_profile("USA", NOWHERE);
	check_profile("United States", NOWHERE);
	check_profile("Portland, United States", PORTLAND);
	check_profile("Earth", NOWHERE);
	check_profile("Home", NOWHERE);
	check_profile("Hometown", NOWHERE); /* too small without its state */
	check_profile("Hometown, WA", HOMETOWN);
	check_profile("somewhere in London", NOWHERE);
	check_profile("No such city", NOWHERE);
	check_profile("", NOWHERE);
}

static void
test_order(void)
{
	EvnCityHints hints = {
		.place = slice("Toronto"),
		.country_code = slice("CA"),
		.has_point = true,
		.lon = -0.13,
		.lat = 51.51,
		.profile = slice("Tokyo"),
	};
	EvnCityHints nothing = {.has_point = false};

	check("place before the rest", hints, TORONTO, EVN_CITY_PLACE);
	hints.place = slice("Canada");
	check("coordinates when the place is a country", hints, LONDON, EVN_CITY_COORDINATES);
	hints.lon = -40;
	hints.lat = 0;
	check("profile when the point is at sea", hints, TOKYO, EVN_CITY_PROFILE);
	hints.profile = slice("Earth");
	check("nothing when the profile is a joke", hints, NOWHERE, EVN_CITY_NONE);
	check("no hints", nothing, NOWHERE, EVN_CITY_NONE);
}

static void
test_empty_index(void)
{
	EvnCityIndex *empty = evn_city_index_create();
	EvnCityHints  hints = {.place = slice("Toronto"), .has_point = true, .profile = slice("Tokyo")};

	ok(evn_city_index_finish(empty), "an index without cities is built");
	ok(evn_city_index_resolve(empty, &hints).city_id == 0, "and resolves nothing");
	evn_city_index_free(empty);
	evn_city_index_free(NULL);
}

int
main(void)
{
	test_folding();
	build();
	test_places();
	test_points();
	test_profiles();
	test_order();
	test_empty_index();
	evn_city_index_free(index_under_test);
	return tap_done();
}
