"""Plots of several models together: validation curves, and confusion matrices side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from lentigo.evaluation.plots import STYLE, draw_matrix, label_ends, line_style, shown_names, styled
from lentigo.files import atomic_path

_PANELS = {"val_accuracy": "Validation accuracy, %", "val_balanced_accuracy": "Validation balanced accuracy, %"}


@styled
def curves_plot(curves: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Plot validation accuracy and balanced accuracy of several models by epoch, as in CaCo's figure 6.

    Args:
        curves: model -> one ``log.csv`` per seed. The line is the mean over the seeds, the band their range.
    """
    longest = max(len(name) for name in curves)
    figure = Figure(figsize=(7.4 + 0.14 * longest, 3.2), layout="constrained")
    for axes, (column, title) in zip(figure.subplots(1, 2), _PANELS.items(), strict=True):
        ends = []
        for i, (name, logs) in enumerate(curves.items()):
            # Epochs x seeds.
            seeds = pd.concat({k: log.set_index("epoch")[column] * 100 for k, log in enumerate(logs)}, axis=1)
            mean = seeds.mean(axis=1)
            axes.plot(mean.index, mean, linewidth=1.5, marker="o" if len(mean) == 1 else "", **line_style(i))
            if seeds.shape[1] > 1:
                low, high = seeds.min(axis=1), seeds.max(axis=1)
                axes.fill_between(mean.index, low, high, color=line_style(i)["color"], alpha=0.10, linewidth=0)
            ends.append((float(mean.iloc[-1]), name, str(line_style(i)["color"])))
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        label_ends(axes, ends)
    return figure


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG with text elements, atomically and reproducibly.

    Raises:
        OutputError: the file cannot be written.
    """
    with mpl.rc_context(STYLE | {"svg.fonttype": "none"}), atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})


@styled
def confusion_panels(matrices: Mapping[str, npt.NDArray[np.int64]], codes: Sequence[str]) -> Figure:
    """Plot confusion matrices side by side, normalised by row, as in CaCo's figure 7.

    Args:
        matrices: model -> (K, K) counts, rows true and columns predicted.
        codes: K class codes.
    """
    size = len(codes)
    across = min(3, len(matrices))
    down = math.ceil(len(matrices) / across)
    side = 0.9 + 0.31 * size
    names = shown_names(codes)
    figure = Figure(figsize=(side * across, (side + 0.15) * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(matrices) :]:
        axes.set_axis_off()
    for position, (axes, (name, matrix)) in enumerate(zip(panels, matrices.items(), strict=False)):
        for (row, column), fraction, ink in draw_matrix(axes, matrix, linewidth=0.8):
            if fraction >= 0.005:
                at = column + 0.5, row + 0.5
                axes.text(*at, f"{fraction * 100:.0f}", ha="center", va="center", color=ink, fontsize=7)
        axes.set_title(name)
        axes.set_xticks(np.arange(size) + 0.5, names, rotation=90 if max(map(len, names)) > 3 else 0, fontsize=7)
        axes.set_yticks(np.arange(size) + 0.5, names if position % across == 0 else [""] * size, fontsize=7)
    figure.supxlabel("predicted class", fontsize=8.5)
    figure.supylabel("true class; percent of each row", fontsize=8.5)
    return figure
