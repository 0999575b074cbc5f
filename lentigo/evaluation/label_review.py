"""Likely label errors, by confident learning on predictions for images outside the training set.

The method is that of Northcutt, Jiang and Chuang (JAIR 2021), implemented by the package ``cleanlab``. It uses the
mean probability of each class among the images with that label. From these it estimates how many labels of one class
belong to another, and selects as many images as candidates. A candidate needs a second look and is not necessarily an
error: a confident wrong prediction gives a candidate, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import lentigo
from lentigo.data.tables import write_table
from lentigo.errors import DataError, MissingExtraError
from lentigo.evaluation.predictions import REQUIRED, PredictionTable, make_predictions
from lentigo.evaluation.report import embedded_pictures, templates
from lentigo.evaluation.runfiles import RunFiles, read_run
from lentigo.files import write_text

TABLE, PAGE = "label-review.csv", "label-review.html"


@dataclass(frozen=True)
class Candidate:
    """An image whose label may be wrong.

    Attributes:
        image: image id.
        path: image file, relative to the data folder.
        group: lesion or patient id.
        given: code of the labelled class.
        suggested: code of the most probable class.
        doubt: 1 minus the probability of the given class.
        confidence: probability of the suggested class.
    """

    image: str
    path: str
    group: str
    given: str
    suggested: str
    doubt: float
    confidence: float


@dataclass(frozen=True)
class LabelReview:
    """Result of a label review.

    Attributes:
        candidates: images to check, in descending order of doubt.
        images: number of images reviewed.
        runs: number of runs.
        split: part of each run that was reviewed.
        state: ``before temperature`` or ``after temperature``; empty if not recorded or different between the tables.
        table: path of the CSV.
        page: path of the HTML page.
    """

    candidates: tuple[Candidate, ...]
    images: int
    runs: int
    split: str
    state: str
    table: Path
    page: Path

    @property
    def pairs(self) -> list[tuple[str, str, int]]:
        """Return (given, suggested, number of candidates), in descending order of the number."""
        counts = Counter((one.given, one.suggested) for one in self.candidates)
        return [(given, suggested, count) for (given, suggested), count in counts.most_common()]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"table": str(self.table), "page": str(self.page)}


def review_labels(
    sources: Sequence[str | Path],
    out: str | Path = ".",
    *,
    split: str = "val",
    data_root: str | Path | None = None,
    pictures: int = 100,
) -> LabelReview:
    """Rank images with doubtful labels and write ``label-review.csv`` and ``label-review.html``.

    Args:
        sources: runs (such as the folds of a cross-validation), a folder of runs, or CSVs of predictions. The images
            must not be training images. Several predictions of one image are averaged.
        out: output folder.
        split: predictions to use: ``val`` (with folds, this covers every image) or ``test``.
        data_root: folder of the images; by default the one in the runs' records.
        pictures: maximum number of candidates on the page.

    Raises:
        DataError: no such predictions, classes or labels that differ between sources, or training images.
        MissingExtraError: ``cleanlab`` is not installed.
        OutputError: a file cannot be written.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise MissingExtraError("the review of labels", "review") from None
    runs = [read_run(source, split=split) for given in sources for source in _runs_in(Path(given), split)]
    table, folder = _pooled(runs), Path(out)
    suspicious = find_label_issues(table.targets, table.probabilities, n_jobs=1)  # (N,) bool
    states = {run.test.state for run in runs}
    review = LabelReview(
        _candidates(table, suspicious),
        images=len(table),
        runs=len(runs),
        split=split,
        state=states.pop() if len(states) == 1 else "",
        table=folder / TABLE,
        page=folder / PAGE,
    )
    columns = list(Candidate.__dataclass_fields__)
    write_table(review.table, pd.DataFrame([asdict(one) for one in review.candidates], columns=columns))
    root = Path(data_root or runs[0].record.get("data_root") or runs[0].folder)
    _write_page(review, runs[0], root.parent if root.is_file() else root, pictures)
    return review


def _candidates(table: PredictionTable, suspicious: npt.NDArray[np.bool_]) -> tuple[Candidate, ...]:
    """Return the suspicious images (N,), in ascending order of the given class's probability."""
    given = table.probabilities[np.arange(len(table)), table.targets]
    predicted = table.probabilities.argmax(axis=1)
    return tuple(
        Candidate(
            image=str(table.frame["image"].iloc[row]),
            path=str(table.frame["path"].iloc[row]),
            group=str(table.groups[row]),
            given=table.codes[table.targets[row]],
            suggested=table.codes[predicted[row]],
            doubt=float(1 - given[row]),
            confidence=float(table.probabilities[row, predicted[row]]),
        )
        for row in np.argsort(given, kind="stable")
        if suspicious[row]
    )


def _write_page(review: LabelReview, run: RunFiles, root: Path, pictures: int) -> None:
    template = templates().get_template("label-review.html.j2")
    page = template.render(
        title=f"Labels to look at again: {run.record.get('data') or run.name}",
        notice=lentigo.NOTICE,
        version=lentigo.__version__,
        review=review,
        labels=run.labels,
        shown=[(one, *embedded_pictures(root, one.path, None)) for one in review.candidates[:pictures]],
    )
    write_text(review.page, page)


def _runs_in(source: Path, split: str) -> list[Path]:
    """Return a run or CSV itself, or the runs in a folder of runs."""
    if source.is_dir() and not (source / "predictions").is_dir():
        found = sorted(path.parent.parent for path in source.glob(f"*/predictions/{split}.csv"))
        if not found:
            raise DataError(f"{source}: no run folder, and no runs with predictions/{split}.csv in it")
        return found
    return [source]


def _pooled(runs: Sequence[RunFiles]) -> PredictionTable:
    """Return one row per image, averaged over the runs that held it out."""
    first = runs[0]
    for run in runs:
        if run.split == "train":
            raise DataError(f"{run.test.source}: of training images; give predictions of val or test")
        if run.test.codes != first.test.codes:
            raise DataError(
                f"{run.test.source}: classes {', '.join(run.test.codes)}, but {first.test.source} has"
                f" {', '.join(first.test.codes)}; review runs of one data set together"
            )
    codes = list(first.test.codes)
    frame = pd.concat([run.test.frame[[*REQUIRED, *codes]] for run in runs], ignore_index=True)
    several = frame.groupby("image")["target"].nunique()
    if (several > 1).any():
        raise DataError(f"image {several.idxmax()!r} has several labels; review runs of one data set together")
    rows = frame.groupby("image", sort=False)
    mean, rest = rows[codes].mean(), rows[["path", "group", "target"]].first()
    return make_predictions(
        images=[str(image) for image in mean.index],
        paths=rest["path"].tolist(),
        groups=rest["group"].tolist(),
        targets=rest["target"].tolist(),
        probabilities=mean.to_numpy(dtype=np.float64),
        codes=codes,
    )
