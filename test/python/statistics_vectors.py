"""Writes test/vectors/leaderboard-statistics.json: what SciPy and NumPy say of the leaderboard's statistics.

    python3 -m venv venv && venv/bin/pip install scipy==1.17.1 numpy
    venv/bin/python test/python/statistics_vectors.py > test/vectors/leaderboard-statistics.json

Samples come from a seeded generator, so the same versions write the same file.
"""

import json
import sys

import numpy
import scipy
from scipy import stats

random = numpy.random.default_rng(20261123)


def wilson(successes, trials):
    interval = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return {"successes": successes, "trials": trials, "low": interval.low, "high": interval.high}


def mean(sample):
    interval = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    return {"sample": sample, "low": interval.low, "high": interval.high}


def ratio(size):
    """Of sums: by the residuals themselves."""
    costs = [int(cost) for cost in random.lognormal(15, 1, size)]
    successes = [bool(one) for one in random.random(size) < 0.7]
    successes[0] = True
    x, y = numpy.array(successes, dtype=float), numpy.array(costs, dtype=float)
    centre = y.sum() / x.sum()
    error = numpy.std(y - centre * x, ddof=1) * numpy.sqrt(size) / x.sum()
    half = stats.t.ppf(0.975, size - 1) * error
    return {"costs": costs, "successes": successes, "low": max(0.0, centre - half), "high": centre + half}


def paired(tasks):
    """Success rates of two versions task by task."""
    first = [(int(runs), int(random.integers(0, runs + 1))) for runs in random.integers(1, 6, tasks)]
    second = [(int(runs), int(random.integers(0, runs + 1))) for runs in random.integers(1, 6, tasks)]
    differences = [b[1] / b[0] - a[1] / a[0] for a, b in zip(first, second)]
    test = stats.ttest_rel([b[1] / b[0] for b in second], [a[1] / a[0] for a in first])
    interval = test.confidence_interval(0.95)
    more, less = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    return {
        "first": first,
        "second": second,
        "mean": float(numpy.mean(differences)),
        "low": interval.low,
        "high": interval.high,
        "more": more,
        "less": less,
        "p": stats.binomtest(more, more + less).pvalue if more + less else 1.0,
    }


def percentiles(size):
    sample = [float(f"{ms:.6g}") for ms in random.lognormal(8, 2, size)]
    at = {str(p): float(numpy.percentile(sample, p, method="inverted_cdf")) for p in (50, 95)}
    return {"sample": sample, "percentiles": at}


vectors = {
    "made_by": "test/python/statistics_vectors.py, which says how, "
    f"with SciPy {scipy.__version__}, NumPy {numpy.__version__} and Python {sys.version.split()[0]}",
    "wilson": [
        wilson(k, n)
        for n in (1, 2, 5, 10, 37, 100, 1_000, 123_456)
        for k in sorted({0, 1, n // 3, n // 2, n - 1, n})
        if 0 <= k <= n
    ],
    "student_t95": [
        {"freedom": df, "t": float(stats.t.ppf(0.975, df))}
        for df in [*range(1, 41), 60, 99, 100, 199, 200, 201, 202, 500, 1_000, 20_000, 1_000_000]
    ],
    "sign_test": [
        {"more": k, "less": n - k, "p": stats.binomtest(k, n).pvalue}
        for n in (1, 5, 6, 11, 40, 500, 3_000)
        for k in sorted({0, 1, n // 4, n // 2, n})
    ],
    "mean": [mean([int(r) for r in random.integers(1, 6, n)]) for n in (2, 3, 10, 57, 400)],
    "ratio": [ratio(n) for n in (2, 10, 60, 400)],
    "paired": [paired(n) for n in (6, 7, 25, 120)],
    "percentiles": [percentiles(n) for n in (1, 10, 101, 500)],
}
json.dump(vectors, sys.stdout, indent=1)
print()
