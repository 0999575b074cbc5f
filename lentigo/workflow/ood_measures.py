"""Measures of a bundle's abstention ("can't tell"): OOD scores, quality checks and coverage of prediction sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image, ImageFilter

from lentigo.bundle import Separation, Spec
from lentigo.data import Samples
from lentigo.estimate import plain
from lentigo.evaluation import plots
from lentigo.evaluation.conformal import Coverage, measure_coverage
from lentigo.evaluation.intervals import RESAMPLES
from lentigo.evaluation.markdown import markdown_table
from lentigo.evaluation.ood import CARRIED, Features, fit_scores, separate, threshold_at
from lentigo.inference import Classifier
from lentigo.inference.quality import find_faults, measure_quality
from lentigo.inference.verdict import unlike

Pixels = npt.NDArray[np.uint8]
DEGRADED = ("blurred copies", "darkened copies", "brightened copies")
IN_THE_GRAPH = "the bundle's own output"


@dataclass(frozen=True)
class SetOutputs:
    """Outputs of a bundle for a set of N images.

    Attributes:
        features: logits and embedding.
        probabilities: (N, K), calibrated.
        atypicality: (N,) output of the graph; None if it has none.
        reasons: number of images per reason for "can't tell".
        hints: number of images per hint.
        answered: number of images with a prediction.
    """

    features: Features
    probabilities: npt.NDArray[np.float64]
    atypicality: npt.NDArray[np.float64] | None
    reasons: Counter[str]
    hints: Counter[str]
    answered: int

    def __len__(self) -> int:
        return len(self.features)

    def fractions(self, counts: Counter[str]) -> dict[str, float]:
        """Return the fraction of images per reason or hint."""
        return {name: round(count / len(self), 4) for name, count in sorted(counts.items())}


def collect_outputs(classifier: Classifier, chunks: Iterable[Pixels]) -> SetOutputs:
    """Classify chunks of images (n, S, S, 3) and collect the outputs."""
    logits, embedding, probabilities, atypicality = [], [], [], []
    reasons: Counter[str] = Counter()
    hints: Counter[str] = Counter()
    answered = 0
    for pixels in chunks:
        outputs = classifier.run(pixels)
        logits.append(outputs.logits)
        embedding.append(outputs.embedding)
        probabilities.append(outputs.probabilities)
        if outputs.atypicality is not None:
            atypicality.append(outputs.atypicality)
        for i, image in enumerate(pixels):
            verdict = classifier.assess(outputs, i, image)
            quality = measure_quality(image)
            reasons.update(["unlike"] * (unlike(classifier.spec.domain, verdict.modality) in verdict.reasons))
            reasons.update(filter(None, [find_faults(quality, classifier.size, "refuse")]))
            hints.update(filter(None, [find_faults(quality, classifier.size, "hint") if verdict.hints else None]))
            answered += not verdict.reasons
    features = Features(np.concatenate(logits).astype(np.float64), np.concatenate(embedding).astype(np.float64))
    scores = np.concatenate(atypicality).astype(np.float64) if atypicality else None
    return SetOutputs(features, np.concatenate(probabilities), scores, reasons, hints, answered)


def degrade(kind: str, pixels: Pixels) -> Pixels:
    """Return a degraded image (S, S, 3): blurred by 3 pixels at size 224, or with 0.25 or 2.2 times the brightness."""
    if kind == "blurred copies":
        return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3 * len(pixels) / 224)))
    factor = 0.25 if kind == "darkened copies" else 2.2
    changed: Pixels = np.clip(pixels * factor, 0, 255).astype(np.uint8)
    return changed


@dataclass(frozen=True)
class OodMeasures:
    """Results of `compare_scores`.

    Attributes:
        separations: score -> set -> separation of that set from the validation images.
        accepted: score -> accepted fraction of the test images; about 95 %, since the threshold accepts 95 % of the
            validation images.
        chosen: the score with the lowest mean accepted fraction of the OOD sets.
        sets: name -> outputs for validation, test, unrelated and degraded images.
        coverage: coverage of the prediction sets on the test images; None for a bundle without them.
        scores: set -> (N,) values of the bundle's score, for the figure.
        threshold: threshold of the bundle's score.
    """

    separations: dict[str, dict[str, Separation]]
    accepted: dict[str, float]
    chosen: str
    sets: dict[str, SetOutputs]
    coverage: Coverage | None
    scores: dict[str, npt.NDArray[np.float64]]
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "scores": {
                score: {
                    "accepted_of_test": round(self.accepted[score], 4),
                    "sets": {
                        name: {"images": s.images, "fpr_at_95_tpr": round(s.fpr, 4), "auroc": round(s.auroc, 4)}
                        for name, s in sets.items()
                    },
                }
                for score, sets in self.separations.items()
            },
            "best": self.chosen,
            "answered": {
                name: {"images": len(seen), "fraction": round(seen.answered / len(seen), 4)}
                for name, seen in self.sets.items()
            },
            "reasons": {name: seen.fractions(seen.reasons) for name, seen in self.sets.items()},
            "hints": {name: seen.fractions(seen.hints) for name, seen in self.sets.items()},
            "coverage": plain(self.coverage),
        }

    def markdown(self) -> str:
        """Format the results as Markdown tables."""
        sets = list(next(iter(self.separations.values())))
        lines = [
            "## Scores\n\nFraction of each set accepted at the threshold that accepts 95 % of the validation images"
            " (FPR at 95 % TPR, %; lower is better), and AUROC.\n"
        ]
        rows = []
        for score, found in self.separations.items():
            cells = [f"{100 * s.fpr:.1f} / {s.auroc:.3f}" for s in found.values()]
            rows.append([score, *cells, f"{100 * _mean_fpr(found):.1f}", f"{100 * self.accepted[score]:.1f}"])
        lines += markdown_table(["score", *sets, "mean", "test images accepted, %"], rows)
        lines.append(
            "\n## Answers\n\nFraction of each set that the bundle answers, and detected faults (%; refused, with hints"
            " in brackets).\n"
        )
        faults = sorted({fault for seen in self.sets.values() for fault in seen.reasons | seen.hints})
        rows = []
        for name, seen in self.sets.items():
            reasons, hints = seen.fractions(seen.reasons), seen.fractions(seen.hints)
            cells = [f"{100 * reasons.get(fault, 0):.1f} ({100 * hints.get(fault, 0):.1f})" for fault in faults]
            rows.append([name, f"{len(seen):,}", f"{100 * seen.answered / len(seen):.1f}", *cells])
        lines += markdown_table(["set", "images", "answered", *faults], rows)
        if self.coverage is not None:
            c = self.coverage
            lines += [
                f"\n## Prediction sets on the test images\n\nRequired coverage {c.aim:.0%}; {c.size:.2f} classes per"
                f" set, {c.single:.0%} contain one, {c.empty:.0%} none"
                + (f"; {', '.join(c.pooled)} share a quantile" if c.pooled else "")
                + ".\n",
                *markdown_table(
                    ["class", "coverage, % (95 % interval)"],
                    [[code, e.text()] for code, e in (*c.per_class.items(), ("all", c.overall))],
                ),
            ]
        return "\n".join(lines) + "\n"

    def figure(self) -> Figure:
        """Plot the accepted fraction by score and set, and the distribution of the bundle's score by set."""
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        sets = list(next(iter(self.separations.values())))
        shown = {score: found for score, found in self.separations.items() if score != IN_THE_GRAPH}
        for k, (score, found) in enumerate(shown.items()):
            passed, colour = [100 * found[name].fpr for name in sets], plots.PALETTE[k % len(plots.PALETTE)]
            left.plot(passed, range(len(sets)), "o", color=colour, ms=9 if score == self.chosen else 6, label=score)
        left.set_yticks(range(len(sets)), sets)
        left.invert_yaxis()
        left.set_xlim(-3, 103)
        left.set_xlabel("accepted, % (lower is better)")
        left.set_title("Accepted OOD images, by score", loc="left", fontweight="bold")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        names = list(self.scores)
        right.boxplot(
            [self.scores[n] for n in names], orientation="horizontal", whis=(2.5, 97.5), showfliers=False, widths=0.6
        )
        right.set_yticks(range(1, len(names) + 1), names)
        right.invert_yaxis()
        right.axvline(self.threshold, color=plots.PALETTE[1], linestyle="--")
        right.set_xlabel("atypicality (dashed: threshold)")
        right.set_title("The score of bundles", loc="left", fontweight="bold")
        for axes in (left, right):
            axes.grid(axis="x", color=plots.GRID, linewidth=0.7)
            axes.spines[["top", "right"]].set_visible(False)
        return figure


