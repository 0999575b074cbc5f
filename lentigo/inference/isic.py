"""The ISIC challenges' submission: a CSV with a column a class, as their scorer takes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lentigo.errors import DataError, OutputError, did_you_mean
from lentigo.files import atomic_path
from lentigo.inference.table import Row
from lentigo.text import csv_line

CHALLENGES: dict[str, tuple[str, ...]] = {
    "isic2018": ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
    "isic2019": ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"),
}
_OTHER_NAMES = {"isic2019": {"akiec": "AK"}}
"""Classes of a model that stand for a class of another name."""


class Submission:
    """Gathers predictions for a challenge.

    Args:
        codes: the model's classes, in the order of the probabilities.
        challenge: ``isic2018`` (task 3), ``isic2019``, or ``isic`` for the first of them that has all the model's
            classes.

    Raises:
        DataError: no such challenge, or one that lacks a class of the model.

    Example:
        >>> Submission(("mel", "nv"), "isic").columns[:2]
        ('MEL', 'NV')
    """

    def __init__(self, codes: Sequence[str], challenge: str = "isic") -> None:
        if challenge != "isic" and challenge not in CHALLENGES:
            raise DataError(
                f"--format {challenge}: no such format{did_you_mean(challenge, ('rows', 'isic', *CHALLENGES))}"
            )
        fitting = [name for name in CHALLENGES if challenge in ("isic", name) and not self._foreign(codes, name)]
        if not fitting:
            name = challenge if challenge in CHALLENGES else "isic2018"
            raise DataError(
                f"the model's classes {', '.join(self._foreign(codes, name))} are none of {name}'s:"
                f" {', '.join(CHALLENGES[name])}"
            )
        self.challenge = fitting[0]
        self.columns = CHALLENGES[self.challenge]
        self._place = [self.columns.index(self._column(code, self.challenge)) for code in codes]
        self._rows: dict[str, list[float]] = {}
        self.failed = 0

    @staticmethod
    def _column(code: str, challenge: str) -> str:
        return _OTHER_NAMES.get(challenge, {}).get(code, code.upper())

    @classmethod
    def _foreign(cls, codes: Sequence[str], challenge: str) -> list[str]:
        return [code for code in codes if cls._column(code, challenge) not in CHALLENGES[challenge]]

    def add(self, row: Row) -> None:
        """Take one image's answer; one that could not be read is counted.

        Raises:
            DataError: another image of the same name, which the scorer would refuse.
        """
        if row.error:
            self.failed += 1
            return
        image = PurePosixPath(row.path.replace("\\", "/").rpartition("#")[2]).stem
        if image in self._rows:
            raise DataError(f"{row.path}: a second image named {image}; a submission has one row a name")
        cells = [0.0] * len(self.columns)
        for place, probability in zip(self._place, row.probabilities, strict=True):
            cells[place] = min(max(float(probability), 0.0), 1.0)
        self._rows[image] = cells

    def write(self, path: Path) -> int:
        """Write the submission, sorted by image.

        Returns:
            How many images it holds.

        Raises:
            OutputError: another suffix than ``.csv``, or the disk refuses.
        """
        if path.suffix.lower() != ".csv":
            raise OutputError(f"{path}: a submission is a .csv file")
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            file.write(csv_line(("image", *self.columns)))
            file.writelines(csv_line((image, *map(repr, cells))) for image, cells in sorted(self._rows.items()))
        return len(self._rows)
