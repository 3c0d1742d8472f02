/*
 * city_index.c
 *		Builds the in-memory index over the gazetteer; city_resolve.c reads it.
 */
#include "c.h"

#include <math.h>

#include "city_index_private.h"
#include "text_fold.h"

/*
 * How far a city reaches, in km: a point belongs to the city to which its
 * distance is the smallest part of that city's reach.  A circle whose area
 * grows with the population, and some space around it that even a village has.
 */
#define REACH_BASE			  1.0
#define REACH_PER_SQRT_PERSON 0.0125

EvnCityIndex *
evn_city_index_create(void)
{
	EvnCityIndex *index = calloc(1, sizeof(EvnCityIndex));

	if (index == NULL)
		return NULL;
	index->areas = calloc(1, sizeof(Area));
	if (index->areas == NULL)
	{
		free(index);
		return NULL;
	}
	index->areas[0].top_city = EVN_NO_CITY;
	index->nareas = index->areas_allocated = 1;
	return index;
}

static void
free_lists(EvnCityIndex *index)
{
	NameList *lists[] = {&index->new_city_names, &index->new_aliases, &index->new_area_names,
						 &index->new_no_cities};
	size_t	  i;

	for (i = 0; i < lengthof(lists); i++)
	{
		free(lists[i]->entries);
		memset(lists[i], 0, sizeof(NameList));
	}
}

static void
free_table(NameTable *table)
{
	free(table->slots);
	free(table->targets);
}

void
evn_city_index_free(EvnCityIndex *index)
{
	if (index == NULL)
		return;
	free_lists(index);
	free_table(&index->city_names);
	free_table(&index->area_names);
	free_table(&index->no_cities);
	free(index->grid_start);
	free(index->grid_cities);
	free(index->areas);
	free(index->cities);
	free(index);
}

/* Make room for one more element in an array that doubles. */
static bool
grow(void **array, size_t used, size_t *allocated, size_t element)
{
	size_t wanted = *allocated == 0 ? 1024 : *allocated * 2;
	void  *larger;

	if (used < *allocated)
		return true;
	larger = realloc(*array, wanted * element);
	if (larger == NULL)
		return false;
	*array = larger;
	*allocated = wanted;
	return true;
}

static bool
add_entry(NameList *list, uint64 hash, uint32 target)
{
	if (!grow((void **) &list->entries, list->used, &list->allocated, sizeof(NameEntry)))
		return false;
	list->entries[list->used].hash = hash;
	list->entries[list->used].target = target;
	list->used++;
	return true;
}

/* Hash of a name's first segment, 0 when it has none or, if alone is set, several. */
static uint64
name_hash(EvnText name, bool alone)
{
	EvnFoldedText folded;

	evn_text_fold(name, &folded);
	if (folded.nsegments == 0 || (alone && folded.nsegments > 1))
		return 0;
	return evn_city_hash(folded.segments[0].data, folded.segments[0].len);
}

uint64
evn_city_name_key(EvnText name)
{
	return name_hash(name, false);
}

static bool
add_name(NameList *list, EvnText name, bool alone, uint32 target)
{
	uint64 hash = name_hash(name, alone);

	return hash == 0 || add_entry(list, hash, target);
}

/* Codes that are numbers are GeoNames' own; nobody writes them. */
static bool
is_written_code(EvnText code)
{
	return code.data != NULL && code.len > 0 && !(code.data[0] >= '0' && code.data[0] <= '9');
}

/* Number of the country's area or, with a region_hash, of one of its regions; 0 if unknown. */
static uint16
find_area(const EvnCityIndex *index, uint16 country, uint64 region_hash)
{
	uint16 area = index->country_areas[country];

	while (area != 0 && index->areas[area].region_hash != region_hash)
		area = index->areas[area].next;
	return area;
}

