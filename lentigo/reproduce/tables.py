"""Typed definitions of the papers' tables and the budgets; needs no torch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lentigo.config.plain import read_yaml
from lentigo.config.recipe import ExtraRecipe
from lentigo.errors import RecipeError, did_you_mean

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Values = dict[str, Any]
# Rows of networks may change only network and loss; other changes would make the comparison unfair.
_OF_A_ROW = ("network.", "loss.")
# Rows of ideas may not change the evaluated images, the name or the seed.
_OF_THE_SPLIT = ("labels", "protocol", "fractions", "split_seed", "folds", "fold")
_OF_A_RUN = ("name", "seed", *(f"data.{key}" for key in _OF_THE_SPLIT))
SCRATCH = "-scratch"
"""Suffix of the slug of a row from scratch, used if its ImageNet weights are not available."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Printed(_Section):
    """Values that the paper prints for a row."""

    accuracy: float | None = None  # percent
    bacc: float | None = None  # the paper's balanced accuracy, percent
    parameters: float | None = None  # millions


class PrintedClass(_Section):
    """Values that the paper prints for one class of a row, as fractions."""

    name: str  # the paper's class name
    precision: float
    sensitivity: float
    f1: float


class Row(_Section):
    """One row of a table."""

    name: str  # the paper's name
    slug: Slug  # prefix of the run folders
    # Dotted keys of the recipe, for the network and the loss only. In a table of ideas other keys are allowed, and
    # they override the budget's.
    set: Values = {}
    # Initial weights; ``auto`` uses ImageNet weights if available.
    start: Literal["auto", "imagenet", "scratch"] = "auto"
    printed: Printed = Printed()
    # Class code -> the paper's values for that class; each becomes a line of the table.
    classes: dict[str, PrintedClass] = {}
    paper_classes: int | None = None  # classes in the paper's parameter count; None for the data's
    notes: str = ""  # remark for the page


class Table(_Section):
    """One table of a paper."""

    name: str  # name in the command
    title: str  # subject of the comparison
    paper: str  # source of the table
    recipe: str  # packaged recipe, the base of all rows
    family: str  # family of its budgets
    data: str  # display name of the data set
    protocols: Annotated[tuple[str, ...], Field(min_length=1)]  # allowed protocols, the default first
    reference: Slug  # slug of the row with which the others are compared
    # ``networks``: networks with one recipe, on the test part. ``ideas``: changes of one recipe, on the validation
    # part.
    compares: Literal["networks", "ideas"] = "networks"
    set: Values = {}  # keys for all rows
    rare: tuple[str, ...] = ()  # classes whose recall is also compared
    # External data sets for evaluation, without their published test parts.
    elsewhere: tuple[ExtraRecipe, ...] = ()
    paper_classes: int | None = None  # default for the rows
    # Cross-validation without a test part: each image is evaluated once, and validation chooses no epoch.
    folds: Annotated[int, Field(ge=2)] | None = None
    profile_size: int = 224  # side of the images for multiply-accumulates and latency, in pixels
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]  # in the paper's order

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        slugs = [row.slug for row in self.rows]
        if len(set(slugs)) < len(slugs):
            raise ValueError("slugs must be unique")
        if self.reference not in slugs:
            raise ValueError(f"reference {self.reference!r} is no row")
        for values in (self.set, *(row.set for row in self.rows)):
            for key in values:
                if self.compares == "ideas":
                    if key in _OF_A_RUN:
                        raise ValueError(f"a row may not set {key!r}: every row is evaluated on the same images")
                elif not key.startswith(_OF_A_ROW):
                    raise ValueError(
                        f"a row may not set {key!r}: network and loss only, or the comparison would not be fair"
                    )
        return self

    @property
    def part(self) -> Literal["test", "validation", "out-of-fold"]:
        """Return the part of the data for evaluation."""
        if self.folds:
            return "out-of-fold"
        return "validation" if self.compares == "ideas" else "test"

    def choose(self, names: list[str] | None) -> tuple[Row, ...]:
        """Return rows by slug or name; all rows by default.

        Raises:
            RecipeError: an unknown row; the message names the nearest.
        """
        if not names:
            return self.rows
        found = []
        for name in names:
            row = next((r for r in self.rows if name in (r.slug, r.name)), None)
            if row is None:
                known = [row.slug for row in self.rows]
                raise RecipeError(f"table {self.name} has no row {name!r}{did_you_mean(name, known)}")
            found.append(row)
        return tuple(row for row in self.rows if row in found)


