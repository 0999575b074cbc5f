"""Plots of degradation curves and of perturbation tests, in the style of the other plots."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lentigo.evaluation.perturbation import PerturbationResult
from lentigo.evaluation.plots import _STYLE, MUTED, PALETTE, _figure, _label_ends, _settled
from lentigo.evaluation.robustness import Curve


def degradation_plot(curve: Curve) -> tuple[Figure, str]:
    """Accuracy and balanced accuracy over the strength of one degradation, with 95 % intervals.

    Args:
        curve: the degradation.

    Returns:
        The figure, and what it shows in words.
    """
    at = np.arange(len(curve.points))
    names = ["as taken" if curve.is_neutral(point) else f"{point.strength:g}" for point in curve.points]
    ends = []
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(4.3, 2.9)
        start = [i for i, point in enumerate(curve.points) if curve.is_neutral(point)]
        for i in start:
            axes.axvline(i, color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)))
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
        axes.set_xticks(at, names)
        axes.set(xlabel=curve.corruption.unit, ylabel="%", title=curve.corruption.title, ylim=(0, 100))
        _label_ends(axes, ends)
    figures = "; ".join(
        f"{name}: accuracy {point.accuracy.text()}, balanced {point.balanced_accuracy.text()}"
        for name, point in zip(names, curve.points, strict=True)
    )
    return _settled(figure), f"{curve.corruption.title}, {curve.corruption.unit}. {figures}."


def perturbation_plot(found: Sequence[PerturbationResult]) -> tuple[Figure, str]:
    """What each change does: balanced accuracy with 95 % intervals, and which answers flip.

    Args:
        found: one or more changes.

    Returns:
        The figure, and what it shows in words.
    """
    at = np.arange(len(found))[::-1]
    codes = list(found[0].towards)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.2, 0.8 + 0.42 * len(found)), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        left.axvline(0, color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)))
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
        right.set(title="Answers that flip, %, by the class they flip to")
        right.tick_params(labelleft=False)
        if done.any():
            right.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    text = "; ".join(
        f"{r.change.title}: balanced accuracy {r.difference.text(signed=True)} points, {r.flipped.text()} % of the"
        " answers flip" + (f", most to {r.destination}" if r.destination else "")
        for r in found
    )
    return _settled(figure), f"Effect of hiding parts of the image and of adding artifacts. {text}."