/* A new area; on success *area is its number, 0 when there is no number left. */
static bool
add_area(EvnCityIndex *index, uint16 country, uint64 region_hash, uint16 *area)
{
	Area *added;

	*area = 0;
	if (index->nareas > UINT16_MAX)
		return true;
	if (!grow((void **) &index->areas, index->nareas, &index->areas_allocated, sizeof(Area)))
		return false;
	added = &index->areas[index->nareas];
	*area = (uint16) index->nareas++;
	added->country = country;
	added->region_hash = region_hash;
	added->top_city = EVN_NO_CITY;
	added->population = 0;
	added->next = 0;
	if (region_hash == 0)
		index->country_areas[country] = *area;
	else
	{
		/* behind its country, which find_area starts from */
		Area *head = &index->areas[index->country_areas[country]];

		added->next = head->next;
		head->next = *area;
	}
	return true;
}

static bool
country_area(EvnCityIndex *index, const EvnCity *city, uint16 country, uint16 *area)
{
	*area = index->country_areas[country];
	if (*area != 0)
		return true;
	return add_area(index, country, 0, area) &&
		   add_name(&index->new_area_names, city->country_code, true, *area) &&
		   add_name(&index->new_area_names, city->country, true, *area);
}

static uint64
region_hash(EvnText code, EvnText name)
{
	uint64 hash = name_hash(code, true);

	return hash != 0 ? hash : name_hash(name, true);
}

/* The area a city lies in, made if it is the first one there. */
static bool
city_area(EvnCityIndex *index, const EvnCity *city, uint16 *area)
{
	uint16 country = evn_city_country_number(city->country_code);
	uint64 hash = region_hash(city->region_code, city->region);

	*area = 0;
	if (country == 0)
		return true;
	if (!country_area(index, city, country, area) || hash == 0 || *area == 0)
		return *area == 0 || hash == 0;
	*area = find_area(index, country, hash);
	if (*area != 0)
		return true;
	return add_area(index, country, hash, area) &&
		   add_name(&index->new_area_names, city->region, true, *area) &&
		   (!is_written_code(city->region_code) ||
			add_name(&index->new_area_names, city->region_code, true, *area));
}

bool
evn_city_index_add_city(EvnCityIndex *index, const EvnCity *city)
{
	City  *added;
	uint16 area;

	if (city->city_id == 0)
		return true; /* the row that stands for no city */
	if (!grow((void **) &index->cities, index->ncities, &index->cities_allocated, sizeof(City)) ||
		!city_area(index, city, &area) ||
		!add_name(&index->new_city_names, city->name, false, (uint32) city->city_id) ||
		!add_name(&index->new_city_names, city->ascii_name, false, (uint32) city->city_id))
		return false;
	added = &index->cities[index->ncities++];
	added->city_id = city->city_id;
	added->lon = (float) city->lon;
	added->lat = (float) city->lat;
	added->population = (float) Max(city->population, 0);
	added->reach = (float) (REACH_BASE + REACH_PER_SQRT_PERSON * sqrt(added->population));
	added->area = area;
	added->section = city->section;
	return true;
}

bool
evn_city_index_add_alias(EvnCityIndex *index, int32 city_id, EvnText alias)
{
	if (city_id == 0)
		return add_name(&index->new_no_cities, alias, false, 0);
	return add_name(&index->new_aliases, alias, true, (uint32) city_id);
}

bool
evn_city_index_add_area(EvnCityIndex *index, EvnText country_code, EvnText region_code,
						EvnText alias)
{
	EvnText no_name = {NULL, 0};
	uint16	country = evn_city_country_number(country_code);
	uint16	area = find_area(index, country, region_hash(region_code, no_name));

	return area == 0 || add_name(&index->new_area_names, alias, true, area);
}

static int
compare_population(const void *left, const void *right)
{
	const City *a = left;
	const City *b = right;

	if (a->population != b->population)
		return a->population < b->population ? 1 : -1;
	return a->city_id < b->city_id ? -1 : a->city_id > b->city_id;
}

/* a city's number by its id */
typedef struct IdNumber
{
	int32  city_id;
	uint32 number;
} IdNumber;

static int
compare_id(const void *left, const void *right)
{
	const IdNumber *a = left;
	const IdNumber *b = right;

	return a->city_id < b->city_id ? -1 : a->city_id > b->city_id;
}

