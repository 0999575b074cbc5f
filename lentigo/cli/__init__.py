"""The command line: one function per command, one-line errors, results as tables or ``--json``."""

from __future__ import annotations

import signal
import sys

if sys.argv[1:2] == ["serve"] and hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # before the imports below; the service handles it once it runs
if sys.argv[1:2] == ["predict"]:
    from lentigo.cli.ahead import open_model

    open_model(sys.argv[2:])

from lentigo.cli.app import main

__all__ = ["main"]