def compare_scores(
    spec: Spec,
    parts: Mapping[str, Samples],
    seen: Mapping[str, SetOutputs],
    others: Mapping[str, SetOutputs],
    degraded: Mapping[str, SetOutputs],
    *,
    resamples: int = RESAMPLES,
) -> OodMeasures:
    """Compare the scores, count "can't tell" and measure the prediction sets.

    The scores are fitted to the training images and compared on the validation images; the test images are used only
    for reporting. ``parts`` and ``seen`` have the keys ``train``, ``val`` and ``test``. ``others`` are unrelated
    images and ``degraded`` degraded validation images, by name.
    """
    validation, test = seen["val"], seen["test"]
    scorers = fit_scores(seen["train"].features.embedding, parts["train"].targets)
    table, accepted, spread = {}, {}, {}
    threshold = 0.0
    for score, scorer in scorers.items():
        inside, tested = scorer(validation.features), scorer(test.features)
        outside = {name: scorer(one.features) for name, one in others.items()}
        table[score] = {name: separate(inside, found) for name, found in outside.items()}
        accepted[score] = float(np.mean(tested <= threshold_at(inside)))
        if score == CARRIED:
            spread, threshold = {"validation": inside, "test": tested, **outside}, threshold_at(inside)
    best = min(table, key=lambda score: _mean_fpr(table[score]))
    if validation.atypicality is not None and test.atypicality is not None:
        found = {name: one.atypicality for name, one in others.items() if one.atypicality is not None}
        table[IN_THE_GRAPH] = {name: separate(validation.atypicality, scores) for name, scores in found.items()}
        accepted[IN_THE_GRAPH] = float(np.mean(test.atypicality <= threshold_at(validation.atypicality)))
    coverage = None
    if spec.conformal is not None:
        targets, groups = parts["test"].targets, parts["test"].frame["group"]
        coverage = measure_coverage(
            test.probabilities, targets, groups, spec.conformal, spec.codes, resamples=resamples
        )
    return OodMeasures(
        separations=table,
        accepted=accepted,
        chosen=best,
        sets={"validation": validation, "test": test, **others, **degraded},
        coverage=coverage,
        scores=spread,
        threshold=threshold,
    )


def _mean_fpr(found: Mapping[str, Separation]) -> float:
    return float(np.mean([s.fpr for s in found.values()]))
