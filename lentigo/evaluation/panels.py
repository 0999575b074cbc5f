"""Plots of several models together: validation curves, and confusion matrices side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lentigo.evaluation.plots import _STYLE, INK, _label_ends, _line, _settled
from lentigo.files import atomic_path

_PANELS = {"val_accuracy": "Validation accuracy, %", "val_balanced_accuracy": "Validation balanced accuracy, %"}


def curves_plot(curves: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Validation accuracy and balanced accuracy of several models by epoch, as in CaCo's figure 6.

    Args:
        curves: model -> one ``log.csv`` a seed. The line is the mean over the seeds, the band goes from the lowest to
            the highest.
    """
    longest = max(len(name) for name in curves)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.4 + 0.14 * longest, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (column, title) in zip(figure.subplots(1, 2), _PANELS.items(), strict=True):
            ends = []
            for i, (name, logs) in enumerate(curves.items()):
                # Epochs x seeds.
                seeds = pd.concat({k: log.set_index("epoch")[column] * 100 for k, log in enumerate(logs)}, axis=1)
                mean = seeds.mean(axis=1)
                axes.plot(mean.index, mean, linewidth=1.5, marker="o" if len(mean) == 1 else "", **_line(i))
                if seeds.shape[1] > 1:
                    axes.fill_between(
                        mean.index,
                        seeds.min(axis=1),
                        seeds.max(axis=1),
                        color=_line(i)["color"],
                        alpha=0.10,
                        linewidth=0,
                    )
                ends.append((float(mean.iloc[-1]), name, str(_line(i)["color"])))
            axes.set(xlabel="epoch", title=title)
            axes.xaxis.get_major_locator().set_params(integer=True)
            _label_ends(axes, ends)
    return _settled(figure)


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG with text as text, atomically; the same figure gives the same file.

    Raises:
        OutputError: the disk refuses.
    """
    with mpl.rc_context(_STYLE | {"svg.fonttype": "none"}), atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})


def confusion_panels(matrices: Mapping[str, npt.NDArray[np.int64]], codes: Sequence[str], columns: int = 3) -> Figure:
    """Confusion matrices side by side, each normalised by row, as in CaCo's figure 7.

    Args:
        matrices: model -> (K, K) counts, rows true and columns predicted.
        codes: K class codes.
        columns: panels in a row, at most.
    """
    size = len(codes)
    across = min(columns, len(matrices))
    down = math.ceil(len(matrices) / across)
    side = 0.9 + 0.31 * size
    names = [code.upper() if len(code) <= 5 else code.replace("_", " ") for code in codes]
    with mpl.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(side * across, (side + 0.15) * down), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels[len(matrices) :]:
            axes.set_axis_off()
        for position, (axes, (name, matrix)) in enumerate(zip(panels, matrices.items(), strict=False)):
            totals = matrix.sum(axis=1, keepdims=True)
            fractions = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
            axes.pcolormesh(fractions, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.8)
            axes.invert_yaxis()
            axes.set_aspect("equal")
            for row in range(size):
                for column in range(size):
                    ink = "white" if fractions[row, column] > 0.55 else INK
                    if fractions[row, column] >= 0.005:
                        axes.text(
                            column + 0.5,
                            row + 0.5,
                            f"{fractions[row, column] * 100:.0f}",
                            ha="center",
                            va="center",
                            color=ink,
                            fontsize=7,
                        )
            axes.set_title(name)
            axes.set_xticks(np.arange(size) + 0.5, names, rotation=90 if max(map(len, names)) > 3 else 0, fontsize=7)
            axes.set_yticks(np.arange(size) + 0.5, names if position % across == 0 else [""] * size, fontsize=7)
            axes.tick_params(length=0, labelcolor=INK)
            for spine in axes.spines.values():
                spine.set_visible(False)
        figure.supxlabel("predicted class", fontsize=8.5)
        figure.supylabel("true class; percent of each row", fontsize=8.5)
    return _settled(figure)
