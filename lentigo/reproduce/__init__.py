"""Regenerate the papers' tables from runs: which runs, carried out side by side, measured, compared and written down.

Tables are data: ``tables/*.yaml`` name their rows, ``budgets.yaml`` scales training to a machine.
"""

from __future__ import annotations

from lentigo.reproduce.command import Plan, Reproduction, reproduce
from lentigo.reproduce.sweep import Sweep, sweep
from lentigo.reproduce.tables import Table, list_tables, load_table, table_names

__all__ = ["Plan", "Reproduction", "Sweep", "Table", "list_tables", "load_table", "reproduce", "sweep", "table_names"]
