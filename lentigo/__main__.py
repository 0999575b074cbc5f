"""``python -m lentigo``."""

from __future__ import annotations

from lentigo.cli import main

main()
