"""The papers' tables and the budgets, as typed data; needs no torch."""

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
# A row of networks is a network and a loss; whatever else changed with it would make the comparison unfair.
_OF_A_ROW = ("network.", "loss.")
# No row of ideas may change what it is evaluated on, or what its budget is for.
_OF_THE_SPLIT = ("labels", "protocol", "fractions", "split_seed", "folds", "fold")
_OF_A_RUN = ("name", "seed", *(f"data.{key}" for key in _OF_THE_SPLIT))
SCRATCH = "-scratch"
"""Ends the slug of a row that starts from scratch because its ImageNet weights are not at hand."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Printed(_Section):
    """What the paper prints for a row."""

    accuracy: float | None = None  # percent
    bacc: float | None = None  # the paper's balanced accuracy, percent
    parameters: float | None = None  # millions


class PrintedClass(_Section):
    """What the paper prints for one class of a row, as fractions."""

    name: str  # the class as the paper names it
    precision: float
    sensitivity: float
    f1: float


class Row(_Section):
    """One row of a table."""

    name: str  # as printed
    slug: Slug  # names the run folders
    # Dotted keys of the recipe; of the network and the loss only, except in a table of ideas, where they also override
    # the budget's.
    set: Values = {}
    # For rows that compare starts; ``auto`` takes ImageNet weights where they are at hand.
    start: Literal["auto", "imagenet", "scratch"] = "auto"
    printed: Printed = Printed()
    # Class code -> the paper's figures of that class; each becomes a line of the table.
    classes: dict[str, PrintedClass] = {}
    paper_classes: int | None = None  # size of the head with which the paper counts parameters; None for the data's own
    notes: str = ""  # what a reader must know about this row


class Table(_Section):
    """One table of a paper."""

    name: str  # what the command calls it
    title: str  # what it compares
    paper: str  # whose table it is
    recipe: str  # packaged recipe that every row starts from
    family: str  # which budgets hold
    data: str  # the data set, for people
    protocols: Annotated[tuple[str, ...], Field(min_length=1)]  # how the data may be split, the default first
    reference: Slug  # of the row that the others are tested against
    # ``networks``, by one recipe, on the test part; or ``ideas``, changes of that recipe to choose among, on the
    # validation part.
    compares: Literal["networks", "ideas"] = "networks"
    set: Values = {}  # keys that all rows set
    rare: tuple[str, ...] = ()  # classes whose recall is compared as well
    # Other data sets that the runs are evaluated on, without their published test parts.
    elsewhere: tuple[ExtraRecipe, ...] = ()
    paper_classes: int | None = None  # for rows that do not say
    profile_size: int = 224  # side of the images for multiply-accumulates and latency, in pixels
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]  # as printed

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
    def part(self) -> Literal["test", "validation"]:
        """The part of the data that the rows are evaluated on."""
        return "validation" if self.compares == "ideas" else "test"

    def row(self, slug: str) -> Row:
        """A row by its slug."""
        return next(row for row in self.rows if row.slug == slug)

    def choose(self, names: list[str] | None) -> tuple[Row, ...]:
        """Rows by slug or by name as printed; all where none is named.

        Raises:
            RecipeError: no such row; the nearest is named.
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
    """Changes of the recipe that scale training, the same for every row."""

    name: Slug  # ``small``, ``medium``, ``full``, ``paper``, or the name of a file
    values: Values  # dotted keys and their values


def table_names() -> list[str]:
    """Names of the tables, sorted."""
    entries = files(__package__).joinpath("tables").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def list_tables() -> list[dict[str, str | int]]:
    """One line a table: name, paper, what it compares, rows, data, protocols."""
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
    """A packaged table.

    Raises:
        RecipeError: no such table; the nearest is named.
    """
    if name not in table_names():
        raise RecipeError(f"no table {name!r}{did_you_mean(name, table_names())}")
    text = files(__package__).joinpath("tables", f"{name}.yaml").read_text(encoding="utf-8")
    return Table.model_validate({"name": name, **yaml.safe_load(text)})


def load_budget(name: str, family: str) -> Budget:
    """A packaged budget by name, or one from a YAML file of dotted keys and values.

    Raises:
        RecipeError: no such budget, or a file that cannot be used.
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


def overrides_of(table: Table, row: Row, budget: Budget, *, protocol: str, seed: int, scratch: bool) -> list[str]:
    """The ``--set`` arguments that turn the table's recipe into one run of a row."""
    values: Values = {"name": slug_of(row, scratch), **table.set, **row.set}
    if scratch:
        values["network.pretrained"] = "none"
    values |= {"data.protocol": protocol, "seed": seed, **budget.values}
    if table.compares == "ideas":
        values |= row.set
    return [f"{key}={_flow(value)}" for key, value in values.items()]


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def slug_of(row: Row, scratch: bool) -> str:
    """The row's slug, marked where it starts from scratch."""
    return row.slug + SCRATCH if scratch and not row.slug.endswith(SCRATCH) else row.slug
