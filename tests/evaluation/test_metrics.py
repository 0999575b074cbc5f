"""Every metric against scikit-learn and against slow manual versions, with and without absent classes."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from evaluation_tables import table
from sklearn import metrics as reference

from lentigo.errors import DataError
from lentigo.evaluation import (
    PredictionTable,
    apply_temperature,
    evaluate_predictions,
    make_predictions,
    malignant_score,
    operating_points,
    risk_coverage,
)
from lentigo.evaluation.intervals import Resampling
from lentigo.evaluation.metrics import Counts, Ranking, confusion_matrix
from lentigo.labels import HAM10000, HYPO, ISIC2017, LabelSet


@pytest.fixture(scope="module")
def made() -> PredictionTable:
    return table(300, 3)


def without_classes(made: PredictionTable, *codes: str) -> PredictionTable:
    return made.subset(~made.frame["target"].isin(codes).to_numpy())


@pytest.mark.parametrize("absent", [(), ("df", "vasc")])
def test_overall_figures_are_scikit_learns(made: PredictionTable, absent: tuple[str, ...]) -> None:
    part = without_classes(made, *absent)
    overall = evaluate_predictions(part, HAM10000, resamples=0).overall
    y, p = part.targets, part.probabilities
    said = p.argmax(axis=1)
    assert overall["accuracy"].value == pytest.approx(reference.accuracy_score(y, said))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predicted classes that are not there
        assert overall["balanced_accuracy"].value == pytest.approx(reference.balanced_accuracy_score(y, said))
    assert overall["macro_f1"].value == pytest.approx(reference.f1_score(y, said, average="macro", zero_division=0))
    assert overall["log_loss"].value == pytest.approx(reference.log_loss(y, p, labels=range(7)))
    assert overall["brier"].value == pytest.approx(((p - np.eye(7)[y]) ** 2).sum(axis=1).mean())
    present = sorted(set(y))
    assert overall["macro_auc"].value == pytest.approx(
        np.mean([reference.roc_auc_score(y == k, p[:, k]) for k in present])
    )
    assert overall["accuracy"].low is None  # no resamples, no interval


@pytest.mark.parametrize("absent", [(), ("df", "vasc")])
def test_class_figures_by_hand(made: PredictionTable, absent: tuple[str, ...]) -> None:
    part = without_classes(made, *absent)
    metrics = evaluate_predictions(part, HAM10000, resamples=0)
    y, p = part.targets, part.probabilities
    said = p.argmax(axis=1)
    halves = []
    for k, code in enumerate(part.codes):
        true = sum(1 for a, b in zip(y, said, strict=True) if a == k and b == k)
        missed = sum(1 for a, b in zip(y, said, strict=True) if a == k and b != k)
        false = sum(1 for a, b in zip(y, said, strict=True) if a != k and b == k)
        rest = len(y) - true - missed - false
        found = {name: e.value for name, e in metrics.per_class[code].items()}
        assert metrics.support[code] == true + missed
        assert found["specificity"] == pytest.approx(rest / (rest + false))
        if code in absent:
            assert math.isnan(found["sensitivity"])
            assert math.isnan(found["auc"])
            assert math.isnan(found["average_precision"])
            continue
        assert found["sensitivity"] == pytest.approx(true / (true + missed))
        assert found["precision"] == pytest.approx(true / (true + false))
        assert found["f1"] == pytest.approx(2 * true / (2 * true + false + missed))
        assert found["auc"] == pytest.approx(reference.roc_auc_score(y == k, p[:, k]))
        assert found["average_precision"] == pytest.approx(reference.average_precision_score(y == k, p[:, k]))
        halves.append((found["sensitivity"] + found["specificity"]) / 2)
    assert metrics.overall["bacc_ovr"].value == pytest.approx(np.mean(halves))
    np.testing.assert_array_equal(metrics.confusion, reference.confusion_matrix(y, said, labels=range(7)))


def test_the_two_balanced_accuracies_differ(made: PredictionTable) -> None:
    overall = evaluate_predictions(made, HAM10000, resamples=0).overall
    assert overall["bacc_ovr"].value > overall["balanced_accuracy"].value + 0.02


def test_every_resample_is_what_repeated_rows_would_give(made: PredictionTable) -> None:
    """A weight of two is the same as the row twice, a weight of zero the same as no row."""
    y, p = made.targets, made.probabilities
    said = p.argmax(axis=1)
    blocks = list(Resampling.of(made.groups, resamples=12, seed=5).weights())
    weights = np.concatenate(blocks)
    counted = Counts(y, said, 7).metrics(weights)
    rare = Ranking(p[:, 3], y == 3)
    areas, precisions = rare.areas(weights)
    absent = 0
    for i, row in enumerate(weights):
        rows = np.repeat(np.arange(len(y)), row.astype(int))
        yr, pr, sr = y[rows], p[rows], said[rows]
        absent += 7 - len(set(yr))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert counted["balanced_accuracy"][i] == pytest.approx(reference.balanced_accuracy_score(yr, sr))
        assert counted["accuracy"][i] == pytest.approx((yr == sr).mean())
        assert counted["macro_f1"][i] == pytest.approx(reference.f1_score(yr, sr, average="macro", zero_division=0))
        if (yr == 3).any():
            assert areas[i] == pytest.approx(reference.roc_auc_score(yr == 3, pr[:, 3]))
            assert precisions[i] == pytest.approx(reference.average_precision_score(yr == 3, pr[:, 3]))
        else:
            assert math.isnan(areas[i])


def test_a_class_that_a_resample_lacks_drops_out_of_its_means() -> None:
    targets, said = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    weights = np.array([[1.0, 1, 1, 1], [2, 1, 1, 0]])
    drawn = Counts(targets, said, 3).metrics(weights)
    assert math.isnan(drawn["sensitivity"][1, 2])
    assert drawn["balanced_accuracy"] == pytest.approx([(0.5 + 1 + 1) / 3, (2 / 3 + 1) / 2])
    assert drawn["accuracy"] == pytest.approx([0.75, 0.75])


def test_ranks_with_ties_and_weights_by_hand() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, 40) / 4
    positive = rng.random(40) < 0.4
    weights = rng.integers(0, 3, (5, 40)).astype(float)
    ranking = Ranking(scores, positive)
    areas, precisions = ranking.areas(weights)
    for i, w in enumerate(weights):
        won = total = 0.0
        for a in np.flatnonzero(positive):
            for b in np.flatnonzero(~positive):
                won += w[a] * w[b] * (1.0 if scores[a] > scores[b] else 0.5 if scores[a] == scores[b] else 0.0)
                total += w[a] * w[b]
        assert areas[i] == pytest.approx(won / total)
        assert precisions[i] == pytest.approx(reference.average_precision_score(positive, scores, sample_weight=w))
        for wanted in (0.5, 0.8, 0.95):
            best = 0.0
            for threshold in [*np.unique(scores), np.inf]:
                flagged = scores >= threshold
                if (w * ~positive * ~flagged).sum() / (w * ~positive).sum() >= wanted - 1e-12:
                    best = max(best, (w * positive * flagged).sum() / (w * positive).sum())
            assert ranking.sensitivity_at(weights, wanted)[i] == pytest.approx(best)


def test_risk_and_coverage_by_hand() -> None:
    made = table(80, 7)
    coverage, risk = risk_coverage(made.probabilities, made.targets)
    order = np.argsort(-made.probabilities.max(axis=1))
    wrong = (made.probabilities.argmax(axis=1) != made.targets)[order]
    expected = [wrong[: n + 1].mean() for n in range(80)]
    np.testing.assert_allclose(risk, expected)
    np.testing.assert_allclose(coverage, np.arange(1, 81) / 80)
    assert evaluate_predictions(made, resamples=0).overall["aurc"].value == pytest.approx(np.mean(expected))
    tied = np.array([[0.8, 0.2], [0.8, 0.2], [0.6, 0.4]])
    coverage, risk = risk_coverage(tied, np.array([0, 1, 0]))
    np.testing.assert_allclose(coverage, [2 / 3, 1])  # equal confidence is answered together
    np.testing.assert_allclose(risk, [1 / 2, 1 / 3])


def test_temperature_changes_probabilities_only(made: PredictionTable) -> None:
    plain = evaluate_predictions(made, resamples=0)
    cooled = evaluate_predictions(made, resamples=0, temperature=2.0)
    assert plain.before_temperature == {}
    assert cooled.before_temperature["log_loss"].value == pytest.approx(plain.overall["log_loss"].value)
    assert cooled.before_temperature["ece"].value == pytest.approx(plain.overall["ece"].value)
    softened = apply_temperature(made.probabilities, 2.0)
    assert cooled.overall["log_loss"].value == pytest.approx(
        reference.log_loss(made.targets, softened, labels=range(7))
    )
    assert cooled.overall["accuracy"] == plain.overall["accuracy"]
    np.testing.assert_array_equal(cooled.confusion, plain.confusion)


def test_malignant_against_benign(made: PredictionTable) -> None:
    metrics = evaluate_predictions(made, HAM10000, resamples=200).malignant
    assert metrics is not None
    sick = np.isin(made.targets, [HAM10000.index(c) for c in ("akiec", "bcc", "mel")])
    scores = made.frame[["akiec", "bcc", "mel"]].sum(axis=1).to_numpy()
    assert (metrics.positives, metrics.negatives) == (sick.sum(), (~sick).sum())
    assert metrics.auc.value == pytest.approx(reference.roc_auc_score(sick, scores))
    false, true, _ = reference.roc_curve(sick, scores, drop_intermediate=False)
    for specificity, e in metrics.sensitivity_at.items():
        assert e.value == pytest.approx(true[false <= 1 - specificity + 1e-12].max())
        assert e.low is not None
        assert e.low <= e.value <= (e.high or 0)
    assert metrics.chosen_on == "test"
    for point, wanted in zip(metrics.points, (0.9, 0.95), strict=True):
        assert point.sensitivity.value >= wanted
        higher = scores[scores > point.threshold].min()
        assert (scores[sick] >= higher).mean() < wanted  # no higher threshold would do


def test_thresholds_from_validation_are_kept(made: PredictionTable) -> None:
    metrics = evaluate_predictions(made, HAM10000, resamples=0, thresholds={"mine": 0.25}).malignant
    assert metrics is not None
    assert metrics.chosen_on == "validation"
    (point,) = metrics.points
    scores, sick = malignant_score(made.probabilities, made.targets, HAM10000) or (np.empty(0), np.empty(0))
    assert (point.name, point.threshold) == ("mine", 0.25)
    assert point.sensitivity.value == pytest.approx((scores[sick] >= 0.25).mean())
    assert point.specificity.value == pytest.approx((scores[~sick] < 0.25).mean())


def test_predictive_values_at_the_prevalence_of_the_table_are_its_own(made: PredictionTable) -> None:
    scores, positive = malignant_score(made.probabilities, made.targets, HAM10000) or (np.empty(0), np.empty(0))
    found = evaluate_predictions(
        made, HAM10000, resamples=50, thresholds={"p": 0.4}, prevalence=float(positive.mean())
    ).malignant
    assert found is not None
    flagged = scores >= 0.4
    (point,) = found.points
    assert point.ppv.value == pytest.approx(positive[flagged].mean())
    assert point.npv.value == pytest.approx((~positive[~flagged]).mean())
    assert point.ppv.low is not None
    assert point.ppv.low <= point.ppv.value <= (point.ppv.high or 0)
    rare = evaluate_predictions(made, HAM10000, resamples=0, thresholds={"p": 0.4}).malignant
    assert rare is not None
    assert rare.prevalence == 0.02
    assert rare.points[0].ppv.value < point.ppv.value
    assert rare.points[0].sensitivity.value == point.sensitivity.value
    for bad in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(DataError, match="a prevalence is above 0 and below 1"):
            evaluate_predictions(made, HAM10000, prevalence=bad)


def test_operating_points_reach_what_they_promise() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.65, 0.15])
    positive = np.array([True] * 10 + [False] * 2)
    ninety, everything = operating_points(scores, positive, (0.9, 1.0))
    assert ninety.name == "sensitivity_90"
    assert (ninety.threshold, ninety.sensitivity, ninety.specificity) == (0.1, 0.9, 0.0)
    assert (everything.threshold, everything.sensitivity) == (0.05, 1.0)
    assert operating_points(scores, np.ones(12, dtype=bool)) == ()


def test_no_malignant_section_where_the_classes_do_not_say(made: PredictionTable) -> None:
    own = LabelSet.of("own", [f"kind_{k}" for k in range(7)])
    assert malignant_score(made.probabilities, made.targets, own) is None
    benign = LabelSet("benign", HYPO.classes[:7])
    assert malignant_score(made.probabilities, made.targets, benign) is None
    only_benign = without_classes(made, "akiec", "bcc", "mel")
    section = evaluate_predictions(only_benign, HAM10000, resamples=20).malignant
    assert section is not None
    assert section.positives == 0
    assert not section.auc.defined
    assert section.points == ()


def test_labels_must_be_those_of_the_table(made: PredictionTable) -> None:
    with pytest.raises(DataError, match="are not those of label set isic2017"):
        evaluate_predictions(made, ISIC2017)
    shuffled = LabelSet("shuffled", HAM10000.classes[::-1])
    assert (
        evaluate_predictions(made, shuffled, resamples=0).malignant
        == evaluate_predictions(made, HAM10000, resamples=0).malignant
    )


def test_intervals_hold_the_value_and_the_seed_repeats_them(made: PredictionTable) -> None:
    first = evaluate_predictions(made, HAM10000, resamples=300, seed=1)
    again = evaluate_predictions(made, HAM10000, resamples=300, seed=1)
    other = evaluate_predictions(made, HAM10000, resamples=300, seed=2)
    assert first.to_dict() == again.to_dict()
    assert first.overall["accuracy"] != other.overall["accuracy"]
    for name in ("accuracy", "balanced_accuracy", "bacc_ovr", "macro_f1", "macro_auc", "log_loss", "brier", "aurc"):
        e = first.overall[name]
        assert e.low is not None
        assert e.high is not None
        assert e.low < e.value < e.high


def test_numbers_for_json_have_no_nan(made: PredictionTable) -> None:
    import json

    text = json.dumps(
        evaluate_predictions(without_classes(made, "df"), HAM10000, resamples=50).to_dict(), allow_nan=False
    )
    back = json.loads(text)
    assert back["per_class"]["df"]["sensitivity"] == {"value": None, "low": None, "high": None}
    assert back["per_class"]["df"]["support"] == 0
    assert np.array(back["confusion"]).sum() == back["images"]


def test_confusion_counts_rows_as_truth() -> None:
    np.testing.assert_array_equal(confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2), [[1, 1], [0, 1]])


def test_a_perfect_sensitivity_gives_the_negative_predictive_value_an_interval() -> None:
    images = [f"i{k}" for k in range(40)]
    malignant = np.array([0.9] * 20 + [0.1, 0.95] * 10)
    made = make_predictions(
        images=images,
        paths=images,
        groups=images,
        targets=["mel"] * 20 + ["nv"] * 20,
        probabilities=np.column_stack([malignant, 1 - malignant, np.zeros(40)]),
        codes=ISIC2017.codes,
    )
    measured = evaluate_predictions(made, ISIC2017, resamples=100, thresholds={"half": 0.5}).malignant
    assert measured is not None
    (point,) = measured.points
    assert (point.sensitivity.value, point.specificity.value, point.npv.value) == (1.0, 0.5, 1.0)
    assert point.npv.low is not None
    assert 0.98 < point.npv.low < 1  # at a prevalence of 2 %
    assert point.ppv.low is not None
