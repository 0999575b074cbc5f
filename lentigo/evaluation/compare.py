"""Paired comparison of runs on the same test images.

Runs evaluated on the same images are not independent, so each pair gets two paired tests:

* McNemar's test, exact binomial, on the images that only one run classifies correctly (McNemar, *Psychometrika*
  12, 1947). It assumes independent images.
* The paired cluster bootstrap of the difference in accuracy and in balanced accuracy. It resamples whole
  lesions, the same for both runs.

With more than two runs, p values are corrected by Holm's method (*Scand. J. Statistics* 6, 1979).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from lentigo.data.groups import ASK, LEAK, recorded_groups
from lentigo.errors import DataError, did_you_mean
from lentigo.estimate import plain
from lentigo.evaluation.intervals import RESAMPLES, Estimate, FloatArray, Resampling, estimate
from lentigo.evaluation.markdown import p_text, table_lines
from lentigo.evaluation.metrics import Counts, draw_each, evaluate_predictions
from lentigo.evaluation.predictions import PredictionTable
from lentigo.evaluation.runfiles import read_run
from lentigo.files import write_json, write_text
from lentigo.text import csv_line

ALPHA = 0.05
_FACTS = ("protocol", "split_seed", "seed", "parameters")
_HEADINGS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "bacc_ovr": "BACC (one vs rest)",
    "macro_f1": "macro F1",
    "macro_auc": "macro AUC",
}
TESTED = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class RunResult:
    """One run in a comparison.

    Attributes:
        name: display name.
        source: path it was read from; None for a table in memory.
        facts: protocol, split_seed, seed, network and parameters, where known.
        metrics: accuracy, balanced_accuracy, bacc_ovr, macro_f1, macro_auc.
        log: one row per epoch; None without a log.
    """

    name: str
    source: Path | None
    facts: Mapping[str, Any]
    metrics: dict[str, Estimate]
    log: pd.DataFrame | None = None


@dataclass(frozen=True)
class Difference:
    """Difference between the two runs of a pair in one metric.

    Attributes:
        estimate: second minus first, -1 to 1, with its paired 95 % interval.
        p: two-sided p value.
        p_adjusted: p after Holm's correction over all pairs.
    """

    estimate: Estimate
    p: float
    p_adjusted: float

    @property
    def real(self) -> bool:
        """Return whether the corrected p is below 0.05 and the interval excludes zero."""
        return self.p_adjusted < ALPHA and self.estimate.excludes_zero

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {**self.estimate.to_dict(), "p": self.p, "p_holm": self.p_adjusted, "real": self.real}


@dataclass(frozen=True)
class Pair:
    """Paired comparison of two runs.

    Attributes:
        first: name of one run.
        second: name of the other.
        only_first: images that only the first run classifies correctly.
        only_second: images that only the second run classifies correctly.
        differences: accuracy (p of McNemar's test) and balanced_accuracy (p of the bootstrap).
    """

    first: str
    second: str
    only_first: int
    only_second: int
    differences: dict[str, Difference]

    def verdict(self) -> str:
        """Return the conclusion as a sentence."""
        if self.only_first == self.only_second == 0:
            return f"{self.first} and {self.second}: right and wrong on the very same images."
        parts = []
        for metric, d in self.differences.items():
            points = d.estimate.value * 100
            size = f"{abs(points):.1f} points"
            test = f"95 % interval {_points(d.estimate)}, p {p_text(d.p_adjusted, sign=True)}"
            words = metric.replace("_", " ")
            if d.real:
                better, worse = (self.second, self.first) if points > 0 else (self.first, self.second)
                parts.append(f"in {words}, {better} is better than {worse} by {size} ({test})")
            else:
                parts.append(f"in {words}, the difference of {size} is inside the noise ({test})")
        real = any(d.real for d in self.differences.values())
        ending = "." if real else ": these data do not show that one is better."
        return f"{self.first} and {self.second}: {'; '.join(parts)}{ending}"


@dataclass(frozen=True)
class Comparison:
    """Comparison of several runs, with all paired tests.

    Attributes:
        runs: the runs, in the given order.
        pairs: all pairs, or all pairs with the reference.
        images: number of test images, the same for all runs.
        groups: number of lesions or patients.
        grouped: whether any group holds more than one image.
        resamples: bootstrap resamples.
        seed: seed of the bootstrap.
    """

    runs: tuple[RunResult, ...]
    pairs: tuple[Pair, ...]
    images: int
    groups: int
    grouped: bool
    resamples: int
    seed: int

    def markdown(self) -> str:
        """Format the comparison as Markdown: runs, pairs, and conclusions."""
        sources = [recorded_groups(r.facts) for r in self.runs]
        named = {source.units for source in sources if source.known}
        unit = (named.pop() if len(named) == 1 else "groups") if self.grouped else "images"
        among = f", of {self.groups} {unit}" if self.grouped else ""
        unknown = [r.name for r, source in zip(self.runs, sources, strict=True) if not source.known]
        many = len(self.pairs) > 1
        holm = f" p values in brackets are corrected by Holm's method for {len(self.pairs)} pairs." if many else ""
        return "\n".join(
            [
                f"{self.images} images, the same for every run{among}. Percent, with 95 % intervals.",
                "",
                *table_lines(self._run_rows()),
                "",
                *table_lines(self._pair_rows()),
                "",
                *(f"- {pair.verdict()}" for pair in self.pairs),
                *([f"- Patients unknown in {', '.join(unknown)}: {LEAK}; {ASK}."] if unknown else []),
                "",
                (
                    f"Intervals: percentile bootstrap over {unit}, {self.resamples} resamples, seed {self.seed}, paired"
                    f" between runs. McNemar's test is exact and takes images as independent.{holm} A difference counts"
                    f" as real only where the corrected p is below {ALPHA:g} and the interval leaves out zero. One"
                    " trained network a run: the spread between training seeds is not in these intervals."
                ),
                "",
            ]
        )

    def _run_rows(self) -> list[dict[str, str]]:
        facts = [key for key in _FACTS if any(r.facts.get(key) is not None for r in self.runs)]
        return [
            {
                "run": r.name,
                **{key.replace("_", " "): _fact(r.facts.get(key)) for key in facts},
                **{_HEADINGS[metric]: r.metrics[metric].text() for metric in _HEADINGS},
            }
            for r in self.runs
        ]

    def _pair_rows(self) -> list[dict[str, str]]:
        rows = []
        for pair in self.pairs:
            row = {"second − first": f"{pair.second} − {pair.first}"}
            row |= {"only first right": str(pair.only_first), "only second right": str(pair.only_second)}
            for metric, test in (("accuracy", "McNemar p"), ("balanced_accuracy", "bootstrap p")):
                d = pair.differences[metric]
                row[_HEADINGS[metric]] = d.estimate.text(signed=True)
                row[test] = p_text(d.p) + (f" (Holm {p_text(d.p_adjusted)})" if len(self.pairs) > 1 else "")
            rows.append(row)
        return rows

    def csv(self) -> str:
        """Format the comparison as CSV, one row per figure of a run or a pair."""
        rows = [["kind", "first", "second", "protocol", "metric", "value", "low", "high", "p", "p_holm"]]
        for run in self.runs:
            for metric, e in run.metrics.items():
                rows.append(["run", run.name, "", str(run.facts.get("protocol") or ""), metric, *_cells(e), "", ""])
        for pair in self.pairs:
            for metric, d in pair.differences.items():
                tests = f"{d.p:.6g}", f"{d.p_adjusted:.6g}"
                rows.append(["difference", pair.first, pair.second, "", metric, *_cells(d.estimate), *tests])
        return "".join(map(csv_line, rows))

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "images": self.images,
            "groups": self.groups,
            "resamples": self.resamples,
            "seed": self.seed,
            "runs": [
                {"name": r.name, "source": r.source and str(r.source), **r.facts, "metrics": plain(r.metrics)}
                for r in self.runs
            ],
            "pairs": [
                {
                    "first": p.first,
                    "second": p.second,
                    "only_first_right": p.only_first,
                    "only_second_right": p.only_second,
                    "differences": plain(p.differences),
                    "verdict": p.verdict(),
                }
                for p in self.pairs
            ],
        }

    def write(self, out: str | Path) -> tuple[Path, ...]:
        """Write OUT.md, OUT.csv and OUT.json, and OUT_curves.png and .svg where the runs have logs.

        Raises:
            OutputError: a file cannot be written.
        """
        written = []
        for suffix, content in (("md", self.markdown()), ("csv", self.csv())):
            path = Path(f"{out}.{suffix}")
            write_text(path, content)
            written.append(path)
        written.append(Path(f"{out}.json"))
        write_json(written[-1], self.to_dict())
        logs = {run.name: run.log for run in self.runs if run.log is not None}
        if logs:
            from lentigo.evaluation.plots import save_plot, training_curves

            written += save_plot(training_curves(logs), f"{out}_curves")
        return tuple(written)


def compare_runs(
    runs: Sequence[str | Path] | Mapping[str, PredictionTable],
    *,
    reference: str | None = None,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two or more runs on the same test images.

    Args:
        runs: run folders or CSV files of predictions, or tables by name.
        reference: compare the other runs with this one only. Fewer pairs lose less power to the correction.
        resamples: bootstrap resamples, at least 100.

    Raises:
        DataError: fewer than two runs, an unknown reference, or runs whose test images, true classes or groups differ.
    """
    if len(runs) < 2:
        raise DataError(f"a comparison needs two runs or more, not {len(runs)}")
    if resamples < 100:
        raise DataError(f"a comparison needs at least 100 resamples, not {resamples}")
    entries = _tables(runs) if isinstance(runs, Mapping) else _folders(runs)
    names = [name for name, *_ in entries]
    if reference is not None and reference not in names:
        raise DataError(f"no run named {reference!r} to compare with{did_you_mean(reference, names)}")
    tables = align({name: table for name, table, *_ in entries})
    base = tables[names[0]]
    resampling = Resampling.of(base.groups, resamples=resamples)

    right = {name: table.probabilities.argmax(axis=1) == table.targets for name, table in tables.items()}
    counts = {name: [Counts(t.targets, t.probabilities.argmax(axis=1), len(t.codes))] for name, t in tables.items()}
    drawn = draw_each(resampling, counts)

    couples = [pair for pair in itertools.combinations(names, 2) if reference in (None, *pair)]
    couples = [(b, a) if b == reference else (a, b) for a, b in couples]
    only = [(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in couples]
    exact = {"accuracy": [mcnemar(*counted) for counted in only]}
    differences = {
        metric: corrected_differences([drawn[b, metric] - drawn[a, metric] for a, b in couples], exact.get(metric))
        for metric in TESTED
    }
    pairs = tuple(
        Pair(*couple, *only[i], {metric: found[i] for metric, found in differences.items()})
        for i, couple in enumerate(couples)
    )
    results = []
    for name, _, source, facts, log in entries:
        metrics = evaluate_predictions(tables[name], resamples=resamples).overall
        results.append(RunResult(name, source, facts, {metric: metrics[metric] for metric in _HEADINGS}, log))
    return Comparison(tuple(results), pairs, len(base), resampling.groups, base.grouped, resamples, resampling.seed)


def mcnemar(only_first: int, only_second: int) -> float:
    """Compute McNemar's exact two-sided p from the counts of images that only one run classifies correctly."""
    discordant = only_first + only_second
    return 1.0 if discordant == 0 else float(binomtest(only_first, discordant, 0.5).pvalue)


def bootstrap_p(difference: FloatArray) -> float:
    """Compute the two-sided p of a bootstrapped difference: twice the fraction of resamples beyond zero.

    Args:
        difference: (1 + R,), the difference on the data and on each resample.
    """
    drawn = difference[1:][np.isfinite(difference[1:])]
    # Adding one to both counts keeps p above zero: the smallest p that R resamples resolve is 1 / (R + 1).
    tails = ((drawn <= 0).sum() + 1, (drawn >= 0).sum() + 1)
    return float(min(1.0, 2 * min(tails) / (len(drawn) + 1)))


def holm(p: Sequence[float]) -> list[float]:
    """Return the p values after Holm's step-down correction, in the given order."""
    corrected = [0.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def corrected_differences(drawn: Sequence[FloatArray], p: Sequence[float] | None = None) -> list[Difference]:
    """Test the differences of one metric, with Holm's correction over all pairs.

    Args:
        drawn: one difference per pair, (1 + R,) each, as returned by ``Resampling.draw``.
        p: one p value per pair; by default the bootstrap's.
    """
    values = [bootstrap_p(one) for one in drawn] if p is None else p
    return [
        Difference(estimate(one), value, adjusted)
        for one, value, adjusted in zip(drawn, values, holm(values), strict=True)
    ]


_Entry = tuple[str, PredictionTable, Path | None, dict[str, Any], pd.DataFrame | None]


def _tables(runs: Mapping[str, PredictionTable]) -> list[_Entry]:
    return [(name, table, table.source, {}, None) for name, table in runs.items()]


def _folders(runs: Sequence[str | Path]) -> list[_Entry]:
    entries: list[_Entry] = []
    paths = [Path(run) for run in runs]
    read = [read_run(path) for path in paths]
    names = [run.name for run in read]
    if len(set(names)) < len(names):  # the same recipe in two folders: use the paths
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{double}: given twice; a run cannot be compared with itself")
    for name, path, run in zip(names, paths, read, strict=True):
        facts = {key: run.record[key] for key in (*_FACTS, "network", "data", "groups") if key in run.record}
        entries.append((name, run.test, path, facts, run.log))
    return entries


def align(tables: Mapping[str, PredictionTable]) -> dict[str, PredictionTable]:
    """Reorder the rows so that all runs have the same image order.

    Args:
        tables: predictions by run name.

    Raises:
        DataError: runs differ in their images, classes, true classes or groups.
    """
    first, *others = tables
    base = tables[first]
    position = {image: i for i, image in enumerate(base.images)}
    aligned = {first: base}
    for name in others:
        table = tables[name]
        if table.codes != base.codes:
            raise DataError(
                f"{name} has classes {', '.join(table.codes)}, {first} has {', '.join(base.codes)}; they cannot be"
                " compared"
            )
        here = set(table.images)
        strange = [image for image in table.images if image not in position]
        absent = [image for image in base.images if image not in here]
        if strange or absent:
            example = f"{strange[0]} is only in {name}" if strange else f"{absent[0]} is only in {first}"
            both = len(base) - len(absent)
            raise DataError(
                f"{first} and {name} were not evaluated on the same images ({len(base)} and {len(table)}, {both} in"
                f" both; {example}); train them with the same data, protocol and split seed"
            )
        order = np.argsort([position[image] for image in table.images], kind="stable")
        table = table.subset(order)
        for what, mine, theirs in (("true class", base.targets, table.targets), ("group", base.groups, table.groups)):
            wrong = np.flatnonzero(mine != theirs)
            if len(wrong):
                raise DataError(
                    f"{first} and {name} disagree on the {what} of {len(wrong)} images, the first"
                    f" {base.images[wrong[0]]}"
                )
        aligned[name] = table
    return aligned


def _points(e: Estimate) -> str:
    if e.low is None or e.high is None:
        return "not defined"
    return f"{e.low * 100:+.1f} to {e.high * 100:+.1f}".replace("-", "−")


def _fact(value: object) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _cells(e: Estimate) -> list[str]:
    return ["" if v is None else f"{v:.6g}" for v in e.to_dict().values()]
