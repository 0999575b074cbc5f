"""Open the model of ``lentigo predict IMAGE`` while the command line is imported, which takes about as long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lentigo.inference.session import DEFAULT, PACKAGED, SessionOptions, open_ahead


def open_model(arguments: Sequence[str]) -> None:
    """Start to open the model, if the arguments are one image file and, optionally, ``--model`` and flags of output.

    Only the time depends on this: the command parses its arguments and checks the model itself.

    Args:
        arguments: those of ``lentigo predict``.
    """
    model, sources = DEFAULT, []
    rest = iter(arguments)
    for argument in rest:
        if argument in ("--model", "-m"):
            model = next(rest, "")
        elif argument.startswith("--model="):
            model = argument.removeprefix("--model=")
        elif not argument.startswith("-"):
            sources.append(argument)
        elif argument not in ("--json", "--quiet", "-q"):
            return
    if len(sources) != 1:
        return
    import onnxruntime  # noqa: F401  # imports NumPy, which two threads cannot import at once

    from lentigo.imaging import is_image_name

    if is_image_name(sources[0]) and Path(sources[0]).is_file():
        for folder in (Path(model), Path(model, "bundle"), PACKAGED / model):
            if open_ahead(folder, SessionOptions(threads=1, batch=1)):
                return
