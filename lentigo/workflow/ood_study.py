"""A study of a bundle's "can't tell": scores on other pictures, quality and coverage, in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image, ImageFilter

from lentigo.bundle import Separation
from lentigo.estimate import plain
from lentigo.evaluation import plots
from lentigo.evaluation.conformal import Coverage, measure_coverage
from lentigo.evaluation.intervals import RESAMPLES
from lentigo.evaluation.markdown import markdown_table
from lentigo.evaluation.ood import CARRIED, Features, fit_scores, separate, threshold_at
from lentigo.inference import Classifier
from lentigo.inference.quality import find_faults, measure_quality
from lentigo.inference.verdict import UNLIKE

Pixels = npt.NDArray[np.uint8]
SPOILT = ("blurred copies", "darkened copies", "brightened copies")
IN_THE_GRAPH = "the bundle's own output"


@dataclass(frozen=True)
class Seen:
    """What a bundle made of a set of images.

    Attributes:
        features: logits and embedding.
        probabilities: (N, K) calibrated.
        atypicality: (N,) of the graph; None where it has none.
        reasons: how often each reason to answer "can't tell" was given.
        hints: how often each hint was given.
        answered: how many images were answered.
    """

    features: Features
    probabilities: npt.NDArray[np.float64]
    atypicality: npt.NDArray[np.float64] | None
    reasons: Counter[str]
    hints: Counter[str]
    answered: int


def look(classifier: Classifier, chunks: Iterable[Pixels]) -> Seen:
    """Classify images and keep what the study needs.

    Args:
        classifier: the bundle.
        chunks: (n, S, S, 3) uint8 each.
    """
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
            reasons.update(["unlike"] * (UNLIKE in verdict.reasons))
            reasons.update(filter(None, [find_faults(quality, classifier.size, "refuse")]))
            hints.update(filter(None, [find_faults(quality, classifier.size, "hint") if verdict.hints else None]))
            answered += not verdict.reasons
    features = Features(np.concatenate(logits).astype(np.float64), np.concatenate(embedding).astype(np.float64))
    scores = np.concatenate(atypicality).astype(np.float64) if atypicality else None
    return Seen(features, np.concatenate(probabilities), scores, reasons, hints, answered)


def spoil(kind: str, pixels: Pixels) -> Pixels:
    """A bad copy of an image (S, S, 3): blurred by 3 pixels at 224, a quarter as bright, or 2.2 times as bright."""
    if kind == "blurred copies":
        return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3 * len(pixels) / 224)))
    factor = 0.25 if kind == "darkened copies" else 2.2
    changed: Pixels = np.clip(pixels * factor, 0, 255).astype(np.uint8)
    return changed


@dataclass(frozen=True)
class Study:
    """Figures of a study.

    Attributes:
        separations: score -> set -> how well it tells that set from the validation images.
        accepted: score -> fraction of the test images that its threshold lets pass; it is chosen on validation, so
            about 95 %.
        chosen: the score with the lowest mean fraction let pass.
        answered: set -> (images, fraction answered by all rules of the bundle).
        reasons: set -> reason -> fraction of the images.
        hints: set -> hint -> fraction of the images.
        coverage: of the prediction sets on the test images; None for a bundle without.
        scores: set -> (N,) of the carried score, for the figure.
        threshold: of the carried score.
    """

    separations: dict[str, dict[str, Separation]]
    accepted: dict[str, float]
    chosen: str
    answered: dict[str, tuple[int, float]]
    reasons: dict[str, dict[str, float]]
    hints: dict[str, dict[str, float]]
    coverage: Coverage | None
    scores: dict[str, npt.NDArray[np.float64]]
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers."""
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
                name: {"images": images, "share": round(fraction, 4)}
                for name, (images, fraction) in self.answered.items()
            },
            "reasons": self.reasons,
            "hints": self.hints,
            "coverage": plain(self.coverage),
        }

    def markdown(self) -> str:
        """Tables of the figures."""
        sets = list(next(iter(self.separations.values())))
        lines = [
            (
                "## Scores\n\nShare of each set that passes a threshold which lets 95 % of the validation images pass"
                " (FPR at 95 % TPR, %; lower is better), and AUROC.\n"
            ),
        ]
        rows = []
        for score, found in self.separations.items():
            cells = [f"{100 * s.fpr:.1f} / {s.auroc:.3f}" for s in found.values()]
            rows.append([score, *cells, f"{100 * _mean_fpr(found):.1f}", f"{100 * self.accepted[score]:.1f}"])
        lines += markdown_table(["score", *sets, "mean", "test images accepted, %"], rows)
        names = sorted(
            {reason for found in self.reasons.values() for reason in found}
            | {h for f in self.hints.values() for h in f}
        )
        lines += [
            (
                "\n## Answers\n\nShare of each set that is answered by all rules of the bundle, and what was found (%;"
                " refused, and hints in brackets).\n"
            ),
        ]
        rows = []
        for name, (images, fraction) in self.answered.items():
            cells = [
                f"{100 * self.reasons[name].get(n, 0):.1f} ({100 * self.hints[name].get(n, 0):.1f})" for n in names
            ]
            rows.append([name, f"{images:,}", f"{100 * fraction:.1f}", *cells])
        lines += markdown_table(["set", "images", "answered", *names], rows)
        if self.coverage is not None:
            c = self.coverage
            lines += [
                f"\n## Prediction sets on the test images\n\nAim {c.aim:.0%}; {c.size:.2f} classes a set,"
                f" {c.single:.0%} hold one, {c.empty:.0%} none"
                + (f"; {', '.join(c.pooled)} share a quantile" if c.pooled else "")
                + ".\n",
                *markdown_table(
                    ["class", "holds the true class, % (95 % interval)"],
                    [[code, e.text()] for code, e in (*c.per_class.items(), ("all", c.overall))],
                ),
            ]
        return "\n".join(lines) + "\n"

    def figure(self) -> Figure:
        """Fraction let pass by score and set, and the carried score's spread over the sets."""
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        sets = list(next(iter(self.separations.values())))
        shown = {score: found for score, found in self.separations.items() if score != IN_THE_GRAPH}
        for k, (score, found) in enumerate(shown.items()):
            bold = score == self.chosen
            colour = plots.PALETTE[k % len(plots.PALETTE)]
            left.plot(
                [100 * found[n].fpr for n in sets],
                range(len(sets)),
                "o",
                color=colour,
                ms=9 if bold else 6,
                label=score,
            )
        left.set_yticks(range(len(sets)), sets)
        left.invert_yaxis()
        left.set_xlim(-3, 103)
        left.set_xlabel("passes, % (lower is better)")
        left.set_title("Other pictures taken for lesions, by score", loc="left", fontweight="bold")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        names = list(self.scores)
        right.boxplot(
            [self.scores[n] for n in names], orientation="horizontal", whis=(2.5, 97.5), showfliers=False, widths=0.6
        )
        right.set_yticks(range(1, len(names) + 1), names)
        right.invert_yaxis()
        right.axvline(self.threshold, color=plots.PALETTE[1], linestyle="--")
        right.set_xlabel("atypicality (dashed: threshold)")
        right.set_title("The score that bundles carry", loc="left", fontweight="bold")
        for axes in (left, right):
            axes.grid(axis="x", color=plots.GRID, linewidth=0.7)
            axes.spines[["top", "right"]].set_visible(False)
        return figure


