"""Figures of several seeds together, and paired differences between rows."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_tables import table_of

from lentigo.errors import DataError
from lentigo.evaluation import Estimate, evaluate_predictions
from lentigo.evaluation.seeds import Measured, seed_weights


def ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def test_metrics_of_the_probabilities_are_those_of_the_evaluation() -> None:
    table = table_of(0.7, 3, codes=("mel", "nv", "bkl"))
    found = Measured({"x": {0: table}}, resamples=200, temperatures={"x": {0: 1.7}}).figures("x").probability
    expected = evaluate_predictions(table, resamples=200, temperature=1.7)
    assert expected.malignant is not None
    assert found["macro_auc"].value == pytest.approx(expected.overall["macro_auc"].value)
    assert found["ece"].value == pytest.approx(expected.overall["ece"].value)
    assert found["malignant_auc"].value == pytest.approx(expected.malignant.auc.value)
    assert found["malignant_sensitivity"].value == pytest.approx(expected.malignant.sensitivity_at[0.9].value)
    assert ends(found["macro_auc"]) == pytest.approx(ends(expected.overall["macro_auc"]))


def test_a_figure_is_the_mean_over_seeds_and_its_interval_covers_both_spreads() -> None:
    runs = {k: table_of(share, 5) for k, share in enumerate((0.5, 0.7, 0.9))}
    together = Measured({"x": runs}, resamples=500).figures("x")
    values = [together.per_seed[k]["accuracy"] for k in range(3)]
    accuracy = together.overall["accuracy"]
    assert accuracy.value == pytest.approx(np.mean(values))
    alone = Measured({"x": {1: runs[1]}}, resamples=500).figures("x").overall["accuracy"]
    assert ends(accuracy)[0] < accuracy.value < ends(accuracy)[1]
    assert np.ptp(ends(accuracy)) > 1.3 * np.ptp(ends(alone))
    assert together.confusion.sum() == 3 * 120


def test_drawing_one_seed_less_gives_the_variance_of_a_mean() -> None:
    values = np.array([0.2, 0.5, 0.9, 0.4])
    weights = seed_weights(4, 200_001, 0)
    assert (weights[0] == 1).all()
    assert (weights[1:].sum(axis=1) == 3).all()
    drawn = weights[1:] @ values / 3
    assert drawn.var() == pytest.approx(values.var(ddof=1) / 4, rel=0.03)


def test_pairs_are_paired_on_lesions_and_seeds() -> None:
    runs = {"low": {k: table_of(0.6, k) for k in range(3)}, "high": {k: table_of(0.9, k) for k in range(2)}}
    (pair,) = Measured(runs, resamples=400).pairs([("low", "high")])
    assert pair.seeds == (0, 1)
    assert pair.differences["accuracy"].real
    assert pair.differences["accuracy"].estimate.value > 0.2
    assert set(pair.mcnemar) == {0, 1}
    same = Measured({"a": runs["low"], "b": runs["low"]}, resamples=400).pairs([("a", "b")])[0]
    assert same.differences["accuracy"].estimate.value == 0
    assert not same.differences["accuracy"].real
    assert same.differences["accuracy"].p == 1


def test_runs_on_other_images_cannot_share_a_table() -> None:
    with pytest.raises(DataError, match="not evaluated on the same images"):
        Measured({"a": {0: table_of(0.5, 0)}, "b": {0: table_of(0.5, 0, images=114)}})