class Budget(_Section):
    """Changes of the recipe that scale training, the same for all rows."""

    name: Slug  # ``small``, ``medium``, ``full``, ``paper``, or a file name
    values: Values  # dotted keys and their values


def table_names() -> list[str]:
    """Return the sorted names of the tables."""
    entries = files(__package__).joinpath("tables").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def list_tables() -> list[dict[str, str | int]]:
    """Return one entry per table: name, paper, title, rows, data, protocols."""
    tables = [load_table(name) for name in table_names()]
    return [
        {
            "table": t.name,
            "paper": t.paper,
            "compares": t.title,
            "rows": len(t.rows),
            "data": t.data,
            "protocols": ", ".join(t.protocols),
        }
        for t in tables
    ]


def load_table(name: str) -> Table:
    """Load a packaged table.

    Raises:
        RecipeError: an unknown table; the message names the nearest.
    """
    if name not in table_names():
        raise RecipeError(f"no table {name!r}{did_you_mean(name, table_names())}")
    text = files(__package__).joinpath("tables", f"{name}.yaml").read_text(encoding="utf-8")
    return Table.model_validate({"name": name, **yaml.safe_load(text)})


def load_budget(name: str, family: str) -> Budget:
    """Load a packaged budget by name, or one from a YAML file of dotted keys and values.

    Raises:
        RecipeError: an unknown budget or an invalid file.
    """
    text = files(__package__).joinpath("budgets.yaml").read_text(encoding="utf-8")
    packaged: dict[str, Values] = yaml.safe_load(text)[family]
    if Path(name).suffix not in (".yaml", ".yml"):
        if name not in packaged:
            raise RecipeError(f"no budget {name!r}{did_you_mean(name, packaged)} (or give the path of a .yaml file)")
        return Budget(name=name, values=packaged[name])
    values = read_yaml(name)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise RecipeError(f"{name}: a budget is a mapping of dotted keys of the recipe to values, such as `epochs: 6`")
    unfair = [key for key in values if key.split(".")[0] in ("network", "loss", "name", "seed")]
    if unfair:
        raise RecipeError(f"{name}: a budget may not set {', '.join(unfair)}; the rows of the table do")
    try:
        return Budget(name=Path(name).stem, values=values)
    except ValidationError:
        raise RecipeError(
            f"{name}: name the file in small letters, digits, dots, dashes and underscores; it names a folder"
        ) from None


def overrides_of(
    table: Table, row: Row, budget: Budget, *, protocol: str, seed: int, scratch: bool, fold: int = 0
) -> list[str]:
    """Return the ``--set`` arguments for one run of a row, relative to the table's recipe."""
    values: Values = {"name": slug_of(row, scratch), **table.set, **row.set}
    if scratch:
        values["network.pretrained"] = "none"
    values |= {"data.protocol": protocol, "seed": seed, **budget.values}
    if table.compares == "ideas":
        values |= row.set
    if table.folds:
        values |= {"data.fractions": [0.9, 0.1, 0.0], "data.folds": table.folds, "data.fold": fold, "monitor": "last"}
    return [f"{key}={_flow(value)}" for key, value in values.items()]


def _flow(value: Any) -> str:
    """Format a value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def slug_of(row: Row, scratch: bool) -> str:
    """Return the row's slug, with a suffix for runs from scratch."""
    return row.slug + SCRATCH if scratch and not row.slug.endswith(SCRATCH) else row.slug
