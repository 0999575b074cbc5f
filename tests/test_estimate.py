"""Estimates, and predictive values at a stated prevalence."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from lentigo.bundle import Spec
from lentigo.estimate import Estimate, PredictiveValues, predictive_values


def test_predictive_values_are_those_of_counted_lesions() -> None:
    # Of 10,000 lesions 200 are malignant: 180 found, 20 missed; of 9,800 others 2,940 flagged, 6,860 spared.
    ppv, npv = predictive_values(np.array([0.9]), np.array([0.7]), 0.02)
    assert ppv[0] == pytest.approx(180 / (180 + 2940))
    assert npv[0] == pytest.approx(6860 / (6860 + 20))
    assert np.isnan(predictive_values(np.array([0.0]), np.array([1.0]), 0.02)[0][0])  # nothing flagged


def test_intervals_reach_from_the_lower_ends_of_both_rates_to_the_upper() -> None:
    found = PredictiveValues.of(Estimate(0.9, 0.8, 1.0), Estimate(0.7, 0.6, 0.8), 0.1)
    assert found.ppv.value == pytest.approx(9 / (9 + 27))
    assert (found.ppv.low, found.ppv.high) == pytest.approx((8 / (8 + 36), 10 / (10 + 18)))
    assert (found.npv.low, found.npv.high) == pytest.approx((54 / (54 + 2), 1))
    bare = PredictiveValues.of(Estimate(0.0), Estimate(1.0), 0.1)
    assert bare.to_dict() == {
        "ppv": {"value": None, "low": None, "high": None},
        "npv": {"value": pytest.approx(0.9), "low": None, "high": None},
    }


@pytest.mark.parametrize("name", ["dermoscopy-7", "isic-3", "smartphone-6"])
def test_packaged_models_state_what_their_cards_state(name: str) -> None:
    folder = files("lentigo") / "bundles" / name
    spec = Spec.model_validate_json((folder / "spec.json").read_text("utf-8"))
    card = (folder / "MODEL_CARD.md").read_text("utf-8")
    found = spec.predictive_values(0.02)  # what the card is for
    assert list(found) == [point.name for point in spec.operating_points]
    for point, values in found.items():
        (row,) = (line for line in card.splitlines() if line.startswith(f"| {point.replace('_', ' ')} % |"))
        rates = spec.metrics[f"test at {point}"]
        assert f"| {rates['sensitivity'].text()} / {rates['specificity'].text()} |" in row
        assert f"| {100 * values.ppv.value:.1f} (" in row
        assert f" / {100 * values.npv.value:.1f} " in row


def test_rates_that_are_none_give_no_values() -> None:
    folder = files("lentigo") / "bundles" / "dermoscopy-7"
    document = json.loads((folder / "spec.json").read_text("utf-8"))
    document["metrics"]["test at sensitivity_90"]["specificity"]["value"] = 1.5
    del document["metrics"]["test at sensitivity_95"]["sensitivity"]
    assert Spec.model_validate(document).predictive_values(0.02) == {}
