from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from evaluation_tables import table

from lentigo.evaluation import (
    PredictionTable,
    evaluate_predictions,
    make_predictions,
    malignant_score,
    subgroup_metrics,
)
from lentigo.evaluation.fairness import divisions
from lentigo.labels import HAM10000


def with_metadata(made: PredictionTable, metadata: pd.DataFrame) -> PredictionTable:
    return make_predictions(
        images=made.images.tolist(),
        paths=made.images.tolist(),
        groups=made.groups.tolist(),
        targets=made.frame["target"].tolist(),
        probabilities=made.probabilities,
        codes=made.codes,
        metadata=metadata,
    )


def test_a_subgroup_has_the_figures_of_its_own_table() -> None:
    made = table(400, 6)
    found = {(s.attribute, s.value): s for s in subgroup_metrics(made, HAM10000, threshold=0.3, resamples=200)}
    rows = (made.frame["sex"] == "male").to_numpy()
    part = evaluate_predictions(made.subset(rows), HAM10000, resamples=0)
    male = found["sex", "male"]
    assert (male.images, male.classes) == (rows.sum(), len(set(made.targets[rows])))
    assert male.accuracy.value == pytest.approx(part.overall["accuracy"].value)
    assert male.balanced_accuracy.value == pytest.approx(part.overall["balanced_accuracy"].value)
    assert part.malignant is not None
    assert male.malignant_auc.value == pytest.approx(part.malignant.auc.value)
    scores, sick = malignant_score(made.probabilities, made.targets, HAM10000) or (np.empty(0), np.empty(0))
    assert male.sensitivity.value == pytest.approx((scores[rows & sick] >= 0.3).mean())
    assert male.specificity.value == pytest.approx((scores[rows & ~sick] < 0.3).mean())
    female = found["sex", "female"]
    assert male.gap.value == pytest.approx(male.accuracy.value - female.accuracy.value)
    assert male.gap.value == pytest.approx(-female.gap.value)
    assert sum(s.images for (attribute, _), s in found.items() if attribute == "age") == 400


def test_a_disadvantaged_subgroup_stands_out() -> None:
    made = table(400, 6)
    tone = np.where(np.arange(400) % 3 == 0, "dark", "light")
    spoiled = made.probabilities.copy()
    spoiled[tone == "dark"] = np.roll(spoiled[tone == "dark"], 1, axis=1)
    metadata = pd.DataFrame({"skin_tone": tone})
    found = {
        s.value: s for s in subgroup_metrics(with_metadata(made.with_probabilities(spoiled), metadata), resamples=200)
    }
    assert found["dark"].differs
    assert found["dark"].gap.value < -0.5
    fair = {s.value: s for s in subgroup_metrics(with_metadata(made, metadata), resamples=200)}
    assert not fair["dark"].differs


def test_small_subgroups_are_marked_and_claim_nothing() -> None:
    made = table(200, 6)
    site = np.array(["back"] * 197 + ["ear"] * 3)
    right = made.probabilities.copy()
    right[197:] = np.eye(7)[made.targets[197:]]
    ear = subgroup_metrics(with_metadata(made.with_probabilities(right), pd.DataFrame({"site": site})), resamples=200)[
        1
    ]
    assert (ear.value, ear.images, ear.small, ear.differs) == ("ear", 3, True, False)
    assert ear.accuracy.value == 1
    assert ear.accuracy.low is not None
    assert ear.accuracy.low < 0.5  # three right answers prove little
    assert ear.gap.low is not None
    assert ear.gap.low < 0 < ear.gap.value


def test_bands_words_and_unknowns() -> None:
    metadata = pd.DataFrame(
        {
            "age": [0, 29.9, 30, 74, 75, np.nan],
            "sex": ["Male", "FEMALE", " male ", "", "unknown", None],
            "fitzpatrick": [1, 3.0, 0, np.nan, 6, 2],
            "ita": [60, 50, 35, 20, -10, -40],
            "site": ["back"] * 6,
        }
    )
    found = divisions(metadata)
    assert found["age"].tolist() == ["under 30", "under 30", "30 to 44", "60 to 74", "75 and over", "not known"]
    assert found["sex"].tolist() == ["male", "female", "male", "not known", "not known", "not known"]
    assert found["skin type (Fitzpatrick, as recorded)"].tolist() == [
        "type 1",
        "type 3",
        "not known",
        "not known",
        "type 6",
        "type 2",
    ]
    assert found["skin tone (estimated from the image)"].tolist() == [
        "very light",
        "light",
        "intermediate",
        "tan",
        "brown",
        "dark",
    ]
    assert "site" not in found  # all agree: nothing to divide by


def test_no_metadata_no_subgroups() -> None:
    assert subgroup_metrics(with_metadata(table(50, 6), pd.DataFrame())) == ()
