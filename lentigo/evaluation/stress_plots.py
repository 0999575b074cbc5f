"""Degradation curves, in the style of the other plots."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from lentigo.evaluation.plots import _STYLE, MUTED, PALETTE, _figure, _label_ends, _settled
from lentigo.evaluation.stress import Curve


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
