import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from report.statistics import (
    EXACT_SIGN_FLIP_LIMIT,
    bootstrap_interval,
    expanded_level,
    holm,
    paired_difference,
    sample_means,
    sign_flip_test,
    smallest_p,
    summarize,
    wilson,
    win_rate,
)


def long_table() -> pd.DataFrame:
    rows = []
    generator = np.random.default_rng(0)
    for mesh, prompt, seed in itertools.product(["cow", "bunny"], ["p1", "p0"], [0, 1]):
        views = 2 if seed == 0 else 5  # unequal, so that averaging rows directly would be wrong
        for view in range(views):
            rows.append(dict(mesh=mesh, prompt_id=prompt, seed=seed, view=view, score=generator.normal()))
    return pd.DataFrame(rows)


def test_views_are_averaged_inside_seeds_and_seeds_inside_pairs():
    table = long_table()
    means = sample_means(table)
    assert list(means.index) == [("bunny", "p0"), ("bunny", "p1"), ("cow", "p0"), ("cow", "p1")]
    for (mesh, prompt), value in means.items():
        per_seed = []
        for seed in (0, 1):
            scores = [
                row.score
                for row in table.itertuples()
                if (row.mesh, row.prompt_id, row.seed) == (mesh, prompt, seed)
            ]
            per_seed.append(sum(scores) / len(scores))
        assert value == pytest.approx(sum(per_seed) / 2)


def test_bad_scores_are_named():
    table = long_table()
    table.loc[3, "score"] = math.nan
    with pytest.raises(ValueError, match="mesh 'cow', prompt 'p1', seed 1"):
        sample_means(table)
    with pytest.raises(ValueError, match="no column 'seed'"):
        sample_means(table.drop(columns="seed"))


def test_summary():
    values = [1.0, 2.0, 4.0]
    mean = sum(values) / 3
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / 2) / math.sqrt(3)
    summary = summarize(values)
    assert (summary.mean, summary.standard_error, summary.n) == (pytest.approx(mean), pytest.approx(error), 3)
    assert math.isnan(summarize([1.0]).standard_error)
    assert summarize([]).n == 0 and math.isnan(summarize([]).mean)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_exact_sign_flip_equals_enumeration(n):
    difference = np.random.default_rng(n).normal(0.4, 1.0, size=n)
    observed = abs(sum(difference))
    patterns = list(itertools.product([1, -1], repeat=n))
    extreme = sum(
        abs(sum(s * d for s, d in zip(signs, difference, strict=True))) >= observed - 1e-12
        for signs in patterns
    )
    assert sign_flip_test(difference) == (extreme / len(patterns), True)


def test_sign_flip_of_equal_differences_has_the_smallest_possible_p():
    assert sign_flip_test(np.full(6, 0.1))[0] == 2 / 2**6
    assert sign_flip_test(np.full(16, 0.1)) == (2 / 2**16, True)
    assert sign_flip_test(np.zeros(4))[0] == 1.0


@pytest.mark.parametrize("n", [15, 17, 20])
def test_counting_by_halves_equals_a_matrix_of_all_sign_patterns(n):
    difference = np.random.default_rng(n).normal(0.35, 1.0, size=n).round(1)  # many equal sums
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    exact = np.mean(np.abs((bits * 2 - 1) @ difference) >= abs(difference.sum()) - 1e-9)
    assert sign_flip_test(difference) == (exact, True)


def test_monte_carlo_sign_flip_approaches_the_exact_p():
    difference = np.random.default_rng(1).normal(0.35, 1.0, size=30)
    exact, is_exact = sign_flip_test(difference)
    p, drawn = sign_flip_test(difference, resamples=20_000, seed=3, exact_limit=29)
    assert is_exact and not drawn
    assert p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))
    assert sign_flip_test(difference, resamples=20_000, seed=3, exact_limit=29)[0] == p
    assert smallest_p(30) == 2 / 2**30 and smallest_p(EXACT_SIGN_FLIP_LIMIT + 1) == 1 / 10_001


