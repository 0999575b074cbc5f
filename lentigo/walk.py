"""List the files below a folder that may be data, in one order for every command, and find masks among images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

RUBBISH = frozenset(
    {
        "__macosx", "@eadir", "@recycle", "@recently-snapshot", "@synoresource", "#recycle", "#snapshot", "~snapshot",
        "$recycle.bin", "recycler",
        "system volume information", "lost+found", "network trash folder", "temporary items", "found.000", "_gsdata_",
        "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
    }
)  # fmt: skip
"""Files and folders of operating systems and storage devices, in lower case. Hidden names are never data either."""

_MASKS = re.compile(
    r"(.+ )?(masks?|segmentations?( masks?| lesion.*)?|segmentation(class|object)|ground ?truths?( v\d)?|superpixels?"
    r"|heat ?maps?|grad ?cams?|saliency( maps?)?)|overlays?|annotations?|thumbs?|thumbnails?|previews?",
    re.IGNORECASE,
)
_KIND = (
    r"(masks?|segmentation|seg|superpixels?|ground ?truth|gt|lesion[ _]mask|heat[ _]?map|grad[ _-]?cam|cam|saliency"
    r"|overlay|contours?|outline|annotated|attribute_\w+|expert|thumb|thumbnail|preview)"
)
_MASK = re.compile(rf"(.+?)[\s_\-.]+{_KIND}[\s_\-]?\d*|{_KIND}[\s_\-.]+(.+)", re.IGNORECASE)
_PH2 = re.compile(r"(.+)_(lesion|roi)")

Skipped = Callable[[str, str], None]
"""Called with the relative path of what is left out, and the reason."""


def is_rubbish(name: str) -> bool:
    """Return whether a name is never data: hidden, an office program's lock file, or a file of the system."""
    return name.startswith((".", "~$")) or name.lower() in RUBBISH


def entries(folder: str, skipped: Skipped | None = None) -> list[tuple[str, bool]]:
    """Return the names in a folder that may be data, sorted, and whether each is a folder.

    Links to folders are left out, because they may form a circle.

    Raises:
        OSError: the folder cannot be read.
    """
    found = []
    with os.scandir(folder) as scanned:
        for entry in scanned:
            if is_rubbish(entry.name):
                if skipped is not None:
                    skipped(entry.name, "hidden" if entry.name.startswith(".") else "left by the system")
            elif entry.is_symlink() and Path(entry.path).is_dir():  # of a link to itself entry.is_dir() is an error
                if skipped is not None:
                    skipped(
                        entry.name, "a link to a folder, which is not followed; give its target, or copy the folder"
                    )
            elif entry.is_dir(follow_symlinks=False):
                found.append((entry.name, True))
            elif skipped is not None and not entry.is_symlink() and not entry.is_file():
                skipped(entry.name, "a pipe, socket or device, no file")  # reading one can wait for ever
            else:  # opening a link that leads nowhere, or a pipe that no `skipped` names, is an error with its name
                found.append((entry.name, False))
    return sorted(found)


def walk(root: str, skipped: Skipped | None = None, *, folders: list[str] | None = None) -> Iterator[str]:
    """Yield the relative paths, with ``/``, of all files below a folder, sorted by name, folders among files.

    Args:
        root: the folder.
        skipped: called for what is left out.
        folders: a list to which the relative paths of the folders are added.

    Raises:
        OSError: a folder cannot be read.
    """
    yield from _walk(root, "", skipped, folders)


def _walk(folder: str, inner: str, skipped: Skipped | None, folders: list[str] | None) -> Iterator[str]:
    report = None if skipped is None else lambda name, why: skipped(inner + name, why)
    for name, is_folder in entries(folder, report):
        if is_folder:
            if folders is not None:
                folders.append(inner + name)
            yield from _walk(os.path.join(folder, name), f"{inner}{name}/", skipped, folders)  # noqa: PTH118  (100,000 times)
        else:
            yield inner + name


def masks(images: Iterable[str]) -> dict[str, str]:
    """Return the images that are masks, heat maps or thumbnails of others, each with the reason.

    Such are ``x_mask.png`` beside ``x.jpg``, and what lies in a folder ``masks`` beside images or other folders.

    Args:
        images: relative paths, with ``/``.
    """
    listed = list(images)
    stems = {image.rpartition(".")[0].lower() for image in listed}
    beside: dict[str, set[str]] = {}
    for image in listed:
        parts = image.split("/")[:-1]
        for level, name in enumerate((*parts, "")):  # the image itself beside folders
            beside.setdefault("/".join(parts[:level]), set()).add(name)
    found = {}
    for image in listed:
        parts = image.split("/")[:-1]
        match = _MASK.fullmatch(PurePosixPath(image).stem)
        if match and "/".join((*parts, match[1] or match[4])).lower() in stems:
            found[image] = "a mask, heat map or thumbnail beside its image, no picture"
            continue
        for level, name in enumerate(parts):
            others = beside["/".join(parts[:level])]
            ph2 = _PH2.fullmatch(name)
            if ph2 and f"{ph2[1]}_Dermoscopic_Image" in others:
                found[image] = "a mask of PH2, no picture"
            elif _is_mask(name) and not all(map(_is_mask, others)):
                found[image] = f"lies in {name!r}: masks or thumbnails, no pictures"
    return found


def _is_mask(folder: str) -> bool:
    return _MASKS.fullmatch(re.sub(r"[\s_\-]+", " ", folder)) is not None
