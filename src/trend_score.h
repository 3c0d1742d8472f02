/*
 * trend_score.h
 *		How surprising a count is: pure C, only libm.
 */
#ifndef EVN_TREND_SCORE_H
#define EVN_TREND_SCORE_H

/*
 * Signed root of the deviance of observed from a negative binomial distribution
 * with mean expected and variance expected + dispersion * expected^2 (Poisson
 * when dispersion is 0), continuity corrected: nearly standard normal when the
 * expectation is right.  expected > 0, observed >= 0, dispersion >= 0.
 */
extern double evn_trend_score(double observed, double expected, double dispersion);

/* Probability that a standard normal variable is at least score. */
extern double evn_trend_p_value(double score);

#endif /* EVN_TREND_SCORE_H */