static IdNumber *
sort_ids(const EvnCityIndex *index)
{
	IdNumber *ids = malloc(Max(index->ncities, 1) * sizeof(IdNumber));
	size_t	  i;

	if (ids == NULL)
		return NULL;
	for (i = 0; i < index->ncities; i++)
	{
		ids[i].city_id = index->cities[i].city_id;
		ids[i].number = (uint32) i;
	}
	qsort(ids, index->ncities, sizeof(IdNumber), compare_id);
	return ids;
}

/* Turn the ids of list's targets into numbers; EVN_NO_CITY where there is no such city. */
static void
number_targets(const EvnCityIndex *index, NameList *list, const IdNumber *ids, uint32 flag)
{
	IdNumber		key = {0, 0};
	const IdNumber *found = NULL;
	size_t			i;

	for (i = 0; i < list->used; i++)
	{
		/* names of one city follow each other */
		if (found == NULL || (uint32) found->city_id != list->entries[i].target)
		{
			key.city_id = (int32) list->entries[i].target;
			found = bsearch(&key, ids, index->ncities, sizeof(IdNumber), compare_id);
		}
		list->entries[i].target = found == NULL ? EVN_NO_CITY : (found->number | flag);
	}
}

/* All names in one list: most populous city first, its names before its aliases */
static bool
rank_names(const EvnCityIndex *index, NameList *ranked)
{
	const NameList *lists[] = {&index->new_city_names, &index->new_aliases};
	uint32		   *starts = calloc(index->ncities + 1, sizeof(uint32));
	size_t			i;
	size_t			l;

	ranked->entries = malloc(Max(lists[0]->used + lists[1]->used, 1) * sizeof(NameEntry));
	if (starts == NULL || ranked->entries == NULL)
	{
		free(starts);
		return false;
	}
	for (l = 0; l < lengthof(lists); l++)
		for (i = 0; i < lists[l]->used; i++)
			if (lists[l]->entries[i].target != EVN_NO_CITY)
				starts[(lists[l]->entries[i].target & EVN_TARGET_CITY) + 1]++;
	for (i = 0; i < index->ncities; i++)
		starts[i + 1] += starts[i];
	ranked->used = starts[index->ncities];
	for (l = 0; l < lengthof(lists); l++)
	{
		for (i = 0; i < lists[l]->used; i++)
		{
			NameEntry entry = lists[l]->entries[i];

			if (entry.target != EVN_NO_CITY)
				ranked->entries[starts[entry.target & EVN_TARGET_CITY]++] = entry;
		}
	}
	free(starts);
	return true;
}

/* The slot of a hash, its own or the free one where it belongs */
static NameSlot *
slot_for(NameTable *table, uint64 hash)
{
	uint64 i = hash & table->mask;

	while (table->slots[i].hash != 0 && table->slots[i].hash != hash)
		i = (i + 1) & table->mask;
	return &table->slots[i];
}

/*
 * Count the targets of every name and give each entry its slot, or none when
 * the same target has the same name already.  The entries of a target follow
 * each other, so it is enough to remember every slot's last target.
 */
static void
fill_slots(NameTable *table, const NameList *list, uint32 *entry_slots)
{
	size_t i;

	for (i = 0; i < list->used; i++)
	{
		NameSlot *slot = slot_for(table, list->entries[i].hash);
		uint32	  target = list->entries[i].target & EVN_TARGET_CITY;

		if (slot->count > 0 && slot->first == target)
		{
			entry_slots[i] = UINT32_MAX;
			continue;
		}
		slot->hash = list->entries[i].hash;
		slot->first = target;
		slot->count++;
		entry_slots[i] = (uint32) (slot - table->slots);
		table->ntargets++;
	}
}

static void
fill_targets(NameTable *table, const NameList *list, const uint32 *entry_slots)
{
	uint32 first = 0;
	uint64 s;
	size_t i;

	for (s = 0; s <= table->mask; s++)
	{
		table->slots[s].first = first;
		first += table->slots[s].count;
		table->slots[s].count = 0;
	}
	for (i = 0; i < list->used; i++)
	{
		NameSlot *slot;

		if (entry_slots[i] == UINT32_MAX)
			continue;
		slot = &table->slots[entry_slots[i]];
		table->targets[slot->first + slot->count++] = list->entries[i].target;
	}
}

