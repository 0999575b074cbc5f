"""Several pictures of one lesion: the mean over those that the model can assess, as in the phone app."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import numpy as np

from lentigo.bundle import Spec
from lentigo.errors import DataError, did_you_mean
from lentigo.inference.sources import read_list
from lentigo.inference.table import Row
from lentigo.inference.verdict import assess

Key = Callable[[str], str]


def group_key(group_by: str, sources: Sequence[str]) -> Key:
    r"""What tells the lesion of an image from its path.

    Args:
        group_by: a column of the lists (.csv) among the sources, or a regular expression on file names: what its
            brackets hold is the lesion, all of the match without brackets. A picture that neither names stands alone.
        sources: what is classified.

    Raises:
        DataError: neither a column of a list nor a regular expression.
    """
    lists = [source for source in sources if source.lower().endswith(".csv") and Path(source).is_file()]
    columns: list[str] = []
    for source in lists:
        named, rows = read_list(source)
        columns += [column for column in (rows[0] if rows else ()) if column is not None]
        chosen = next((column for column in columns if _plain(column) == _plain(group_by)), None)
        if chosen is not None:
            known = {row[named]: row[chosen] for row in rows if row.get(named) and row.get(chosen)}
            return lambda path: known.get(path, path)
    if re.fullmatch(r"\w+", group_by) and lists:
        raise DataError(f"--group-by {group_by!r}: no column of {', '.join(lists)}{did_you_mean(group_by, columns)}")
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise DataError(
            f"--group-by {group_by!r}: neither a column of a list nor a regular expression ({error})"
        ) from None

    def by_name(path: str) -> str:
        found = pattern.search(PurePath(path.replace("\\", "/")).name) or pattern.search(path)
        return path if found is None else "-".join(part or "" for part in found.groups()) or found.group()

    return by_name


def _plain(column: str) -> str:
    return re.sub(r"[\s_\-.]+", "", column).lower()


def merge_rows(rows: Sequence[Row], key: Key, spec: Spec) -> list[Row]:
    """One row a lesion, in the order in which lesions first appear; ``path`` is the lesion.

    Probabilities are the mean over the pictures for which the model does not abstain; where it abstains for all, over
    all of them, and their reasons stand. A hint tells how many pictures were averaged, and that they disagree where
    their likeliest classes differ.

    Args:
        rows: one a picture.
        key: the lesion of a path.
        spec: of the model that gave the rows.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row.path), []).append(row)
    return [_merge(name, members, spec) for name, members in groups.items()]


def _merge(name: str, rows: list[Row], spec: Spec) -> Row:
    read = [row for row in rows if not row.error]
    if not read:
        return Row(name, error="; ".join(dict.fromkeys(row.error for row in rows)))
    counted = [row for row in read if not row.reasons] or read
    mean = np.mean([row.probabilities for row in counted], axis=0)
    reasons = tuple(dict.fromkeys(reason for row in counted for reason in row.reasons))
    verdict = assess(spec, mean.tolist(), None, (reasons, _hints(rows, read, counted)))
    return Row.of(name, mean.tolist(), spec.codes[int(mean.argmax())], verdict)


def _hints(rows: list[Row], read: list[Row], counted: list[Row]) -> tuple[str, ...]:
    hints = [f"mean of {len(counted)} pictures"] if len(rows) > 1 else list(counted[0].hints)
    if len(read) > len(counted):
        hints.append(f"{len(read) - len(counted)} left out, the model can't assess them")
    if len(rows) > len(read):
        hints.append(f"{len(rows) - len(read)} cannot be read")
    answers = list(dict.fromkeys(row.label for row in counted))
    if len(answers) > 1:
        hints.append(f"the pictures disagree: {', '.join(answers)}")
    return tuple(hints)
