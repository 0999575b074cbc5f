"""Names for classes that are written as numbers: a legend's sheet, table, list, YAML or JSON beside the data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import permutations, zip_longest
from pathlib import PurePosixPath
from typing import Any

from lentigo.code_pages import decode
from lentigo.data.readers.place import Place
from lentigo.errors import LentigoError
from lentigo.tables import PATH_COLUMNS, find_column, some

_LISTS = ("classes.txt", "class_names.txt", "labels.txt", "obj.names", "classes.names", "categories.txt")
_SETTINGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.yaml")
_MOST = 1000
"""More rows than these are no legend."""
Rows = Sequence[Sequence[str]]


def name_classes(place: Place, values: Sequence[str]) -> list[str]:
    """Replace numbered classes by the names in a legend beside the data; other classes do not change."""
    codes = set(values)
    given = place.labels is not None and codes <= {*place.labels.codes}
    if given or not all(code.isdecimal() for code in codes) or (place.root / "classes.csv").is_file():
        return list(values)
    found = {source: names for source, rows in _legends(place) if (names := _names(rows, codes))}
    if not found:
        return list(values)
    source, names = next(iter(found.items()))
    if any(other != names for other in found.values()):
        place.reading.note(f"{some(found)} name the classes differently, and neither is used; keep one of them")
        return list(values)
    place.reading.columns["classes"] = source
    if source in place.files:
        place.reading.use(source)
    place.reading.note(f"{source} names the classes: {some((f'{c} is {n!r}' for c, n in names.items()), 20)}")
    return [names[value] for value in values]


def _names(rows: Rows, codes: set[str]) -> dict[str, str]:
    """Return code -> name from two columns of a legend; empty if no two columns name every code."""
    columns = list(zip_longest(*rows[:_MOST], fillvalue=""))
    for numbers, names in permutations(columns, 2):
        pairs = [(n.removesuffix(".0"), name) for n, name in zip(numbers, names, strict=True)]
        pairs = [(n, name) for n, name in pairs if n in codes]
        named = dict(pairs)
        if len(pairs) == len(codes) == len(named) == len(set(named.values())) and not any(
            not name or name.isdecimal() for name in named.values()
        ):
            return dict(sorted(named.items(), key=lambda pair: int(pair[0])))
    return {}


def _legends(place: Place) -> Iterator[tuple[str, Rows]]:
    """Yield the source of each legend and its rows of a number and a name."""
    for name in place.tables:
        if not place.columns(name):
            continue
        table = place.table(name)
        for sheet, rows in table.attrs.get("sheets", {}).items():
            yield f"{name}, sheet {sheet!r}", rows
        if len(table) <= _MOST and find_column(table.columns, (*PATH_COLUMNS, "image")) is None:
            yield name, table.to_numpy().tolist()
    for file in place.files:
        name = PurePosixPath(file).name.lower()
        if name in _LISTS or name in _SETTINGS or name.endswith(".json"):
            with suppress(OSError, ValueError, RecursionError, LentigoError):
                text, _ = decode((place.root / file).read_bytes()[: 2**20])
                if name in _LISTS:
                    lines = [line.strip() for line in text.splitlines() if line.strip()]
                    yield file, [line.split(maxsplit=1) for line in lines] if _numbered(lines) else _counted(lines)
                else:
                    yield file, _rows_of(json.loads(text) if name.endswith(".json") else _yaml(text))


def _numbered(lines: Sequence[str]) -> bool:
    return all(line.split()[0].strip(":.").isdecimal() and len(line.split()) > 1 for line in lines)


def _counted(names: Sequence[object]) -> Rows:
    return [[str(number), str(name)] for number, name in enumerate(names)]


def _yaml(text: str) -> Any:
    from lentigo.config.plain import parse_yaml

    return parse_yaml(text, "")


def _rows_of(content: Any) -> Rows:
    if isinstance(content, dict) and isinstance(content.get("names"), dict | list):
        content = content["names"]
    if isinstance(content, list):
        return _counted(content) if all(isinstance(name, str) for name in content) else []
    pairs = content.items() if isinstance(content, dict) else ()
    return [[str(key), str(value)] for key, value in pairs if isinstance(value, str | int)]
