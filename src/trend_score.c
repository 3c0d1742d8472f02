/*
 * trend_score.c
 *		How surprising a count is.
 */
#include "c.h"

#include <math.h>

#include "trend_score.h"

#define POISSON_BELOW 1e-9 /* less dispersion than this is none */

/* a * log(a / b), and its limit where a is 0 */
static double
term(double a, double b)
{
	return a <= 0 ? 0 : a * log(a / b);
}

static double
deviance(double observed, double expected, double dispersion)
{
	double size;

	if (dispersion < POISSON_BELOW)
		return 2 * (term(observed, expected) - (observed - expected));
	size = 1 / dispersion;
	return 2 * (term(observed, expected) -
				(observed + size) * log((observed + size) / (expected + size)));
}

double
evn_trend_score(double observed, double expected, double dispersion)
{
	/* half a post towards the expectation, but not beyond it */
	double corrected =
		observed > expected ? Max(observed - 0.5, expected) : Min(observed + 0.5, expected);
	double root = sqrt(Max(deviance(corrected, expected, dispersion), 0));

	return observed > expected ? root : -root;
}

double
evn_trend_p_value(double score)
{
	return erfc(score / M_SQRT2) / 2;
}
