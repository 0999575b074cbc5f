"""The use wing's commands: predict, serve, the phone app, bundle cards, and the doctor. Never imports torch to predict or serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lentigo.cli.output import AsJson, print_json, print_table, say

NOTICE = "research use only, not a medical device"
Model = Annotated[str, typer.Option("--model", "-m", help="A packaged model's name, a bundle folder or a run folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands of the use wing to ``app``."""
    app.command(
        epilog="[bold]Examples[/bold]: lentigo predict photo.jpg\n\nlentigo predict folder --out out.csv --heatmaps maps\n\n"
        "lentigo predict 'scans/*.png' archive.zip --out out.parquet"
    )(predict)
    app.command(epilog="[bold]Example[/bold]: lentigo serve --port 8000")(serve)
    app.command(name="app", epilog="[bold]Example[/bold]: lentigo app")(open_app)
    app.command(epilog="[bold]Example[/bold]: lentigo card dermoscopy-7")(card)
    app.command(epilog="[bold]Example[/bold]: lentigo doctor --json")(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what is missing and how to get it; exit code 1 where something needed is not right."""
    from lentigo.cli.doctor import as_dict, examine, healthy

    found = examine()
    if as_json:
        print_json(as_dict(found))
    else:
        print_table(("part", "what", "state", "detail"), [(f.part, f.name, f.state, f.detail) for f in found])
    raise typer.Exit(0 if healthy(found) else 1)
