"""Plots of saved figures, through matplotlib's object interface: no window, no global state.

Colours are Okabe and Ito's palette for colour-blind readers. Labels stand at the end of lines instead of in a
legend. :func:`save_plot` writes PNG and SVG; :func:`inline_svg` returns an SVG with the colours and fonts of the
surrounding page. Probabilities are (N, K), targets (N,) class indices, ``codes`` the K class codes. Areas are NaN for
a class without images.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from lentigo.evaluation.intervals import FloatArray, IntArray
from lentigo.evaluation.metrics import OperatingResult, risk_coverage
from lentigo.evaluation.temperature import reliability
from lentigo.files import atomic_path

# Okabe and Ito, *Color Universal Design*, 2008; yellow, with the lowest contrast, is last.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5A5A5A", "#A89A00")
INK, MUTED, GRID, FACE = "#1B1F24", "#5F6973", "#DFE3E8", "#FFFFFF"
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))

STYLE: Any = {  # matplotlib lists every key as a literal type
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,  # class names may hold a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 200,
    "svg.hashsalt": "lentigo",  # reproducible files
}

GUIDE: Any = {"color": MUTED, "linewidth": 0.9, "linestyle": (0, (2, 2))}
"""Style of reference lines."""

_Arguments = ParamSpec("_Arguments")


def styled(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Decorate a plot function: apply the style and compute the layout once."""

    @wraps(draw)
    def drawn(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        return figure

    return drawn


@styled
def confusion_plot(confusion: IntArray, codes: Sequence[str]) -> Figure:
    """Plot a confusion matrix, normalised by row, as in CaCo's figure 7."""
    size = len(codes)
    side = max(3.6, 0.62 * size + 1.1)
    figure, axes = new_figure(side, side * 0.94)
    for (row, column), fraction, ink in draw_matrix(axes, confusion, linewidth=1.2):
        cell: Any = {"ha": "center", "va": "center", "color": ink}
        axes.text(column + 0.5, row + 0.43, f"{fraction * 100:.0f}", fontsize=9.5, **cell)
        axes.text(column + 0.5, row + 0.76, f"{confusion[row, column]}", fontsize=6.5, alpha=0.8, **cell)
    axes.set(xlabel="predicted class", ylabel="true class", title="Percent of each true class (count below)")
    names = shown_names(codes)
    long = max(map(len, names)) > 6
    axes.set_xticks(np.arange(size) + 0.5, names, rotation=40 if long else 0, ha="right" if long else "center")
    axes.set_yticks(np.arange(size) + 0.5, names)
    return figure


def draw_matrix(axes: Axes, confusion: IntArray, *, linewidth: float) -> list[tuple[tuple[int, int], float, str]]:
    """Draw the cells of a confusion matrix, normalised by row.

    Args:
        axes: axes to draw on.
        confusion: (K, K) counts, rows true and columns predicted.
        linewidth: width of the lines between cells, in points.

    Returns:
        Row and column, fraction of the row, and text colour of each cell.
    """
    totals = confusion.sum(axis=1, keepdims=True)
    fractions = np.divide(confusion, totals, out=np.zeros(confusion.shape), where=totals > 0)
    axes.grid(False)
    axes.pcolormesh(fractions, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=linewidth)
    axes.tick_params(length=0, labelcolor=INK)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    cells = itertools.product(range(len(confusion)), range(len(confusion)))
    return [(cell, float(fractions[cell]), "white" if fractions[cell] > 0.55 else INK) for cell in cells]


def shown_names(codes: Sequence[str]) -> list[str]:
    """Return the display names of class codes."""
    return [code.upper() if len(code) <= 5 else code.replace("_", " ") for code in codes]


@styled
def roc_plot(probabilities: FloatArray, targets: IntArray, codes: Sequence[str], aucs: Mapping[str, float]) -> Figure:
    """Plot one-vs-rest ROC curves."""
    figure, axes = new_figure()
    axes.plot([0, 1], [0, 1], **GUIDE)
    shown = []
    for k, code in enumerate(codes):
        if np.isfinite(aucs[code]):
            false, true, _ = roc_curve(targets == k, probabilities[:, k])
            axes.plot(false, true, **line_style(k))
            shown.append((aucs[code], k, code))
    _key(axes, shown, "AUC")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", title="ROC, each class against the rest")
    _unit(axes)
    return figure


@styled
def precision_recall_plot(
    probabilities: FloatArray, targets: IntArray, codes: Sequence[str], areas: Mapping[str, float]
) -> Figure:
    """Plot one-vs-rest precision-recall curves."""
    figure, axes = new_figure()
    shown = []
    for k, code in enumerate(codes):
        if np.isfinite(areas[code]):
            precision, recall, _ = precision_recall_curve(targets == k, probabilities[:, k])
            found = recall > 0  # without the vertical line at 0, where no image of the class is found
            recall, precision = np.append(recall[found], 0), np.append(precision[found], precision[found][-1])
            axes.plot(recall, precision, drawstyle="steps-post", **line_style(k))
            shown.append((areas[code], k, code))
    _key(axes, shown, "average\nprecision")
    axes.set(
        xlabel="sensitivity (recall)", ylabel="precision", title="Precision and recall, each class against the rest"
    )
    _unit(axes)
    return figure


@styled
def malignant_plot(
    scores: FloatArray, positive: npt.NDArray[np.bool_], auc: float, points: Sequence[OperatingResult]
) -> Figure:
    """Plot the ROC curve of malignant against benign, with the operating points.

    Args:
        scores: (N,) summed malignant probability.
        positive: (N,) bool, true malignancy.
        auc: area under the curve.
        points: operating points to mark.
    """
    figure, axes = new_figure()
    axes.plot([0, 1], [0, 1], **GUIDE)
    false, true, _ = roc_curve(positive, scores)
    axes.plot(false, true, color=PALETTE[0])
    axes.fill_between(false, true, color=PALETTE[0], alpha=0.08, linewidth=0)
    for i, point in enumerate(points):
        x, y = 1 - point.specificity.value, point.sensitivity.value
        axes.plot(x, y, "o", color=PALETTE[1], markersize=6, markeredgecolor=FACE, markeredgewidth=1.2)
        letter = "abcdefgh"[i % 8]
        label_point(axes, letter, (x, y), (-5, 5), PALETTE[1])
        line = f"{letter}: from {point.threshold:.2f}, sens. {y * 100:.0f} %, spec. {(1 - x) * 100:.0f} %"
        axes.text(0.99, 0.12 + 0.06 * (len(points) - 1 - i), line, ha="right", fontsize=8, color=PALETTE[1])
    axes.text(0.99, 0.045, f"AUC {auc:.3f}", ha="right", color=PALETTE[0], fontweight="bold")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", title="Malignant against benign")
    _unit(axes)
    return figure


@styled
def reliability_plot(tables: Mapping[str, FloatArray], targets: IntArray) -> Figure:
    """Plot a reliability diagram: accuracy against confidence.

    ``tables`` holds probabilities by name, such as before and after temperature scaling.
    """
    figure = Figure(figsize=(4.3, 3.8), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(4, 1), hspace=0.04)
    axes, strip = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    axes.plot([0, 1], [0, 1], **GUIDE)
    turned: Any = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    axes.text(0.30, 0.325, "perfect calibration", color=MUTED, fontsize=8, **turned)
    for i, (name, probabilities) in enumerate(tables.items()):
        colour = PALETTE[(1, 0)[i] if len(tables) > 1 else 0]
        bins = reliability(probabilities, targets)
        full = bins.counts > 0
        axes.plot(bins.confidence[full], bins.accuracy[full], color=colour, linewidth=1.4, alpha=0.9)
        sizes = 8 + 110 * bins.counts[full] / len(targets)
        dots: Any = {"color": colour, "edgecolor": FACE, "linewidth": 0.8, "zorder": 3}
        axes.scatter(bins.confidence[full], bins.accuracy[full], s=sizes, **dots)
        line = f"{name}: ECE {bins.ece * 100:.1f} %"
        axes.text(0.02, 0.96 - 0.075 * i, line, color=colour, fontweight="bold", va="top", transform=axes.transAxes)
        strip.stairs(bins.counts / len(targets) * 100, bins.edges, color=colour, linewidth=1.4)
    axes.set(ylabel="accuracy", title="Reliability (15 equal bins; dot area: images)")
    axes.tick_params(labelbottom=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    strip.set(xlim=(0, 1), xlabel="confidence (top probability)", ylabel="images, %")
    strip.set_ylim(bottom=0)
    return figure


@styled
def risk_coverage_plot(probabilities: FloatArray, targets: IntArray) -> Figure:
    """Plot the error rate of the most confident images against their fraction."""
    coverage, risk = risk_coverage(probabilities, targets)
    figure, axes = new_figure()
    axes.plot(coverage * 100, risk * 100, color=PALETTE[0])
    for wanted in (0.5, 0.8, 1.0):
        i = min(int(np.searchsorted(coverage, wanted)), len(coverage) - 1)
        axes.plot(coverage[i] * 100, risk[i] * 100, "o", color=PALETTE[0], markersize=5, markeredgecolor=FACE)
        label_point(axes, f"{risk[i] * 100:.1f} %", (coverage[i] * 100, risk[i] * 100), (-3, 6), PALETTE[0])
    axes.set(xlabel="coverage (most confident first), %", ylabel="error rate, %")
    axes.set(title="Risk and coverage", xlim=(0, 102))
    axes.set_ylim(bottom=0)
    return figure


@styled
def training_curves(logs: Mapping[str, pd.DataFrame], panels: Sequence[str] = ("loss", "accuracy")) -> Figure:
    """Plot loss and accuracy by epoch, as in CaCo's figure 6, for one or several runs.

    Args:
        logs: run name -> ``log.csv`` with ``epoch`` and any of train_loss, val_loss, val_accuracy,
            val_balanced_accuracy.
        panels: ``loss``, ``accuracy`` or both.
    """
    figure = Figure(figsize=(4.3 * len(panels), 3.1), layout="constrained")
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        scale = 1 if panel == "loss" else 100
        if len(logs) == 1:
            columns, title = _PANELS[panel]
            ((_, log),) = logs.items()
            lines = [(label, log, column, i) for column, (label, i) in columns.items() if column in log]
        else:
            column, title = (
                ("val_loss", "Validation loss") if panel == "loss" else ("val_accuracy", "Validation accuracy, %")
            )
            lines = [(name, log, column, i) for i, (name, log) in enumerate(logs.items()) if column in log]
        ends = []
        for label, log, column, i in lines:
            values = (log[column] * scale).dropna()
            if values.empty:
                continue
            marker = "o" if len(values) == 1 else ""
            axes.plot(log["epoch"][values.index], values, linewidth=1.5, marker=marker, **line_style(i))
            ends.append((float(values.iloc[-1]), label, str(line_style(i)["color"])))
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        label_ends(axes, ends)
    return figure


_PANELS = {
    "loss": ({"train_loss": ("training", 0), "val_loss": ("validation", 1)}, "Loss"),
    "accuracy": ({"val_accuracy": ("accuracy", 2), "val_balanced_accuracy": ("balanced", 3)}, "Validation, %"),
}


def save_plot(figure: Figure, stem: str | Path) -> list[Path]:
    """Write a figure as ``<stem>.png`` and ``<stem>.svg``, atomically: both or neither.

    Args:
        figure: the figure.
        stem: path without suffix.

    Returns:
        Both paths.

    Raises:
        OutputError: a file cannot be written.
    """
    paths = [Path(f"{stem}.png"), Path(f"{stem}.svg")]
    with mpl.rc_context(STYLE), ExitStack() as stack:
        for path in paths:
            temporary = stack.enter_context(atomic_path(path))
            # No date, for reproducible files.
            figure.savefig(temporary, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Return a figure as an ``<svg>`` element with its page's colours and fonts.

    Args:
        figure: the figure.
        name: prefix of all ids inside, unique on the page.
        description: text alternative for screen readers.

    Returns:
        The element. Ink, grid and series colours are CSS variables: ``--ink``, ``--muted``, ``--grid``, ``--face`` and
        ``--series-0`` to ``--series-7``.
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE | {"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    variables = {INK: "ink", MUTED: "muted", GRID: "grid", FACE: "face"} | {
        c: f"series-{i}" for i, c in enumerate(PALETTE)
    }
    for colour, variable in variables.items():
        svg = re.sub(re.escape(colour), f"var(--{variable})", svg, flags=re.I)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    # Without width and height, the view box sets the aspect ratio and the page the width.
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', rf'<svg \1role="img" aria-label="{label}"', svg, count=1
    ).strip()


def new_figure(width: float = 4.3, height: float = 3.6) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def line_style(k: int) -> dict[str, Any]:
    """Return colour and dash of the k-th line; the dash changes when the palette repeats."""
    return {"color": PALETTE[k % len(PALETTE)], "linestyle": DASHES[k // len(PALETTE) % len(DASHES)]}


def label_point(axes: Axes, text: str, point: tuple[float, float], offset: tuple[float, float], colour: str) -> None:
    """Draw text at an ``offset`` from a point, in typographic points."""
    axes.annotate(text, point, xytext=offset, textcoords="offset points", ha="right", color=colour, fontweight="bold")


def _unit(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.02))
    axes.set_aspect("equal")


def _key(axes: Axes, shown: Sequence[tuple[float, int, str]], what: str) -> None:
    """List names and figures beside the axes in their lines' colours, in descending order."""
    step = min(0.066, 0.85 / max(1, len(shown)))
    axes.text(1.03, 1.0, what, fontsize=8, color=MUTED, va="top", transform=axes.transAxes)
    for i, (value, k, code) in enumerate(sorted(shown, reverse=True)):
        name = code.replace("_", " ")
        y = 0.89 - step * i
        text: Any = {"fontsize": 8.5, "va": "top", "fontweight": "bold", "transform": axes.transAxes}
        axes.text(1.03, y, f"{value:.3f}  {name}", color=line_style(k)["color"], **text)


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Draw each line's name at the height of its last point, without overlaps."""
    if not ends:
        return
    low, high = axes.get_ylim()
    gap = (high - low) * 0.068
    ordered = sorted(ends)
    at = [end[0] for end in ordered]
    for _ in range(200):  # move labels that are too close apart by the same amount
        overlaps = [gap - (upper - lower) for lower, upper in itertools.pairwise(at)]
        if not overlaps or max(overlaps) < gap * 0.01:
            break
        for i, overlap in enumerate(overlaps):
            if overlap > 0:
                at[i] -= overlap / 2
                at[i + 1] += overlap / 2
    floor = low + gap * 0.3
    for i, y in enumerate(at):  # keep labels above the tick labels
        at[i] = max(y, floor)
        floor = at[i] + gap
    for y, (label, colour) in zip(at, [end[1:] for end in ordered], strict=True):
        place: Any = {"xycoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
        axes.annotate(label, (1.01, y), fontsize=8.5, color=colour, fontweight="bold", **place)
