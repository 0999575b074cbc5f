"""The command line: one function call a command, errors on one line, results as tables or ``--json``."""

from __future__ import annotations

from lentigo.cli.app import main

__all__ = ["main"]
