"""The typed errors that users meet, and the nearest-match helper they use.

A message says what was wrong, where, and what would be right. The command line prints it on one
line and exits with code 2; a traceback never reaches the user for these.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LentigoError(Exception):
    """Base of every error that is the input's fault rather than the program's."""


class ImageError(LentigoError):
    """An image that is missing, damaged, too large or no image at all."""


class ImageCostError(ImageError):
    """An image that would take far more time or memory to decode than a photograph."""


class DataError(LentigoError):
    """A data set, table or split that cannot be used as it is."""


class RecipeError(LentigoError):
    """A recipe (or an override of one) that does not describe a runnable experiment."""


class NetworkError(LentigoError):
    """An unknown network, or weights that do not belong to it."""


class TrainingError(LentigoError):
    """A run that cannot start or go on: NaN loss, full disk, nothing to resume."""


class BundleError(LentigoError):
    """A bundle that is missing, damaged, of a newer format, or fails its golden vectors."""


class OutputError(LentigoError):
    """A result that cannot be written where it was asked for."""


class ServiceError(LentigoError):
    """A service that cannot start with the settings given, or cannot be reached or used by a client."""


class MissingExtraError(LentigoError):
    """A command whose optional dependencies are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs more than is installed; run: pip install 'lentigo[{extra}]'")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters; the error's type where it has no text."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Name the nearest valid choice, or all of them when none is near.

    Args:
        name: what the user wrote.
        choices: what would have been accepted.

    Returns:
        A clause to append to an error message, such as ``"; did you mean 'caco'?"``.
    """
    known = sorted(set(choices))
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
