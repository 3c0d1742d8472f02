/*
 * gazetteer.h
 *		The city index of this database, built from evilnet.city and
 *		evilnet.city_alias and rebuilt after they change.
 */
#ifndef EVN_GAZETTEER_H
#define EVN_GAZETTEER_H

#include "city_index.h"

/*
 * The current index.  Needs a transaction; reads the tables when they have
 * changed since the last call, else costs nothing.  The result belongs to this
 * file and stays valid until the next call.  Raises like any query.
 */
extern const EvnCityIndex *evn_gazetteer_get(void);

#endif /* EVN_GAZETTEER_H */
