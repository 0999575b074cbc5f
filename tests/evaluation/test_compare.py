from __future__ import annotations

import csv
import io
import json
from math import comb
from pathlib import Path

import numpy as np
import pytest
from evaluation_tables import run_folder, table, write_table

from lentigo.errors import DataError
from lentigo.evaluation import PredictionTable, compare_runs
from lentigo.evaluation.compare import bootstrap_p, holm, mcnemar


def relabelled(made: PredictionTable, wrong: np.ndarray) -> PredictionTable:
    """The table answered right everywhere but in the rows of ``wrong``."""
    probabilities = np.full((len(made), 7), 0.05)
    answer = np.where(wrong, (made.targets + 1) % 7, made.targets)
    probabilities[np.arange(len(made)), answer] = 0.7
    return made.with_probabilities(probabilities)


def test_mcnemar_is_the_exact_binomial() -> None:
    for a, b in ((3, 9), (9, 3), (0, 6), (5, 5), (1, 0)):
        n, k = a + b, min(a, b)
        by_hand = min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
        assert mcnemar(a, b) == pytest.approx(by_hand)
    assert mcnemar(0, 0) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_bootstrap_p_is_two_sided_and_never_zero() -> None:
    assert bootstrap_p(np.concatenate([[0.1], np.full(999, 0.1)])) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.concatenate([[0.0], np.zeros(999)])) == 1.0
    half = np.concatenate([[0.1], np.full(99, -0.1), np.full(900, 0.1)])
    assert bootstrap_p(half) == bootstrap_p(-half) == pytest.approx(0.2)
    assert bootstrap_p(np.array([0.1, np.nan, 0.1, 0.2])) == pytest.approx(2 / 3)


def test_a_real_difference_is_called_real_and_noise_noise() -> None:
    base = table(300, 4)
    rng = np.random.default_rng(0)
    good = relabelled(base, rng.random(300) < 0.05)
    bad = relabelled(base, rng.random(300) < 0.35)
    nearly = relabelled(base, rng.random(300) < 0.06)
    comparison = compare_runs({"good": good, "bad": bad, "nearly": nearly}, resamples=400)
    pairs = {(p.first, p.second): p for p in comparison.pairs}
    assert set(pairs) == {("good", "bad"), ("good", "nearly"), ("bad", "nearly")}
    assert pairs["good", "bad"].differences["accuracy"].real
    assert pairs["good", "bad"].differences["accuracy"].estimate.value < 0  # second minus first
    assert "good is better than bad" in pairs["good", "bad"].verdict()
    same = pairs["good", "nearly"]
    assert not same.differences["accuracy"].real
    assert "inside the noise" in same.verdict()
    assert "do not show that one is better" in same.verdict()
    for metric in ("accuracy", "balanced_accuracy"):
        raw = [p.differences[metric].p for p in comparison.pairs]
        assert [p.differences[metric].p_adjusted for p in comparison.pairs] == pytest.approx(holm(raw))


def test_the_paired_interval_is_narrower_than_two_apart() -> None:
    base = table(300, 4)
    wrong = np.random.default_rng(0).random(300) < 0.3
    few = wrong.copy()
    few[np.flatnonzero(wrong)[:6]] = False
    comparison = compare_runs({"a": relabelled(base, wrong), "b": relabelled(base, few)}, resamples=400)
    (pair,) = comparison.pairs
    gain = pair.differences["accuracy"].estimate
    apart = comparison.runs[0].metrics["accuracy"]
    assert gain.value == pytest.approx(6 / 300)
    assert (pair.only_first, pair.only_second) == (0, 6)
    assert (gain.high or 0) - (gain.low or 0) < 0.6 * ((apart.high or 0) - (apart.low or 0))


def test_rows_are_matched_by_image_not_by_order() -> None:
    base = table(120, 4)
    shuffled = base.subset(np.random.default_rng(0).permutation(120))
    (pair,) = compare_runs({"a": base, "b": shuffled}, resamples=100).pairs
    assert (pair.only_first, pair.only_second) == (0, 0)
    assert pair.differences["accuracy"].estimate.value == 0
    assert pair.differences["accuracy"].p == 1
    assert "right and wrong on the very same images" in pair.verdict()


