"""One rule for every command: which files and folders below a folder are data, and in which order they come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

RUBBISH = frozenset(
    {
        "__macosx", "@eadir", "@recycle", "@recently-snapshot", "@synoresource", "#recycle", "#snapshot", "~snapshot",
        "$recycle.bin", "recycler",
        "system volume information", "lost+found", "network trash folder", "temporary items", "found.000", "_gsdata_",
        "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
    }
)  # fmt: skip
"""What systems leave beside people's files, in lower case. Hidden names (``.ipynb_checkpoints``, ``._x.jpg``) count as
well."""

Skipped = Callable[[str, str], None]
"""Called with a relative path and the reason why it was passed over."""


def is_rubbish(name: str) -> bool:
    """Whether a name is never data: hidden, an office program's lock file, or left by the system."""
    return name.startswith((".", "~$")) or name.lower() in RUBBISH


def entries(folder: str, skipped: Skipped | None = None) -> list[tuple[str, bool]]:
    """The names in a folder that may be data, sorted, and whether each is a folder.

    Links to folders are passed over, since they may lead round in a circle.

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
    """Relative paths, with ``/``, of all files below a folder, sorted by name, folders among files.

    Args:
        root: the folder.
        skipped: told what is passed over.
        folders: takes the relative paths of the folders.

    Raises:
        OSError: a folder cannot be read.
    """
    yield from _walk(root, "", skipped, folders)


def _walk(folder: str, inner: str, skipped: Skipped | None, folders: list[str] | None) -> Iterator[str]:
    told = None if skipped is None else lambda name, why: skipped(inner + name, why)
    for name, is_folder in entries(folder, told):
        if is_folder:
            if folders is not None:
                folders.append(inner + name)
            yield from _walk(os.path.join(folder, name), f"{inner}{name}/", skipped, folders)  # noqa: PTH118  (100,000 times)
        else:
            yield inner + name
