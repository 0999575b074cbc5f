"""Options of a reproduction, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lentigo.config.recipe import load_recipe
from lentigo.data import read_samples
from lentigo.errors import DataError, RecipeError, did_you_mean
from lentigo.reproduce.tables import Budget, Row, Table, load_budget, load_table, overrides_of
from lentigo.training.samples import prepare_samples

Weights = Literal["auto", "imagenet", "scratch"]


@dataclass(frozen=True)
class Request:
    """A table and the options of its reproduction."""

    table: Table
    protocol: str
    budget: Budget
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    weights: str  # one of Weights
    runs: Path  # folder of the runs
    collect: bool = False  # use existing runs, without training
    data: Path | None = None
    fingerprint: str | None = None  # of the data
    images: int = 0  # of the training part; 0 without data

    @property
    def folder(self) -> Path:
        """Return the folder of the runs of this budget and protocol."""
        return self.runs / self.budget.name / self.protocol


def check_request(
    name: str,
    *,
    data: Path | None = None,
    protocol: str | None = None,
    budget: str = "small",
    seeds: int = 3,
    rows: Sequence[str] = (),
    runs: Path = Path("runs/reproduce"),
    weights: str = "auto",
    collect: bool = False,
) -> Request:
    """Check and resolve the options of ``lentigo reproduce``.

    Raises:
        RecipeError: an unknown table, row, protocol, budget or start.
        DataError: unusable data.
    """
    if weights not in get_args(Weights):
        raise RecipeError(f"unknown start {weights!r}{did_you_mean(weights, get_args(Weights))} (--weights)")
    table = load_table(name)
    chosen = protocol or table.protocols[0]
    if chosen not in table.protocols:
        raise RecipeError(
            f"table {table.name} is for the protocols"
            f" {', '.join(table.protocols)}{did_you_mean(chosen, table.protocols)}"
        )
    if data is None and not collect:
        raise DataError(
            f"table {table.name} is trained on {table.data}: say where it is (--data), or use finished runs (--collect)"
        )
    scale, wanted = load_budget(budget, table.family), table.choose(list(rows))
    fingerprint, images = None, 0
    if data is not None:
        fingerprint = read_samples(data).fingerprint
        some = overrides_of(table, wanted[0], scale, protocol=chosen, seed=0, scratch=True)
        images = int((prepare_samples(load_recipe(table.recipe, some), data).frame["split"] == "train").sum())
    return Request(table, chosen, scale, wanted, tuple(range(seeds)), weights, runs, collect, data, fingerprint, images)
