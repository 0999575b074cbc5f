"""Errors for users, and suggestions of the nearest valid name.

A message states what is wrong, where, and what is expected. The command line prints it on one line, without a
traceback, and exits with code 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LentigoError(Exception):
    """Base class of errors caused by the input, not by the program."""


class ImageError(LentigoError):
    """An image that is missing, damaged, too large or not an image."""


class ImageCostError(ImageError):
    """An image that would take far more time or memory to decode than a photograph."""


class DataError(LentigoError):
    """A data set, table or split that cannot be used."""


class RecipeError(LentigoError):
    """A recipe, or an override, that is not valid."""


class NetworkError(LentigoError):
    """An unknown network, or weights of another network."""


class TrainingError(LentigoError):
    """A run that cannot start or continue: NaN loss, full disk, nothing to resume."""


class BundleError(LentigoError):
    """A bundle that is missing, damaged, of a newer format, or fails its golden vectors."""


class OutputError(LentigoError):
    """A result that cannot be written to the given path."""


class ServiceError(LentigoError):
    """A service that cannot start with the given settings, or that a client cannot reach or use."""


class MissingExtraError(LentigoError):
    """A command whose optional dependencies are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs more than is installed; run: pip install 'lentigo[{extra}]'")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, at most 200 characters; the error's type if it has no text."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Name the nearest valid choice, or all of them if none is near.

    Args:
        name: the user's input.
        choices: the valid choices.

    Returns:
        A clause to append to an error message, such as ``"; did you mean 'caco'?"``.
    """
    known = sorted(set(choices))
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