def study_trust(
    classifier: Classifier,
    train: Seen,
    train_targets: npt.NDArray[np.int64],
    validation: Seen,
    test: Seen,
    test_targets: npt.NDArray[np.int64],
    test_groups: npt.ArrayLike,
    others: Mapping[str, Seen],
    spoilt: Mapping[str, Seen],
    *,
    resamples: int = RESAMPLES,
) -> Study:
    """Compare the scores, count the answers and verify the prediction sets.

    The scores are fitted to the training images and compared on validation; the test images are only reported on.

    Args:
        classifier: the bundle.
        train: its training images.
        train_targets: (N,) their classes.
        validation: its validation images.
        test: its test images.
        test_targets: (M,) their classes.
        test_groups: (M,) their lesions or patients.
        others: pictures of other things, by name.
        spoilt: bad copies of the validation images, by name.
        resamples: bootstrap resamples of the coverage.
    """
    scorers = fit_scores(train.features.embedding, train_targets)
    table, accepted, spread = {}, {}, {}
    threshold = 0.0
    for score, scorer in scorers.items():
        inside, tested = scorer(validation.features), scorer(test.features)
        outside = {name: scorer(seen.features) for name, seen in others.items()}
        table[score] = {name: separate(inside, found) for name, found in outside.items()}
        accepted[score] = float(np.mean(tested <= threshold_at(inside)))
        if score == CARRIED:
            spread, threshold = {"validation": inside, "test": tested, **outside}, threshold_at(inside)
    best = min(table, key=lambda score: _mean_fpr(table[score]))
    if validation.atypicality is not None and test.atypicality is not None:
        found = {name: seen.atypicality for name, seen in others.items() if seen.atypicality is not None}
        table[IN_THE_GRAPH] = {name: separate(validation.atypicality, scores) for name, scores in found.items()}
        accepted[IN_THE_GRAPH] = float(np.mean(test.atypicality <= threshold_at(validation.atypicality)))
    spec = classifier.spec
    coverage = None
    if spec.conformal is not None:
        coverage = measure_coverage(
            test.probabilities, test_targets, test_groups, spec.conformal, spec.codes, resamples=resamples
        )
    every = {"validation": validation, "test": test, **others, **spoilt}
    return Study(
        separations=table,
        accepted=accepted,
        chosen=best,
        answered={name: (len(seen.features), seen.answered / len(seen.features)) for name, seen in every.items()},
        reasons={name: _shares(seen.reasons, len(seen.features)) for name, seen in every.items()},
        hints={name: _shares(seen.hints, len(seen.features)) for name, seen in every.items()},
        coverage=coverage,
        scores=spread,
        threshold=threshold,
    )


def _mean_fpr(found: Mapping[str, Separation]) -> float:
    return float(np.mean([s.fpr for s in found.values()]))


def _shares(counts: Counter[str], images: int) -> dict[str, float]:
    return {name: round(count / images, 4) for name, count in sorted(counts.items())}
