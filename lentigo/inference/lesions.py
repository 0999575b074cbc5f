"""Mean prediction over the images of a lesion that the model can assess, as in the phone app."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

import numpy as np

from lentigo.bundle import Spec
from lentigo.errors import DataError, did_you_mean
from lentigo.inference.sources import Sources
from lentigo.inference.table import Row
from lentigo.inference.verdict import assess
from lentigo.tables import find_column, is_unknown

Key = Callable[[str], str | None]
"""Function from a path to its lesion; None if the lesion is unknown."""


def group_key(group_by: str, sources: Sequence[str] | Sources) -> Key:
    r"""Make the function that returns the lesion of an image from its path.

    Args:
        group_by: a column of the lists among the sources, or a regular expression. It is searched for in the file name,
            and then in the path below the source; the lesion is its groups, or the whole match if it has none.
        sources: the images.

    Raises:
        DataError: neither a column of a list nor a regular expression, or an image of two lesions.
    """
    known: dict[str, str] = {}
    columns: list[str] = []
    given = Sources(sources) if sources and not isinstance(sources, Sources) else sources
    lists, above = (given.lists, given.above) if isinstance(given, Sources) else ({}, ())
    found = False
    for source, (named, cells) in lists.items():
        columns += cells.columns
        chosen = find_column(cells.columns, (group_by,))
        if chosen is None:
            continue
        found = True
        for path, lesion in zip(cells.columns[named], cells.columns[chosen], strict=True):
            if path and not is_unknown(lesion) and known.setdefault(path, lesion) != lesion:
                raise DataError(
                    f"{source}: {path!r} is of {known[path]!r} and of {lesion!r} by column {chosen!r}; keep one"
                )
    if found:
        return lambda path: known.get(path)
    if re.fullmatch(r"[\w ]+", group_by) and lists:
        raise DataError(f"--group-by {group_by!r}: no column of {', '.join(lists)}{did_you_mean(group_by, columns)}")
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise DataError(
            f"--group-by {group_by!r}: neither a column of a list nor a regular expression ({error})"
        ) from None

    def by_name(path: str) -> str | None:
        outer = next((start for start in above if path.startswith(start)), "")
        plain = path[len(outer) :].replace("\\", "/")
        found = pattern.search(PurePath(plain).name) or pattern.search(plain)
        return found and ("-".join(part or "" for part in found.groups()) or found.group() or None)

    return by_name


def merge_rows(rows: Sequence[Row], key: Key, spec: Spec) -> list[Row]:
    """Return one row per lesion, in the order of their first images; ``path`` is the lesion.

    Probabilities are the mean over the images for which the model does not abstain. If it abstains for all, they are
    the mean over all, with their reasons. Hints give the number of averaged images, and whether their most probable
    classes differ.

    Args:
        rows: one per image.
        key: the lesion of a path.
        spec: of the model that made the rows.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row.path) or row.path, []).append(row)
    return [_merge(name, members, spec) for name, members in groups.items()]


def _merge(name: str, rows: list[Row], spec: Spec) -> Row:
    read = [row for row in rows if not row.error]
    if not read:
        return Row(name, error="; ".join(dict.fromkeys(row.error for row in rows)))
    counted = [row for row in read if not row.reasons] or read
    mean = np.mean([row.probabilities for row in counted], axis=0)
    updated = any(row.image_alone for row in counted)
    alone = np.mean([row.image_alone or row.probabilities for row in counted], axis=0).tolist() if updated else ()
    reasons = tuple(dict.fromkeys(reason for row in counted for reason in row.reasons))
    verdict = assess(spec, mean.tolist(), None, (reasons, _hints(rows, read, counted)), alone)
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
