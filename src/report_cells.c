/*
 * report_cells.c
 *		Posts per city and cell, and the windows that cells make.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "utils/memutils.h"

#include "compat.h"
#include "report_cells.h"

#define FIRST_CELLS 16

/* posts of a city in a cell */
typedef struct Cell
{
	int32			number;
	int64			tweets;
	int64			retweets;
	struct varlena *sketch; /* of authors, or NULL */
} Cell;

/* A city's cells; in order and each once, or not yet. */
typedef struct City
{
	int32 city_id;
	bool  tidy;
	int	  ncells;
	int	  capacity;
	Cell *cells;
	char  status;
} City;

#define SH_PREFIX			  cities
#define SH_ELEMENT_TYPE		  City
#define SH_KEY_TYPE			  int32
#define SH_KEY				  city_id
#define SH_HASH_KEY(table, a) murmurhash32((uint32) (a))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE			  static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define ST_SORT			 sort_cells
#define ST_ELEMENT_TYPE	 Cell
#define ST_COMPARE(a, b) ((a)->number<(b)->number ? -1 : (a)->number>(b)->number)
#define ST_SCOPE		 static
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT			 sort_ids
#define ST_ELEMENT_TYPE	 int32
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE		 static
#define ST_DEFINE
#include "lib/sort_template.h"

struct EvnCells
{
	MemoryContext context;
	MemoryContext sketches; /* packs them as they are, palloc rounds up to a power of two */
	MemoryContext scratch;	/* of the city whose windows are made */
	bool		  has_authors;
	FmgrInfo	  unite;
	FmgrInfo	  cardinality;
	cities_hash	 *cities;
};

/* hll's functions are found where its type is. */
static void
find_function(FmgrInfo *function, const char *schema, const char *name, int nargs, Oid type)
{
	List *names = list_make2(makeString(pstrdup(schema)), makeString(pstrdup(name)));
	Oid	  types[2] = {type, type};

	fmgr_info(LookupFuncName(names, nargs, types, false), function);
}

EvnCells *
evn_report_cells_create(const char *hll_schema, Oid hll_type)
{
	EvnCells *cells = palloc0(sizeof(EvnCells));

	cells->context = CurrentMemoryContext;
	cells->sketches =
		GenerationContextCreate(CurrentMemoryContext, "sketches", ALLOCSET_DEFAULT_SIZES);
	cells->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "windows of a city", ALLOCSET_DEFAULT_SIZES);
	cells->cities = cities_create(CurrentMemoryContext, 1024, NULL);
	cells->has_authors = hll_schema != NULL;
	if (!cells->has_authors)
		return cells;
	find_function(&cells->unite, hll_schema, "hll_union", 2, hll_type);
	find_function(&cells->cardinality, hll_schema, "hll_cardinality", 1, hll_type);
	return cells;
}

/* ---- sketches */

/* The union of both, either of which may be NULL: a new one, or one of them. */
static struct varlena *
unite(EvnCells *cells, struct varlena *a, struct varlena *b)
{
	if (a == NULL || b == NULL)
		return a == NULL ? b : a;
	return (struct varlena *) DatumGetPointer(
		FunctionCall2(&cells->unite, PointerGetDatum(a), PointerGetDatum(b)));
}

static int64
count_authors(EvnCells *cells, struct varlena *sketch)
{
	if (sketch == NULL)
		return 0;
	return (int64) rint(
		DatumGetFloat8(FunctionCall1(&cells->cardinality, PointerGetDatum(sketch))));
}

/* ---- cells */

static void
merge_cell(EvnCells *cells, Cell *cell, int64 tweets, int64 retweets, struct varlena *sketch)
{
	struct varlena *before = cell->sketch;

	cell->tweets += tweets;
	cell->retweets += retweets;
	if (sketch == NULL)
		return;
	cell->sketch = unite(cells, before, sketch);
	if (before != NULL)
	{
		pfree(before);
		pfree(sketch);
	}
}

