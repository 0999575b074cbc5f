"""The ``lentigo`` command: assembles the commands and turns typed errors into one line and exit code 2."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from types import ModuleType
from typing import Any

import typer

from lentigo import __version__
from lentigo.cli import data, make, use
from lentigo.cli.output import message_line
from lentigo.errors import LentigoError, MissingExtraError

EPILOG = """
[bold]Six commands to start with[/bold]

lentigo predict photo.jpg [dim]· classify an image with the packaged model[/dim]

lentigo data phantom phantoms [dim]· render a small synthetic data set[/dim]

lentigo train phantom-demo --data phantoms [dim]· train on it[/dim]

lentigo evaluate runs/phantom-demo [dim]· write the report[/dim]

lentigo export runs/phantom-demo [dim]· export the bundle[/dim]

lentigo doctor [dim]· check the installation[/dim]

[dim]Research use only. lentigo is not a medical device and makes no diagnosis.[/dim]
"""

_MAY_BE_EMPTY = ("--notes", "--also")

app = typer.Typer(
    name="lentigo",
    help="Small networks that classify skin-lesion images: train, evaluate, explain, and run on a phone.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"lentigo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    """Small networks that classify skin-lesion images: train, evaluate, explain, and run on a phone."""


use.register(app)
make.register(app)
app.add_typer(data.app, name="data")
app.command(epilog="[bold]Example[/bold]: lentigo cache --clear")(data.cache)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a check found something, 2 bad input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without the characters of a file name shows their escapes.
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _warning
    # pydantic searches the metadata of all installed packages for plugins, and imports the code of that search in any
    # case; both take up to a tenth of the start.
    if os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__") == "__all__":
        search = ModuleType("pydantic.plugin._loader")
        search.get_plugins = tuple  # type: ignore[attr-defined]
        sys.modules.setdefault(search.__name__, search)
    try:
        try:
            called = list(sys.argv[1:] if arguments is None else arguments)
            _refuse_empty(called)
            _only_called(called)(args=called)
        finally:
            if sys.stdout is not None:  # None: closed by the caller
                sys.stdout.flush()  # here, where a full disk or a closed pipe can still be reported
    except SystemExit as done:
        # Typer's exit code for it, 1, means a check that found something here.
        if isinstance(done.__context__, BrokenPipeError):
            _discard_output()
            sys.exit(0)
        raise
    except LentigoError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("lentigo"):
            raise
        extra = "ray" if error.name == "ray" else "train"
        _fail(str(MissingExtraError(f"this command (it uses {error.name})", extra)))
    except BrokenPipeError:  # the reader of a pipe went away, as in `lentigo models | head`
        _discard_output()
        sys.exit(0)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            _fail(f"{error.filename or 'a file'}: no permission to read or write it")
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EROFS):
            _fail(f"{error.filename or 'a path'}: cannot be used ({error.strerror})")
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EFBIG):
            raise
        _discard_output()
        _fail(f"the output cannot be written ({error.strerror})")


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse empty values, as in ``--data "$FOLDER"`` with an unset variable: an empty path is the current folder."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        option, equals, value = argument.partition("=") if argument.startswith("--") else (before, "=", argument)
        if equals and not value.strip() and option not in _MAY_BE_EMPTY:
            where = f"the value after {option}" if option.startswith("-") else "an argument"
            _fail(f"{where} is empty; give one, or leave it out")


def _only_called(arguments: Sequence[str]) -> typer.Typer:
    """Return the app with only the called command, since Typer builds the options of every command at each start."""
    only = copy(app)
    for command in app.registered_commands:
        if arguments and arguments[0] == (command.name or getattr(command.callback, "__name__", None)):
            only.registered_commands, only.registered_groups = [command], []
    return only


def _discard_output() -> None:
    """Discard the buffer of standard output, which Python would write again at exit."""
    with suppress(OSError, AttributeError):  # a stream without a file; none at all
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


def _fail(message: str) -> None:
    print(message_line("error", message), file=sys.stderr)
    sys.exit(2)


def _warning(message: Warning | str, *about: Any, **more: Any) -> str:
    return message_line("warning", str(message)) + "\n"