def test_different_test_sets_are_refused() -> None:
    base = table(120, 4)
    part = base.subset(np.arange(100))
    with pytest.raises(
        DataError,
        match=r"a and b were not evaluated on the same images \(120 and 100, 100 in both; image_0100 is only in a\)",
    ):
        compare_runs({"a": base, "b": part})
    with pytest.raises(DataError, match="image_0100 is only in b"):
        compare_runs({"a": part, "b": base})
    other = table(120, 5)
    with pytest.raises(DataError, match="disagree on the true class"):
        compare_runs({"a": base, "b": other})


def test_bad_requests_are_refused() -> None:
    base = table(50, 4)
    with pytest.raises(DataError, match="two runs or more"):
        compare_runs({"a": base})
    with pytest.raises(DataError, match="did you mean 'caco'"):
        compare_runs({"caco": base, "se": base}, reference="cacao")
    with pytest.raises(DataError, match="100 resamples"):
        compare_runs({"a": base, "b": base}, resamples=10)


def test_a_reference_leaves_fewer_pairs() -> None:
    base = table(80, 4)
    comparison = compare_runs({"a": base, "b": base, "c": base}, reference="b", resamples=100)
    assert [(p.first, p.second) for p in comparison.pairs] == [("b", "a"), ("b", "c")]


def test_run_folders_to_markdown_csv_and_json(tmp_path: Path) -> None:
    first = run_folder(tmp_path / "caco", count=150)
    second = run_folder(tmp_path / "se", count=150, seed=9, name="se", skill=2.5)
    comparison = compare_runs([first, second], resamples=200)
    text = comparison.markdown()
    assert "| run | protocol | split seed | seed | parameters |" in text
    assert "| caco | lesion | 3 | 0 | 1,271,958 |" in text
    assert "| se − caco |" in text
    lines = text.splitlines()
    for start in (i for i, line in enumerate(lines) if set(line) <= set("|-: ") and line):
        assert lines[start - 1].count("|") == lines[start].count("|") == lines[start + 1].count("|")

    rows = list(csv.DictReader(io.StringIO(comparison.csv())))
    assert [r["metric"] for r in rows if r["kind"] == "run" and r["first"] == "se"] == [
        "accuracy",
        "balanced_accuracy",
        "bacc_ovr",
        "macro_f1",
        "macro_auc",
    ]
    (difference,) = (r for r in rows if r["kind"] == "difference" and r["metric"] == "accuracy")
    assert float(difference["low"]) <= float(difference["value"]) <= float(difference["high"])
    assert {r["protocol"] for r in rows if r["kind"] == "run"} == {"lesion"}

    written = comparison.write(tmp_path / "out" / "table.v1")
    assert [p.name for p in written] == [
        "table.v1.md",
        "table.v1.csv",
        "table.v1.json",
        "table.v1_curves.png",
        "table.v1_curves.svg",
    ]
    loaded = json.loads((tmp_path / "out" / "table.v1.json").read_text(encoding="utf-8"))
    assert loaded["pairs"][0]["differences"]["accuracy"]["value"] == pytest.approx(float(difference["value"]), abs=1e-6)
    assert loaded["runs"][1]["name"] == "se"


def test_runs_of_one_name_are_told_apart_by_path(tmp_path: Path) -> None:
    made = table(60, 4)
    one, two = write_table(tmp_path / "one" / "test.csv", made), write_table(tmp_path / "two" / "test.csv", made)
    comparison = compare_runs([one, two], resamples=100)
    assert [r.name for r in comparison.runs] == [str(one), str(two)]
    with pytest.raises(DataError, match="given twice"):
        compare_runs([one, one])
    with pytest.raises(DataError, match="no such run folder"):
        compare_runs([one, tmp_path / "three"])