static bool
build_table(NameTable *table, const NameList *list)
{
	uint64	size = 16;
	uint32 *entry_slots;

	/* at most two thirds full */
	while (size * 2 < (uint64) list->used * 3)
		size *= 2;
	table->mask = size - 1;
	table->slots = calloc(size, sizeof(NameSlot));
	table->targets = malloc(Max(list->used, 1) * sizeof(uint32));
	entry_slots = malloc(Max(list->used, 1) * sizeof(uint32));
	if (table->slots == NULL || table->targets == NULL || entry_slots == NULL)
	{
		free(entry_slots);
		return false;
	}
	fill_slots(table, list, entry_slots);
	fill_targets(table, list, entry_slots);
	free(entry_slots);
	return true;
}

static void
sum_areas(EvnCityIndex *index)
{
	size_t i;

	for (i = 0; i < index->ncities; i++)
	{
		const City *city = &index->cities[i];
		uint16		country = index->areas[city->area].country;
		uint16		areas[] = {city->area, index->country_areas[country]};
		int			a;

		for (a = 0; a < (areas[0] == areas[1] ? 1 : 2); a++)
		{
			Area *area = &index->areas[areas[a]];

			if (area->top_city == EVN_NO_CITY)
				area->top_city = (uint32) i;
			if (!city->section)
				area->population += city->population;
		}
	}
}

static uint32
city_cell(const City *city)
{
	return evn_city_grid_cell(city->lon, city->lat);
}

static bool
build_grid(EvnCityIndex *index)
{
	size_t	cells = EVN_GRID_COLUMNS * EVN_GRID_ROWS;
	uint32 *start = calloc(cells + 2, sizeof(uint32));
	size_t	i;

	index->grid_start = start;
	index->grid_cities = malloc(Max(index->ncities, 1) * sizeof(uint32));
	if (start == NULL || index->grid_cities == NULL)
		return false;
	/* counted one cell too far, so that filling moves every start to its place */
	for (i = 0; i < index->ncities; i++)
		if (!index->cities[i].section)
			start[city_cell(&index->cities[i]) + 2]++;
	for (i = 2; i < cells + 2; i++)
		start[i] += start[i - 1];
	for (i = 0; i < index->ncities; i++)
		if (!index->cities[i].section)
			index->grid_cities[start[city_cell(&index->cities[i]) + 1]++] = (uint32) i;
	return true;
}

static bool
build_city_names(EvnCityIndex *index)
{
	IdNumber *ids = sort_ids(index);
	NameList  ranked = {NULL, 0, 0};
	bool	  done;

	if (ids == NULL)
		return false;
	number_targets(index, &index->new_city_names, ids, 0);
	number_targets(index, &index->new_aliases, ids, EVN_TARGET_ALIAS);
	free(ids);
	done = rank_names(index, &ranked) && build_table(&index->city_names, &ranked);
	free(ranked.entries);
	return done;
}

bool
evn_city_index_finish(EvnCityIndex *index)
{
	if (index->ncities > 0)
		qsort(index->cities, index->ncities, sizeof(City), compare_population);
	sum_areas(index);
	if (!build_city_names(index) || !build_table(&index->area_names, &index->new_area_names) ||
		!build_table(&index->no_cities, &index->new_no_cities) || !build_grid(index))
		return false;
	free_lists(index);
	return true;
}

static size_t
table_memory(const NameTable *table)
{
	return (table->mask + 1) * sizeof(NameSlot) + table->ntargets * sizeof(uint32);
}

size_t
evn_city_index_memory(const EvnCityIndex *index)
{
	return sizeof(EvnCityIndex) + index->cities_allocated * sizeof(City) +
		   index->areas_allocated * sizeof(Area) + table_memory(&index->city_names) +
		   table_memory(&index->area_names) + table_memory(&index->no_cities) +
		   (EVN_GRID_COLUMNS * EVN_GRID_ROWS + 2 + index->ncities) * sizeof(uint32);
}
