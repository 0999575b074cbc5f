"""Regenerate the papers' tables from runs: which runs, carried out side by side, measured, compared and written down.

Tables are data: ``tables/*.yaml`` name their rows, ``budgets.yaml`` scales training to a machine. Names are imported
when first used, so that user errors are reported before torch is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lentigo.reproduce.command import Plan, Reproduction, reproduce
    from lentigo.reproduce.request import check_request
    from lentigo.reproduce.tables import Table, list_tables, load_table, table_names

__all__ = ["Plan", "Reproduction", "Table", "check_request", "list_tables", "load_table", "reproduce", "table_names"]

_HOME = {
    **dict.fromkeys(("Plan", "Reproduction", "reproduce"), "command"),
    "check_request": "request",
    **dict.fromkeys(("Table", "list_tables", "load_table", "table_names"), "tables"),
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"lentigo.reproduce.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
