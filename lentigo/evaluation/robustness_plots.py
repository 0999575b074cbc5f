"""Plots of degradation curves and of perturbation tests, in the style of the other plots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lentigo.evaluation.perturbation import PerturbationResult
from lentigo.evaluation.plots import GUIDE, PALETTE, label_ends, new_figure, styled
from lentigo.evaluation.robustness import Curve


@styled
def degradation_plot(curve: Curve) -> Figure:
    """Plot accuracy and balanced accuracy against the strength of a degradation, with 95 % intervals."""
    at = np.arange(len(curve.points))
    ends = []
    figure, axes = new_figure(4.3, 2.9)
    for i, point in enumerate(curve.points):
        if curve.is_neutral(point):
            axes.axvline(i, **GUIDE)
    for label, colour, estimates in (
        ("accuracy", PALETTE[0], [point.accuracy for point in curve.points]),
        ("balanced", PALETTE[1], [point.balanced_accuracy for point in curve.points]),
    ):
        values = np.array([e.value for e in estimates]) * 100
        low = np.array([e.value if e.low is None else e.low for e in estimates]) * 100
        high = np.array([e.value if e.high is None else e.high for e in estimates]) * 100
        axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(at, values, color=colour, marker="o", markersize=4)
        ends.append((float(values[-1]), label, colour))
    axes.set_xticks(at, [curve.name_of(point) for point in curve.points])
    axes.set(xlabel=curve.corruption.unit, ylabel="%", title=curve.corruption.title, ylim=(0, 100))
    label_ends(axes, ends)
    return figure


def degradation_text(curve: Curve) -> str:
    """Describe a degradation curve in words."""
    figures = "; ".join(
        f"{curve.name_of(point)}: accuracy {point.accuracy.text()}, balanced {point.balanced_accuracy.text()}"
        for point in curve.points
    )
    return f"{curve.corruption.title}, {curve.corruption.unit}. {figures}."


@styled
def perturbation_plot(found: Sequence[PerturbationResult]) -> Figure:
    """Plot balanced accuracy with 95 % intervals and changed predictions of one or more perturbations."""
    at = np.arange(len(found))[::-1]
    codes = list(found[0].towards)
    figure = Figure(figsize=(8.2, 0.8 + 0.42 * len(found)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.axvline(0, **GUIDE)
    for y, r in zip(at, found, strict=True):
        e = r.difference
        if e.low is not None and e.high is not None:
            left.plot([100 * e.low, 100 * e.high], [y, y], color=PALETTE[0], linewidth=2)
        left.plot(100 * e.value, y, "o", color=PALETTE[0], markersize=5)
    left.set_yticks(at, [r.change.title for r in found])
    left.set(title="Balanced accuracy, change in points", ylim=(-0.6, len(found) - 0.4))
    done = np.zeros(len(found))
    for k, code in enumerate(codes):
        percent = np.array([100 * r.towards[code] for r in found])
        if percent.any():
            right.barh(at, percent, left=done, height=0.6, color=PALETTE[k % len(PALETTE)], label=code)
        done += percent
    right.set(title="Changed predictions, %, by new class")
    right.tick_params(labelleft=False)
    if done.any():
        right.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return figure


def perturbation_text(found: Sequence[PerturbationResult]) -> str:
    """Describe perturbation results in words."""
    text = "; ".join(
        f"{r.change.title}: balanced accuracy {r.difference.text(signed=True)} points, {r.flipped.text()} % of the"
        " predictions change" + (f", mostly to {r.destination}" if r.destination else "")
        for r in found
    )
    return f"Effect of hiding parts of the image and of adding artifacts. {text}."
