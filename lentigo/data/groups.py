"""Groups: the lesion or patient of each image, and where this information comes from."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from lentigo.errors import DataError
from lentigo.tables import column_key

_ID = "(id|no|nr|num|number|code|key|uid|identifier|pseudonym|name|nummer|número|numero|编号|編號|号|番号)?"
GROUP_COLUMNS = (
    r"(id)?group(id)?",
    rf"(id)?(patient(en|in)?|pat|paciente|subject|participant|proband|person|record|患者|病人){_ID}|pid|mrn",
    rf"(id)?case{_ID}",
    rf"(id)?lesion{_ID}",
)
"""Columns of an own table that are taken as the group, without case and ``_``; patients hold lesions, so they come
first."""


def unify(groups: Sequence[str]) -> tuple[list[str], list[str]]:
    """Merge ids that differ only in case, blanks, leading zeros, ``.0`` or the bytes of accents.

    Merging two different ids restricts a split slightly; splitting one id in two is a leak.

    Returns:
        The ids, each as it is written first, and those that are written in several ways.

    Example:
        >>> unify(["P1", "p01", "7", "7.0", "8"])
        (['P1', 'P1', '7', '7', '8'], ['P1', '7'])
    """
    spellings: dict[str, dict[str, None]] = {}
    keys = []
    for group in groups:
        key = re.sub(r"\s+", " ", unicodedata.normalize("NFC", group).casefold()).strip()
        keys.append(re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"^(\d+)\.0+$", r"\1", key)))
        spellings.setdefault(keys[-1], {})[group] = None
    return [next(iter(spellings[key])) for key in keys], [
        next(iter(written)) for written in spellings.values() if len(written) > 1
    ]


_UNITS = {
    "patient": "patient(en|in)?|pat|pid|mrn|paciente|subject|participant|proband|患者|病人",
    "lesion": "lesion",
    "case": "case",
}
"""Unit -> words in the name of a column or pattern."""


@dataclass(frozen=True, slots=True)
class GroupSource:
    """The source of the groups: how it is known which images show the same lesion or patient.

    Attributes:
        kind: ``column`` of the user's table; ``pattern`` on the file names; ``layout`` of a published data set;
            ``folder`` of each patient; ``unknown``.
        name: the column, the pattern, or what the folders stand for.
        blank: number of images without a group; each of them is a group of its own.
    """

    kind: Literal["column", "pattern", "layout", "folder", "unknown"] = "unknown"
    name: str = ""
    blank: int = 0

    @property
    def known(self) -> bool:
        """Whether every image's group is known; otherwise a leak between parts of a split cannot be excluded."""
        return self.kind != "unknown" and not self.blank

    @property
    def unit(self) -> str:
        """Unit of the groups by their name: ``patient``, ``lesion``, ``case`` or, if the name is another, ``group``."""
        words = (column_key(self.name), *re.split(r"[\W_\d]+", self.name.lower()))
        return next(
            (u for u, w in _UNITS.items() if any(re.fullmatch(f"({w}){_ID}s?", word) for word in words)), "group"
        )

    @property
    def record(self) -> dict[str, str | int]:
        """Return the entry for ``run.json``; ``blank`` only if it is not 0."""
        return {key: value for key, value in asdict(self).items() if value or key != "blank"}

    @property
    def units(self) -> str:
        """The plural of ``unit``."""
        return f"{self.unit}s"

    @classmethod
    def of(cls, record: Any) -> GroupSource:
        """Read a record back; what is absent or malformed (an older run) is unknown."""
        if not isinstance(record, Mapping) or record.get("kind") not in ("column", "pattern", "layout", "folder"):
            return cls()
        return cls(record["kind"], str(record.get("name", "")), int(record.get("blank", 0)))

    def __str__(self) -> str:
        if self.kind == "unknown":
            return "unknown"
        how = {
            "column": f"column {self.name}",
            "pattern": f"pattern {self.name}",
            "folder": f"folders: {self.name}",
        }.get(self.kind, self.name)
        return f"{how}, {self.blank:,} images without one" if self.blank else how


UNKNOWN = GroupSource()
"""Nothing says which images belong together."""

_BEFORE = {"ham10000": GroupSource("layout", "lesion_id"), "pad_ufes_20": GroupSource("layout", "patient_id")}


def recorded_groups(record: Mapping[str, Any]) -> GroupSource:
    """Read the source of the groups from ``run.json`` or a bundle's provenance.

    For older files, the layout of a published data set gives it.
    """
    return GroupSource.of(record["groups"]) if record.get("groups") else _BEFORE.get(str(record.get("data")), UNKNOWN)


LEAK = "a leak between the parts of the split cannot be excluded"
ASK = r"name the patients with --group-by COLUMN, or a pattern on file names such as --group-by 'PAT_(\d+)_'"
"""Parts of messages about unknown groups."""


def match_pattern(option: str, pattern: str, paths: Sequence[str]) -> tuple[list[str], bool]:
    r"""Search each image's file name for a regular expression, or its path if the names do not all match.

    Args:
        option: what the pattern was given for, for messages.
        pattern: such as ``PAT_(\d+)_``; the result is the content of the brackets, or the whole match without brackets.
        paths: of the images, with ``/``.

    Returns:
        The matches, and whether they are in the file names.

    Raises:
        DataError: no regular expression, or a name that it does not match.
    """
    if not pattern:
        raise DataError(f"{option} is empty; name a column of the table, or a regular expression")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(f"{option} {pattern!r}: no regular expression ({error})") from None
    found = [compiled.search(PurePosixPath(path).name) for path in paths]
    named = all(found)
    if not named:
        found = [compiled.search(path) for path in paths]
    unmatched = [path for path, match in zip(paths, found, strict=True) if match is None]
    if unmatched:
        raise DataError(
            f"{option} {pattern!r}: matches {len(paths) - len(unmatched):,} of {len(paths):,} file names, not"
            f" {unmatched[0]!r}; name a column of the table, or a pattern that fits every name"
        )
    return ["-".join(part or "" for part in match.groups()) or match.group() for match in found if match], named
