"""Reproduce the papers' tables: plan and train runs, compute and compare metrics, and write the table.

Files ``tables/*.yaml`` define the rows, ``budgets.yaml`` scales training to a machine. ``command`` is imported on
first use, so that user errors are reported before torch is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lentigo.lazy import attach
from lentigo.reproduce.request import check_request
from lentigo.reproduce.tables import Table, list_tables, load_table, table_names

if TYPE_CHECKING:
    from lentigo.reproduce.command import Plan, Reproduction, reproduce

__all__ = ["Plan", "Reproduction", "Table", "check_request", "list_tables", "load_table", "reproduce", "table_names"]


__getattr__, __dir__ = attach(__name__, {"command": ("Plan", "Reproduction", "reproduce")})