/* Put a city's cells in order, each once. */
static void
tidy_city(EvnCells *cells, City *city)
{
	MemoryContext old;
	int			  n = 0;

	if (city->tidy)
		return;
	old = MemoryContextSwitchTo(cells->sketches);
	sort_cells(city->cells, city->ncells);
	for (int i = 1; i < city->ncells; i++)
	{
		Cell *cell = &city->cells[i];

		if (cell->number == city->cells[n].number)
			merge_cell(cells, &city->cells[n], cell->tweets, cell->retweets, cell->sketch);
		else
			city->cells[++n] = *cell;
	}
	city->ncells = n + 1;
	city->tidy = true;
	MemoryContextSwitchTo(old);
}

/* Make room for another cell. */
static void
enlarge_city(EvnCells *cells, City *city)
{
	if (city->ncells < city->capacity)
		return;
	tidy_city(cells, city);
	/* else many were there twice */
	if (city->ncells <= city->capacity / 2)
		return;
	city->capacity *= 2;
	city->cells = repalloc_huge(city->cells, sizeof(Cell) * city->capacity);
}

static City *
find_or_add_city(EvnCells *cells, int32 city_id)
{
	bool  found;
	City *city = cities_insert(cells->cities, city_id, &found);

	if (!found)
	{
		city->tidy = true;
		city->ncells = 0;
		city->capacity = FIRST_CELLS;
		city->cells = MemoryContextAlloc(cells->context, sizeof(Cell) * FIRST_CELLS);
	}
	return city;
}

void
evn_report_cells_add(EvnCells *cells, int32 city_id, int cell, int64 tweets, int64 retweets,
					 Datum authors)
{
	City		   *city = find_or_add_city(cells, city_id);
	MemoryContext	old = MemoryContextSwitchTo(cells->sketches);
	struct varlena *sketch = NULL;
	Cell		   *last = NULL;

	/* with a long header, which hll's functions would else make a copy for each time */
	if (cells->has_authors && DatumGetPointer(authors) != NULL)
		sketch = pg_detoast_datum_copy((struct varlena *) DatumGetPointer(authors));
	if (city->ncells > 0)
		last = &city->cells[city->ncells - 1];
	if (last != NULL && last->number == cell)
		merge_cell(cells, last, tweets, retweets, sketch);
	else
	{
		enlarge_city(cells, city);
		if (city->ncells > 0 && city->cells[city->ncells - 1].number >= cell)
			city->tidy = false;
		city->cells[city->ncells++] = (Cell) {cell, tweets, retweets, sketch};
	}
	MemoryContextSwitchTo(old);
}

/* Deletes may have emptied it. */
static bool
has_posts(const City *city)
{
	int64 tweets = 0;

	for (int i = 0; i < city->ncells; i++)
		tweets += city->cells[i].tweets;
	return tweets > 0;
}

int32 *
evn_report_cells_cities(const EvnCells *cells, int *n)
{
	int32		   *ids = palloc(sizeof(int32) * (cells->cities->members + 1));
	cities_iterator iterator;
	City		   *city;

	*n = 0;
	cities_start_iterate(cells->cities, &iterator);
	while ((city = cities_iterate(cells->cities, &iterator)) != NULL)
		if (has_posts(city))
			ids[(*n)++] = city->city_id;
	sort_ids(ids, *n);
	return ids;
}

/* ---- windows */

/*
 * The cells [low, high) of a window that moves over those of a city.  A sketch
 * cannot be taken out of a union: the cells up to middle are united from the
 * back, so that one of them can leave, the others as they came.  Each cell is
 * united twice, however many windows it is in.
 */
typedef struct Moving
{
	EvnCells   *cells;
	const City *city;
	int			low;
	int			middle;
	int			high;
	int64		tweets;
	int64		retweets;
	struct varlena *
		*leaving; /* of the cells from first to middle: the union of each and those after it */
	int	 first;
	struct varlena *come; /* the union of those from middle on */
	bool			come_is_own;
} Moving;

static void
let_in(Moving *moving)
{
	const Cell	   *cell = &moving->city->cells[moving->high++];
	struct varlena *before = moving->come;

	moving->tweets += cell->tweets;
	moving->retweets += cell->retweets;
	if (cell->sketch == NULL)
		return;
	moving->come = unite(moving->cells, before, cell->sketch);
	if (before != NULL && moving->come_is_own)
		pfree(before);
	moving->come_is_own = before != NULL;
}

