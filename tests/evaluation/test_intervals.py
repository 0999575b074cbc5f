from __future__ import annotations

import numpy as np
import pytest

from lentigo.errors import DataError
from lentigo.evaluation.intervals import Estimate, Resampling, estimate


def test_groups_are_drawn_whole() -> None:
    groups = np.array(["a", "a", "b", "c", "c", "c"])
    blocks = list(Resampling.of(groups, resamples=50, seed=0).weights())
    np.testing.assert_array_equal(blocks[0], np.ones((1, 6)))
    drawn = np.concatenate(blocks[1:])
    assert drawn.shape == (50, 6)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    np.testing.assert_array_equal(drawn[:, 3], drawn[:, 5])
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()  # as many groups as there are
    assert drawn[:, 2].std() > 0


def test_blocks_are_bounded_and_do_not_change_the_draws() -> None:
    resampling = Resampling.of(np.arange(100), resamples=30, seed=4)
    small = list(resampling.weights(cells=700))
    assert max(block.size for block in small) <= 700
    np.testing.assert_array_equal(np.concatenate(small), np.concatenate(list(resampling.weights())))


def test_images_of_one_lesion_widen_the_interval() -> None:
    """Four copies of each image carry no news: the interval must be that of the lesions, not half as wide."""
    right = (np.random.default_rng(0).random(100) < 0.7).astype(float)
    copies = np.repeat(right, 4)

    def width(groups: np.ndarray, values: np.ndarray) -> float:
        samples = np.concatenate(
            [w @ values / w.sum(axis=1) for w in Resampling.of(groups, resamples=1000, seed=0).weights()]
        )
        e = estimate(samples)
        assert e.low is not None
        assert e.high is not None
        return e.high - e.low

    honest = width(np.repeat(np.arange(100), 4), copies)
    assert honest == pytest.approx(width(np.arange(100), right), rel=0.1)
    assert width(np.arange(400), copies) < 0.6 * honest


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for i in range(200):
        values = (rng.random(80) < 0.8).astype(float)
        samples = np.concatenate(
            [w @ values / w.sum(axis=1) for w in Resampling.of(np.arange(80), resamples=300, seed=i).weights()]
        )
        e = estimate(samples)
        hits += e.low is not None and e.high is not None and e.low <= 0.8 <= e.high
    assert 178 <= hits <= 199


def test_certainty_is_never_claimed() -> None:
    everything = estimate(np.ones(101), proportion_of=10)
    assert everything.value == 1
    assert everything.low == pytest.approx(0.6915, abs=1e-4)  # Clopper-Pearson, 10 of 10
    assert everything.high == 1
    nothing = estimate(np.zeros(101), proportion_of=10)
    assert (nothing.low, nothing.high) == (0.0, pytest.approx(0.3085, abs=1e-4))
    assert estimate(np.ones(101)) == Estimate(1.0)  # no share, and no spread: no interval


def test_undefined_values_and_resamples() -> None:
    assert not estimate(np.array([np.nan, 0.5, 0.5])).defined
    assert estimate(np.array([0.5])).low is None
    mostly = np.array([0.5, 0.4, 0.6, 0.5, np.nan])
    assert estimate(mostly).low is not None
    rarely = np.array([0.5, 0.4, np.nan, np.nan, np.nan])
    assert estimate(rarely) == Estimate(0.5)
    with pytest.raises(DataError, match="0 or more"):
        Resampling.of(np.arange(3), resamples=-1)


def test_an_interval_that_excludes_the_value_is_left_out() -> None:
    biased = np.array([0.07, *np.linspace(0.08, 0.24, 100)])  # as of ECE, whose resamples are larger
    assert estimate(biased) == Estimate(0.07)
    assert estimate(np.array([0.08, *biased[1:]])).low is None
    assert estimate(np.array([0.1, *biased[1:]])).low is not None


def test_text_of_an_estimate() -> None:
    assert Estimate(0.8525, 0.8, 0.9).text() == "85.2 (80.0 to 90.0)"
    assert Estimate(-0.0123, -0.03, 0.01).text(signed=True) == "−1.2 (−3.0 to +1.0)"
    assert Estimate(-0.00001).text(signed=True) == "+0.0"
    assert Estimate(0.97654).text(percent=False, digits=3) == "0.977"
    assert Estimate(float("nan")).text() == "–"
    assert Estimate(float("nan")).to_dict() == {"value": None, "low": None, "high": None}
