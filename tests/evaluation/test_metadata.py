"""Likelihood ratios of age, sex and site: against counting by hand, and what missing values must not do."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from lentigo.bundle import Metadata, metadata_value
from lentigo.errors import DataError
from lentigo.evaluation import metadata as study
from lentigo.evaluation.predictions import make_predictions
from lentigo.labels import ClassLabel, LabelSet

LABELS = LabelSet("two", (ClassLabel("mel", "melanoma", "", True), ClassLabel("nv", "naevus", "", False)))
FRAME = pd.DataFrame(
    {
        "age": [85, 85, 81, 35, 31, 33, None, 38],
        "sex": ["female", "female", "", "MALE", "male", "female", "unknown", "male"],
    }
)
TARGETS = np.array([0, 0, 0, 1, 1, 1, 1, 0])
GROUPS = ["a", "a", "b", "c", "d", "e", "f", "g"]


def fitted() -> Metadata:
    found = study.fit_metadata(FRAME, TARGETS, GROUPS, 2, ("age", "sex", "site"))
    assert found is not None
    return found


def test_ratios_are_counted_by_lesion() -> None:
    found = fitted()
    assert set(found.log_ratios) == {"age", "sex"}  # there is no site
    assert found.groups == {"age": 6, "sex": 5}
    # Six lesions with an age: 80 and more twice, both melanoma; the thirties 4 times, one of them a melanoma.
    for band, overall, of_class in (("80", 2 / 6, (2, 0)), ("30", 4 / 6, (1, 3))):
        for k, all_of_class in enumerate((3, 3)):
            likelihood = (of_class[k] + study.PSEUDO_LESIONS * overall) / (all_of_class + study.PSEUDO_LESIONS)
            expected = study.WEIGHT * math.log(likelihood / overall)
            assert found.log_ratios["age"][band][k] == pytest.approx(expected, abs=1e-4)


def test_update_is_bayes_rule_and_missing_values_change_no_bit() -> None:
    found = fitted()
    probabilities = np.array([[0.3, 0.7]] * 3)
    after = found.update(probabilities, [{"age": "82.0", "sex": " Female "}, {"age": "", "sex": "unknown"}, {}])
    odds = 0.3 / 0.7
    for name, value in (("age", "80"), ("sex", "female")):
        mel, nv = found.log_ratios[name][value]  # type: ignore[index]
        odds *= math.exp(mel - nv)
    assert after[0] == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])
    assert (after[1:] == probabilities[1:]).all()
    assert (found.update(probabilities[:1], [{"age": 5}]) == probabilities[:1]).all()  # nobody of that age was seen


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"age": "old"}, "age 'old': give years, from 0 to 130"),
        ({"age": -2}, "from 0 to 130"),
        ({"age": "inf"}, "from 0 to 130"),
        ({"sex": "F"}, "sex 'f' is not known; known: female, male"),
    ],
)
def test_values_that_are_not_known_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        fitted().update(np.array([[0.5, 0.5]]), [given])


def test_unknown_words_are_no_values() -> None:
    assert [metadata_value("sex", word) for word in ("", None, "Unknown", float("nan"), "n/a", "Male")] == [
        *[None] * 5,
        "male",
    ]
    assert [metadata_value("age", age) for age in (0, 29.9, 30, "79", 130, -1)] == ["0", "0", "30", "70", "80", None]


def test_effect_is_paired_and_leaves_images_without_values_alone() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=60)
    mel = rng.uniform(0.2, 0.8, 60)
    ages = np.where(np.arange(60) < 10, np.nan, np.where(targets == 0, 85, 35))
    table = make_predictions(
        images=[f"i{n}" for n in range(60)],
        paths=[f"i{n}.jpg" for n in range(60)],
        groups=[f"g{n // 2}" for n in range(60)],
        targets=[LABELS.codes[t] for t in targets],
        codes=LABELS.codes,
        probabilities=np.column_stack([mel, 1 - mel]),
        metadata=pd.DataFrame({"age": ages}),
    )
    both = study.with_metadata(table, fitted())
    effect = study.measure_metadata(table, both, LABELS, resamples=200)
    assert (effect.images, effect.known) == (60, 50)
    assert (both[:10] == table.probabilities[:10]).all()
    accuracy = (both.argmax(1) == targets).mean() - (table.probabilities.argmax(1) == targets).mean()
    assert effect.difference["accuracy"].value == pytest.approx(accuracy)
    assert effect.difference["malignant_auc"].low > 0