/* All that have come may leave from now on, but the first, which just leaves. */
static void
turn_round(Moving *moving)
{
	struct varlena *sum = NULL;

	moving->come = NULL;
	moving->come_is_own = false;
	MemoryContextReset(moving->cells->scratch);
	moving->first = moving->low;
	moving->leaving = MemoryContextAllocHuge(
		moving->cells->scratch, sizeof(*moving->leaving) * (moving->high - moving->low));
	for (int i = moving->high - 1; i > moving->low; i--)
	{
		sum = unite(moving->cells, sum, moving->city->cells[i].sketch);
		moving->leaving[i - moving->first] = sum;
	}
	moving->middle = moving->high;
}

static void
let_out(Moving *moving)
{
	const Cell *cell = &moving->city->cells[moving->low];

	moving->tweets -= cell->tweets;
	moving->retweets -= cell->retweets;
	if (moving->cells->has_authors && moving->low >= moving->middle)
		turn_round(moving);
	moving->low++;
}

static int64
count_moving(const Moving *moving)
{
	struct varlena *leaving =
		moving->low < moving->middle ? moving->leaving[moving->low - moving->first] : NULL;
	struct varlena *sum;
	int64			authors;

	if (!moving->cells->has_authors)
		return 0;
	sum = unite(moving->cells, leaving, moving->come);
	authors = count_authors(moving->cells, sum);
	if (sum != leaving && sum != moving->come)
		pfree(sum);
	return authors;
}

void
evn_report_cells_too_many(int64 limit)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("the report has more than %lld rows", (long long) limit),
			 errhint("Choose fewer cities, a longer width or slide, or a shorter span of time.")));
}

static void
append_window(EvnWindowList *list, int64 limit, const EvnWindowCounts *window)
{
	if (list->n == limit)
		evn_report_cells_too_many(limit);
	if (list->n == list->capacity)
	{
		list->capacity = Max(1024, list->capacity * 2);
		list->items = list->items == NULL
						  ? palloc(sizeof(EvnWindowCounts) * list->capacity)
						  : repalloc_huge(list->items, sizeof(EvnWindowCounts) * list->capacity);
	}
	list->items[list->n++] = *window;
}

/* Let the cells of a window in that was not in the one before, and those out that are not in it. */
static bool
move_to(Moving *moving, const EvnWindows *windows, int window)
{
	const Cell *cells = moving->city->cells;
	int			first = evn_report_window_first(windows, window);
	int			low = moving->low;
	int			high = moving->high;

	while (moving->low < moving->high && cells[moving->low].number < first)
		let_out(moving);
	while (moving->high < moving->city->ncells &&
		   cells[moving->high].number < window + windows->steps)
		let_in(moving);
	return moving->low != low || moving->high != high;
}

void
evn_report_cells_windows(EvnCells *cells, int32 city_id, const EvnWindows *windows, int64 limit,
						 EvnWindowList *list)
{
	City		   *city = cities_lookup(cells->cities, city_id);
	Moving			moving = {.cells = cells, .city = city};
	EvnWindowCounts result = {.city_id = city_id};
	MemoryContext	caller = CurrentMemoryContext;

	if (city == NULL)
		return;
	tidy_city(cells, city);
	MemoryContextReset(cells->scratch);
	for (int i = Max(0, city->cells[0].number - windows->steps + 1); i < windows->n; i++)
	{
		MemoryContextSwitchTo(cells->scratch);
		if (move_to(&moving, windows, i))
			result.counts.authors = count_moving(&moving);
		MemoryContextSwitchTo(caller);
		if (moving.low == moving.high)
		{
			/* on to the next window with a cell in it */
			if (moving.high == city->ncells)
				break;
			i = city->cells[moving.high].number - windows->steps;
			continue;
		}
		CHECK_FOR_INTERRUPTS();
		if (moving.tweets <= 0)
			continue;
		result.window = i;
		result.counts.tweets = moving.tweets;
		result.counts.retweets = moving.retweets;
		append_window(list, limit, &result);
	}
}
