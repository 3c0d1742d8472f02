/*
 * trend_score_test.c
 *		Unit tests of trend_score.c.
 */
#include "c.h"

#include <math.h>

#include "tap.h"
#include "trend_score.h"

/* P(X >= n) of a negative binomial variable with that mean, summed term by term. */
static double
exact_tail(int n, double mean, double dispersion)
{
	double size = 1 / dispersion;
	double log_term = size * log(size / (size + mean));
	double below = 0;

	for (int i = 0; i < n; i++)
	{
		below += exp(log_term);
		log_term += log((size + i) / (i + 1) * mean / (size + mean));
	}
	return 1 - below;
}

/* Within a third of the exact tail, where it matters. */
static void
test_tail(void)
{
	static const double means[] = {2, 10, 50, 400};
	static const double dispersions[] = {0.01, 0.05, 0.2};

	for (int m = 0; m < lengthof(means); m++)
		for (int d = 0; d < lengthof(dispersions); d++)
		{
			double deviation = sqrt(means[m] + dispersions[d] * means[m] * means[m]);
			int	   n = (int) (means[m] + 3 * deviation);
			double exact = exact_tail(n, means[m], dispersions[d]);
			double found = evn_trend_p_value(evn_trend_score(n, means[m], dispersions[d]));

			ok(found > exact / 1.5 && found < exact * 1.5,
			   "%d of %.0f, dispersion %.2f: %.2e for %.2e", n, means[m], dispersions[d], found,
			   exact);
		}
}

static void
test_order(void)
{
	ok(evn_trend_score(10, 10, 0.1) == 0, "what is expected is no surprise");
	ok(evn_trend_score(10.4, 10, 0.1) == 0, "nor is half a post more");
	ok(evn_trend_score(30, 10, 0.1) > evn_trend_score(20, 10, 0.1), "more is more surprising");
	ok(evn_trend_score(30, 10, 0.5) < evn_trend_score(30, 10, 0.1), "less where counts vary more");
	ok(evn_trend_score(30, 10, 0) > evn_trend_score(30, 10, 0.001), "and most for Poisson");
	ok(fabs(evn_trend_score(30, 10, 1e-8) - evn_trend_score(30, 10, 0)) < 1e-3,
	   "which is the limit");
	ok(evn_trend_score(0, 10, 0.1) < 0, "none is less than expected");
	ok(isfinite(evn_trend_score(0, 1e-6, 0)) && isfinite(evn_trend_score(1e15, 1e-6, 4)),
	   "extremes have a score");
	ok(fabs(evn_trend_p_value(0) - 0.5) < 1e-12, "half of all are above the middle");
	ok(fabs(evn_trend_p_value(1.959964) - 0.025) < 1e-6, "and a fortieth above 1.96");
}

int
main(void)
{
	test_tail();
	test_order();
	return tap_done();
}
