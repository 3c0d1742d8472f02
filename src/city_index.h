/*
 * city_index.h
 *		Which city a post comes from: an in-memory index over the gazetteer.
 *
 * Pure C over malloc: functions that allocate return false or NULL when memory
 * is out, resolution allocates nothing and never fails.  An index is built
 * once and then only read.
 */
#ifndef EVN_CITY_INDEX_H
#define EVN_CITY_INDEX_H

#include "tweet.h"

/* which hint decided */
typedef enum EvnCitySource
{
	EVN_CITY_NONE, /* no city: city_id is 0 */
	EVN_CITY_PLACE,
	EVN_CITY_COORDINATES,
	EVN_CITY_PROFILE
} EvnCitySource;

typedef struct EvnCityMatch
{
	int32		  city_id; /* GeoNames id, 0 for no city */
	EvnCitySource source;
} EvnCityMatch;

/* one row of the gazetteer; the index copies what it keeps */
typedef struct EvnCity
{
	int32	city_id;
	EvnText name;
	EvnText ascii_name;
	EvnText country_code; /* two letters */
	EvnText country;	  /* "Canada" */
	EvnText region;		  /* first-level division, "Ontario"; may be absent */
	EvnText region_code;  /* its postal or GeoNames code, "ON"; may be absent */
	double	lon;
	double	lat;
	int64	population;
	bool	section; /* part of another city: has a name, but attracts no coordinates */
} EvnCity;

typedef struct EvnCityIndex EvnCityIndex;

/* NULL when out of memory; freed with evn_city_index_free */
extern EvnCityIndex *evn_city_index_create(void);
extern void evn_city_index_free(EvnCityIndex *index);

/*
 * Fill it: all cities, then aliases, then finish once.  An alias of city 0 is
 * a text that names no city.  An area is a country, or a region of it when
 * region_code is not empty; the areas of the cities are known already.
 * Aliases of unknown cities and areas are left out.
 */
extern bool evn_city_index_add_city(EvnCityIndex *index, const EvnCity *city);
extern bool evn_city_index_add_alias(EvnCityIndex *index, int32 city_id, EvnText alias);
extern bool evn_city_index_add_area(EvnCityIndex *index, EvnText country_code, EvnText region_code,
									EvnText alias);
extern bool evn_city_index_finish(EvnCityIndex *index);
extern size_t evn_city_index_memory(const EvnCityIndex *index);

/* Resolve: place, then coordinates, then profile; the first that decides wins. */
extern EvnCityMatch evn_city_index_resolve(const EvnCityIndex *index, const EvnCityHints *hints);

/* hash of a name as names are compared, 0 when nothing is left of it */
extern uint64 evn_city_name_key(EvnText name);

/* "none", "place", "coordinates", "profile"; static strings */
extern const char *evn_city_source_name(EvnCitySource source);

#endif /* EVN_CITY_INDEX_H */