@pytest.mark.parametrize("n", [12, 24])
def test_sign_flip_rejects_as_often_as_it_says_without_a_difference(n):
    """2,000 experiments without a difference: a share of 0.05 has a standard error of 0.005."""
    generator = np.random.default_rng(n)
    p = [sign_flip_test(generator.normal(size=n))[0] for _ in range(2000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_bootstrap_interval_is_seeded_and_close_to_a_plain_percentile_bootstrap():
    values = np.random.default_rng(2).normal(1.0, 2.0, size=40)
    low, high = bootstrap_interval(values, seed=5)
    assert (low, high) == bootstrap_interval(values, seed=5)
    generator = np.random.default_rng(9)
    means = sorted(float(np.mean(generator.choice(values, size=40))) for _ in range(4000))
    assert low == pytest.approx(means[100], abs=0.1)
    assert high == pytest.approx(means[3900], abs=0.1)
    assert low < values.mean() < high


def test_bootstrap_interval_of_degenerate_samples():
    assert bootstrap_interval(np.full(7, 0.25)) == (0.25, 0.25)
    for n in range(6):
        assert all(math.isnan(v) for v in bootstrap_interval(np.arange(float(n)))), "six pairs at least"
    low, high = bootstrap_interval(np.arange(6.0))
    assert 0 < low < 2.5 < high < 5


def test_holm_by_its_definition():
    p = [0.04, 0.01, 0.03, 0.5]
    for level in (0.03, 0.05, 0.1, 0.2):
        rejected = set()
        for rank, index in enumerate(sorted(range(4), key=lambda i: p[i])):
            if p[index] >= level / (4 - rank):
                break
            rejected.add(index)
        assert {i for i, adjusted in enumerate(holm(p)) if adjusted < level} == rejected
    assert holm(p) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm([]) == []
    assert holm([0.8, 0.9]) == [1.0, 1.0]


def test_win_rate_counts_ties_as_half():
    assert win_rate(np.array([1.0, -1.0, 0.0, 2.0])) == 0.625
    assert math.isnan(win_rate(np.array([])))


def test_paired_difference_uses_common_pairs_only():
    index = pd.MultiIndex.from_tuples([("m", str(i)) for i in range(8)], names=["mesh", "prompt_id"])
    b = pd.Series(np.arange(8.0), index=index)
    a = (b + np.linspace(0.5, 1.5, 8)).iloc[::-1].iloc[:7]  # other order, one pair missing
    result = paired_difference(a, b)
    expected = [a[key] - b[key] for key in a.index]
    assert result.n == 7 and result.exact
    assert result.mean == pytest.approx(sum(expected) / 7)
    assert result.p == 2 / 2**7 and result.win_rate == 1.0
    assert result.low < result.mean < result.high
    empty = paired_difference(a.iloc[:0], b)
    assert empty.n == 0 and empty.p == 1.0


@pytest.mark.parametrize("draw", ["normal", "skewed"])
def test_intervals_cover_as_often_as_they_say_at_thirty_samples(draw):
    """2,000 experiments of 30 samples; 2 points are four standard errors of the coverage."""
    generator = np.random.default_rng(0)
    shape = (2000, 30)
    values = generator.normal(size=shape) if draw == "normal" else generator.gamma(4.0, size=shape) - 4.0
    intervals = np.array([bootstrap_interval(sample, resamples=1000) for sample in values])
    inside = (intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)
    assert inside.mean() == pytest.approx(0.95, abs=0.02)


def test_interval_equals_the_plain_formula_of_bca():
    values = np.random.default_rng(7).gamma(2.0, size=25)
    n, mean = len(values), values.mean()
    drawn = np.random.default_rng(8).choice(values, size=(40_000, n)).mean(axis=1)
    z0 = stats.norm.ppf((drawn < mean).mean())
    left_out = (values.sum() - values) / (n - 1)
    pull = left_out.mean() - left_out
    acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    z = z0 + stats.norm.ppf([(1 - expanded_level(n, 0.95)) / 2, (1 + expanded_level(n, 0.95)) / 2])
    expected = np.quantile(drawn, stats.norm.cdf(z0 + z / (1 - acceleration * z)))
    assert bootstrap_interval(values) == pytest.approx(tuple(expected), abs=0.04)


def test_expanded_level_widens_small_samples_most():
    assert expanded_level(10, 0.95) == pytest.approx(0.983, abs=1e-3)
    assert expanded_level(30, 0.95) == pytest.approx(0.962, abs=1e-3)
    assert expanded_level(10_000, 0.95) == pytest.approx(0.95, abs=1e-4)


@pytest.mark.parametrize("rate, n", [(0.7, 10), (1.0, 8), (0.0, 5), (0.5, 40)])
def test_wilson_interval_is_where_the_score_test_does_not_reject(rate, n):
    z = stats.norm.ppf(0.975)
    kept = [p for p in np.linspace(1e-6, 1 - 1e-6, 20_001) if abs(rate - p) <= z * math.sqrt(p * (1 - p) / n)]
    assert wilson(rate, n) == pytest.approx((min(kept), max(kept)), abs=1e-3)
    assert all(math.isnan(v) for v in wilson(math.nan, 0))
