/*
 * city_index_private.h
 *		Layout of the city index, shared by the file that builds it and the
 *		one that reads it.
 */
#ifndef EVN_CITY_INDEX_PRIVATE_H
#define EVN_CITY_INDEX_PRIVATE_H

#include "city_index.h"

/* two letters make a country's number; 0 is no country */
#define EVN_COUNTRIES (26 * 26 + 1)

/* side of a cell of the grid of coordinates, degrees */
#define EVN_GRID_STEP	 0.25
#define EVN_GRID_COLUMNS 1440
#define EVN_GRID_ROWS	 720

/* one name and whom it names: numbers of a NameTable's targets */
typedef struct NameSlot
{
	uint64 hash;  /* of the folded name, 0 for a free slot */
	uint32 first; /* of the table's targets */
	uint32 count;
} NameSlot;

/*
 * Names by 64-bit hash.  The names themselves are not kept: two of a million
 * names collide with a probability of 3e-8, and a text that is no name at all
 * passes for one with 5e-14.
 */
typedef struct NameTable
{
	NameSlot *slots;
	uint64	  mask;	   /* number of slots, a power of two, less one */
	uint32	 *targets; /* for each name in order of rank, best first */
	uint32	  ntargets;
} NameTable;

/* a name before the table is made */
typedef struct NameEntry
{
	uint64 hash;
	uint32 target;
} NameEntry;

typedef struct NameList
{
	NameEntry *entries;
	size_t	   used;
	size_t	   allocated;
} NameList;

/* in cities' targets: the name is another one than the gazetteer's own */
#define EVN_TARGET_ALIAS 0x80000000U
#define EVN_TARGET_CITY	 0x7FFFFFFFU
#define EVN_NO_CITY		 UINT32_MAX

/* numbered by population, most populous first */
typedef struct City
{
	int32  city_id;
	float  lon;
	float  lat;
	float  population;
	float  reach; /* km, see evn_city_index_finish */
	uint16 area;  /* its region, or its country when that has none */
	bool   section;
} City;

/* a country (region_hash 0) or a region */
typedef struct Area
{
	uint16 country;
	uint16 next;		/* next area of the same country, 0 for none */
	uint64 region_hash; /* of the folded region code, else name */
	uint32 top_city;	/* most populous city, EVN_NO_CITY for none */
	double population;	/* of its cities, sections left out */
} Area;

struct EvnCityIndex
{
	City  *cities;
	size_t ncities;
	size_t cities_allocated;

	Area  *areas; /* number 0 is nowhere */
	size_t nareas;
	size_t areas_allocated;
	uint16 country_areas[EVN_COUNTRIES]; /* country -> its area, 0 for none */

	NameTable city_names;
	NameTable area_names;
	NameTable no_cities; /* texts that name no city */

	/* cities by cell, sections left out: grid_start[cell] .. grid_start[cell + 1] */
	uint32 *grid_start;
	uint32 *grid_cities;

	/* only while it is built */
	NameList new_city_names; /* target is a city_id */
	NameList new_aliases;	 /* target is a city_id */
	NameList new_area_names;
	NameList new_no_cities;
	uint16	 last_area; /* of the city added last; rows come in clusters */
};

static inline uint64
evn_city_hash(const char *data, int len)
{
	uint64 hash = UINT64CONST(0x9E3779B97F4A7C15) * (uint64) (len + 1);
	uint64 word;

	for (; len >= 8; len -= 8, data += 8)
	{
		memcpy(&word, data, 8);
		hash = (hash ^ word) * UINT64CONST(0xFF51AFD7ED558CCD);
		hash ^= hash >> 32;
	}
	if (len > 0)
	{
		word = 0;
		memcpy(&word, data, len);
		hash = (hash ^ word) * UINT64CONST(0xFF51AFD7ED558CCD);
		hash ^= hash >> 32;
	}
	hash *= UINT64CONST(0xC4CEB9FE1A85EC53);
	hash ^= hash >> 33;
	return hash == 0 ? 1 : hash; /* 0 marks free slots */
}

/* The targets of a name; count is 0 when there are none. */
static inline const uint32 *
evn_city_find_name(const NameTable *table, uint64 hash, uint32 *count)
{
	uint64 i = hash & table->mask;

	while (table->slots[i].hash != 0)
	{
		if (table->slots[i].hash == hash)
		{
			*count = table->slots[i].count;
			return table->targets + table->slots[i].first;
		}
		i = (i + 1) & table->mask;
	}
	*count = 0;
	return NULL;
}

static inline uint16
evn_city_country_number(EvnText code)
{
	unsigned a;
	unsigned b;

	if (code.data == NULL || code.len != 2)
		return 0;
	a = (unsigned) (code.data[0] | 0x20) - 'a';
	b = (unsigned) (code.data[1] | 0x20) - 'a';
	return a < 26 && b < 26 ? (uint16) (a * 26 + b + 1) : 0;
}

static inline uint32
evn_city_grid_cell(double lon, double lat)
{
	int column = (int) ((lon + 180.0) / EVN_GRID_STEP);
	int row = (int) ((lat + 90.0) / EVN_GRID_STEP);

	column = column < 0 ? 0 : column % EVN_GRID_COLUMNS;
	row = row < 0 ? 0 : Min(row, EVN_GRID_ROWS - 1);
	return (uint32) (row * EVN_GRID_COLUMNS + column);
}

#endif /* EVN_CITY_INDEX_PRIVATE_H */
