"""Read folders of images: find the levels of class, split and patient."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from lentigo.data.diagnoses import is_known
from lentigo.data.groups import UNKNOWN, GroupSource, match_pattern
from lentigo.data.readers.build import make_samples, own_classes
from lentigo.data.readers.place import Place
from lentigo.data.readers.split_words import split_word
from lentigo.data.samples import Samples
from lentigo.errors import DataError
from lentigo.extra_formats import is_extra_name
from lentigo.imaging import FOREIGN_SUFFIXES
from lentigo.tables import some

_PIECE = re.compile(r"^(fold|part|batch|split|cv|shard|chunk|kfold)[\s_\-]*\d+$", re.IGNORECASE)
_PATIENT = re.compile(
    r"^((pat|patient|patients|paciente|pt|p|subj|subject|sub|case|person)[\s_\-]*([a-z]{1,2}[\s_\-]?)?\d+\w*"
    r"|(patient|patientin|paciente|paziente|hasta)[\s_\-]+\w.*|(患者|病人).+)$",
    re.IGNORECASE,
)
_LESION = re.compile(r"^(lesion|les|lsn)[\s_\-]*\d+\w*$", re.IGNORECASE)
_NUMBER = re.compile(r"^[A-Za-z]{0,4}[\s_\-]?\d{1,9}$")
_AUGMENTED = re.compile(r"(?<![a-z])aug(mented|mentation|s)?(?![a-z])|synthetic|generated|oversampled", re.IGNORECASE)
_ASIDE = re.compile(r"(un|extra|other|raw|misc|new)", re.IGNORECASE)
_DATE = re.compile(r"^(19|20)\d\d([\s_\-.]?\d\d){0,2}$")


@dataclass
class _Tree:
    """Images with their folders.

    Attributes:
        place: for errors and notes.
        images: relative paths.
        parts: the folders of each, without wrappers.
        split: each image's part; empty if unknown.
        used: levels with a known meaning.
    """

    place: Place
    images: list[str]
    parts: list[tuple[str, ...]]
    split: list[str]
    used: set[int]
    wrapper: str = ""

    def keep(self, chosen: Sequence[bool]) -> None:
        """Leave out the images that are not chosen."""
        self.images = [v for v, k in zip(self.images, chosen, strict=True) if k]
        self.parts = [v for v, k in zip(self.parts, chosen, strict=True) if k]
        self.split = [v for v, k in zip(self.split, chosen, strict=True) if k]

    def names(self, level: int) -> list[str]:
        """Return the folders of a level, sorted; 0 is the topmost."""
        return sorted({p[level] for p in self.parts if len(p) > level})

    @property
    def depth(self) -> int:
        """Number of levels of folders."""
        return max((len(p) for p in self.parts), default=0)


def has_class_folders(place: Place) -> bool:
    """Return whether there are images in sub-folders."""
    return any("/" in image for image in place.images)


def read_folder(place: Place) -> Samples:
    """Read a folder with one sub-folder per class, perhaps with folders of splits, patients and wrappers.

    Raises:
        DataError: no folders of images, one class only, an empty class, or more than one level that may be the class.
    """
    if place.file is not None:
        raise DataError(f"{place.path}: not a folder")
    tree = _Tree(place, list(place.images), [], [], set())
    tree.parts = [tuple(image.split("/")[:-1]) for image in tree.images]
    tree.split = [""] * len(tree.images)
    if place.label_by is None:
        _drop_strays(tree)
    if not tree.images:
        raise DataError(f"{place.path}: has no sub-folders of images (one a class)")
    if place.label_by is not None:
        labels, _ = match_pattern("--label-by", place.label_by, tree.images)
        place.reading.columns["label"] = f"pattern {place.label_by}"
        _find_split(tree)
        groups = None
    else:
        _unwrap(tree)
        _find_split(tree)
        level = _class_level(tree)
        within = [len(p) > level for p in tree.parts]
        for image, inside in zip(tree.images, within, strict=True):
            if not inside:
                place.reading.ignore(image, "lies in no class folder")
        tree.keep(within)
        _check_empty(tree, level)
        labels = [p[level] for p in tree.parts]
        place.reading.columns["label"] = f"folders {some(labels)}"
        groups = _group_level(tree, level, len(set(labels)))
        _note_merged(tree, level, groups)
    frame = pd.DataFrame(
        {"image": tree.images, "path": tree.images, "group": tree.images, "split": tree.split, "train_only": False}
    )
    label_set, frame["label"] = own_classes(place, place.root.resolve().name, labels, place.path)
    if any(tree.split):
        frame["official_split"] = frame["split"]
    source = UNKNOWN
    if groups is not None:
        frame["group"] = [
            p[groups] if len(p) > groups else image for p, image in zip(tree.parts, tree.images, strict=True)
        ]
        source = GroupSource("folder", _group_word(tree.names(groups)), sum(len(p) <= groups for p in tree.parts))
        place.reading.note(f"folders {some(tree.names(groups))} are taken as the {source.unit}s")
    return make_samples(place, "folder", label_set, frame, source)


def _drop_strays(tree: _Tree) -> None:
    for image, parts in zip(tree.images, tree.parts, strict=True):
        if not parts:
            tree.place.reading.ignore(image, "lies in no class folder")
    tree.keep([bool(p) for p in tree.parts])


def _unwrap(tree: _Tree) -> None:
    """Remove levels with a single folder, and levels of numbered pieces of a data set."""
    while tree.depth > 1 and len(names := tree.names(0)) == 1 and len(tree.names(1)) > 0 and not is_known(names[0]):
        if not any(len(p) > 1 for p in tree.parts):
            break
        split, _ = split_word(names[0])
        tree.wrapper += f"{names[0]}/"
        tree.parts = [p[1:] for p in tree.parts]
        if split:
            tree.place.reading.note(f"all images lie in {names[0]!r}, which states no split")
        _drop_strays(tree)
    for level in range(tree.depth - 1, -1, -1):
        names = tree.names(level)
        if tree.depth > 1 and len(names) > 1 and all(_PIECE.match(name) for name in names):
            tree.place.reading.note(f"folders {some(names)} are read as one")
            tree.parts = [p[:level] + p[level + 1 :] for p in tree.parts]


def _find_split(tree: _Tree) -> None:
    """Find the level whose folders are training, validation and test, and leave out other folders of that level."""
    for level in range(tree.depth):
        splits = {name: split_word(name) for name in tree.names(level)}
        found = {name: split for name, (split, _) in splits.items() if split}
        if not _are_splits(tree, level, found):
            _refuse_lone_split(tree, level, found)
            continue
        if len({splits[name][1] for name in found}) > 1:
            raise DataError(
                f"{tree.place.path}: folders {some(found)} name a class and a split at once; make folders train, val"
                " and test with the "
                r"classes inside, or take the class from the path: --label-by '^([^/]+)_(?:train|test)'"
            )
        strange = [name for name in splits if name not in found]
        if any(is_known(name) for name in strange):
            raise DataError(
                f"{tree.place.path}: {some(found)} look like splits, but {some(strange)} lie beside them; "
                "put every class into each of the split folders, or take the split folders away"
            )
        for image, parts in zip(tree.images, tree.parts, strict=True):
            if len(parts) <= level or parts[level] not in found:
                where = parts[level] if len(parts) > level else "no split folder"
                tree.place.reading.ignore(
                    image, f"lies in {where!r} beside {some(found)}; name it train, val or test to use it"
                )
        tree.keep([len(p) > level and p[level] in found for p in tree.parts])
        tree.split = [found[p[level]] for p in tree.parts]
        tree.used.add(level)
        tree.place.reading.columns["split"] = f"folders {some(found)}"
        return


def _are_splits(tree: _Tree, level: int, found: Mapping[str, str]) -> bool:
    """Return whether the folders of a level are splits: of two kinds, or of one beside unused data (``unlabeled``)."""
    if len(set(found.values())) > 1:
        return True
    others = [name for name in tree.names(level) if name not in found]
    deeper = any(len(p) > level + 1 and p[level] in found for p in tree.parts)
    return bool(found and others and deeper and all(_ASIDE.match(name) for name in others))


def _refuse_lone_split(tree: _Tree, level: int, found: Mapping[str, str]) -> None:
    """Refuse a folder named as a split beside others with the same sub-folders: it is not a class."""
    below: dict[str, set[str]] = {}
    for parts in tree.parts:
        if len(parts) > level + 1:
            below.setdefault(parts[level], set()).add(parts[level + 1].lower())
    inside = set().union(*(below.get(name, set()) for name in found))
    alike = [name for name, folders in below.items() if name not in found and len(folders & inside) > 1]
    if alike:
        raise DataError(
            f"{tree.place.path}: {some(found)} looks like a split, and {some(alike)} beside it holds the same folders;"
            " name each of them train, val or test, or put what is not to be used somewhere else"
        )


def _class_level(tree: _Tree) -> int:
    """Return the level of the classes."""
    place = tree.place
    levels = [level for level in range(tree.depth) if level not in tree.used]
    if not levels:
        raise DataError(
            f"{place.path}: the split folders hold images, but no folders of classes; put each class into a folder"
            " there"
        )
    names = {level: tree.names(level) for level in levels}
    known = [level for level in levels if sum(map(is_known, names[level])) * 2 >= len(names[level])]
    if known:
        return known[0]
    plain = [
        level
        for level in levels
        if not _is_group(names[level]) and not (len(levels) > 1 and all(map(_DATE.match, names[level])))
    ]
    if not plain:
        strict = [level for level in levels if not _is_group(names[level], sure=True)]
        if len(strict) != 1:
            raise DataError(
                f"{place.path}: folders {some(names[levels[0]])} look like patients or lesions, not like classes; "
                r"name the classes in a CSV with columns path and label, or by a pattern on the paths: --label-by"
                r" '(\w+)/[^/]*$'"
            )
        return strict[0]
    if len(plain) == 1:
        return plain[0]
    first, second = plain[:2]
    above: dict[str, set[str]] = {}
    for parts in tree.parts:
        if len(parts) > second:
            above.setdefault(parts[second], set()).add(parts[first])
    if any(len(parents) > 1 for parents in above.values()):
        raise DataError(
            f"{place.path}: the class may be the folders {some(names[first])} or the folders {some(names[second])} in"
            " them; "
            r"say which by a pattern on the paths, --label-by '^([^/]+)/' or --label-by '([^/]+)/[^/]+$', or in a CSV"
            r" with path and label"
        )
    return first


def _is_group(names: Sequence[str], *, sure: bool = False) -> bool:
    """Return whether folder names have the form of ids of patients or lesions."""
    if all(_PATIENT.match(n) or _LESION.match(n) for n in names):
        return True
    return not sure and all(_NUMBER.match(n) for n in names) and not all(_DATE.match(n) for n in names)


def _group_level(tree: _Tree, level: int, classes: int) -> int | None:
    """Return the level of patients or lesions; None without one."""
    others = [other for other in range(tree.depth) if other not in (level, *tree.used) and _is_group(tree.names(other))]
    sure = [other for other in others if _is_group(tree.names(other), sure=True)]
    patients = [other for other in sure if all(_PATIENT.match(n) for n in tree.names(other))]
    likely = [other for other in others if len(tree.names(other)) >= classes]
    return next(iter(patients or sure or likely), None)


def _group_word(names: Sequence[str]) -> str:
    if all(_PATIENT.match(n) for n in names):
        return "case" if all(n.lower().startswith("case") for n in names) else "patient"
    return "lesion" if all(_LESION.match(n) for n in names) else "numbered folders"


def _note_merged(tree: _Tree, level: int, groups: int | None) -> None:
    for other in range(tree.depth):
        names = tree.names(other)
        if other not in (level, groups, *tree.used) and names:
            made = [name for name in names if _AUGMENTED.search(name)]
            if 0 < len(made) < len(names):
                tree.place.reading.note(
                    f"WARNING: where {some(made)} hold images made from the others, these fall into other parts of a"
                    " split than what they were made from; take them away"
                )
            where = "below" if other > level else "above"
            tree.place.reading.note(
                f"folders {some(names)} {where} the classes are read as one"
                + (
                    f"; to take the class from them, say so: --label-by {_pattern(tree, other, level)}"
                    if sum(map(is_known, names)) * 2 > len(names)
                    else ""
                    if groups is not None or len(tree.names(other)) < 2 or all(map(_DATE.match, tree.names(other)))
                    else "; if they are patients, say so: --group-by " + _pattern(tree, other, level)
                )
            )


def _pattern(tree: _Tree, other: int, level: int) -> str:
    """Return the regular expression that extracts a level's folder from a path."""
    if other < level:
        return shlex.quote(f"^{re.escape(tree.wrapper)}{'[^/]+/' * other}([^/]+)/")
    return f"'([^/]+)/{'[^/]+/' * (tree.depth - other - 1)}[^/]+$'"


def _check_empty(tree: _Tree, level: int) -> None:
    """Check that every class folder has images."""
    place = tree.place
    filled = {tree.wrapper + "/".join(p[: level + 1]) for p in tree.parts}
    parents = {name.rpartition("/")[0] for name in filled}
    holding = {str(parent) for image in (*place.images, *place.masks) for parent in PurePosixPath(image).parents}
    for folder in place.folders:
        if folder.rpartition("/")[0] not in parents or folder in holding:
            continue
        below = [f for f in place.files if f.startswith(f"{folder}/")]
        name = folder.rpartition("/")[2]
        unread = {PurePosixPath(f).suffix.lower() for f in below} & FOREIGN_SUFFIXES
        unread = {s for s in unread if not is_extra_name(f"x{s}")}
        if unread:
            raise DataError(
                f"{place.path / folder}: class {name!r} holds {', '.join(sorted(unread))} only, which is not read; save"
                " as JPEG or PNG"
            )
        if below or any(f.startswith(f"{folder}/") for f in place.folders):
            place.reading.ignore(folder, "a folder without images")
        else:
            raise DataError(f"{place.path / folder}: class {name!r} is empty; put images there or remove the folder")
