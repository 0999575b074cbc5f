"""How a data set was read: layout, tables, columns, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from lentigo.text import one_line


@dataclass
class Reading:
    """The record of how a data set was read, for ``lentigo data info`` and for messages.

    Attributes:
        layout: the layout's name, such as ``isic2019`` or ``folder``.
        tables: tables that were used, relative to the data set's folder.
        columns: ``image``, ``label``, ``group`` or ``split`` -> its column or level of folders.
        notes: decisions, one sentence each.
        ignored: reason -> number of files or folders left out for it.
        examples: reason -> the first of them.
    """

    layout: str = ""
    tables: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def ignore(self, name: str, why: str) -> None:
        """Count a file or folder that is left out."""
        self.ignored[why] += 1
        self.examples.setdefault(why, name)

    def note(self, text: str) -> None:
        """Add a note, unless it is already there."""
        if text not in self.notes:
            self.notes.append(text)

    def use(self, table: str) -> None:
        """Record that a table is used, and remove the note that it is not."""
        self.notes = [note for note in self.notes if not note.startswith(f"{table} is not used: ")]
        self.tables.append(table)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        ignored = [{"why": why, "count": n, "first": self.examples[why]} for why, n in self.ignored.most_common()]
        return {
            "layout": self.layout,
            "tables": self.tables,
            "columns": self.columns,
            "notes": self.notes,
            "ignored": ignored,
        }

    def lines(self) -> list[str]:
        """Format the record as lines of text."""
        found = [f"layout: {self.layout}"]
        if self.tables:
            found.append(f"tables: {', '.join(self.tables)}")
        found += [f"{what}: {where}" for what, where in self.columns.items()]
        return [*map(one_line, found), *self.remarks()]

    def remarks(self) -> list[str]:
        """Return the notes, and what was left out, as lines of text."""
        found = [f"note: {text}" for text in self.notes]
        found += [f"left out: {n:,} ({why}), such as {self.examples[why]}" for why, n in self.ignored.most_common()]
        return list(map(one_line, found))
