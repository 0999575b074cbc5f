"""What ``lentigo predict`` shows: a table of the first rows, or all of them as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lentigo import NOTICE
from lentigo.cli.output import print_table, say
from lentigo.imaging import is_image_name
from lentigo.labels import LabelSet

if TYPE_CHECKING:
    from lentigo.inference import Summary
    from lentigo.inference.table import Row


@dataclass
class Shown:
    """Collects rows as they come, no more of them than are shown.

    Attributes:
        labels: the model's classes.
        keep: how many rows to hold; None holds all (for JSON).
    """

    labels: LabelSet
    keep: int | None
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Take one row."""
        if self.keep is None or len(self.rows) < self.keep:
            self.rows.append(row)

    @staticmethod
    def is_one_image(sources: Sequence[str]) -> bool:
        """Whether so little is asked for that a progress bar would only flicker."""
        return len(sources) == 1 and is_image_name(Path(sources[0]).name) and Path(sources[0]).is_file()

    def to_dict(self, model: str, summary: Summary) -> dict[str, Any]:
        """All rows with named probabilities, and the counts."""
        counts = {
            "images": summary.images,
            "failed": summary.failed,
            "abstained": summary.abstained,
            "skipped": summary.skipped,
            "seconds": summary.seconds,
        }
        rows = [{**asdict(row), "probabilities": dict(zip(self.labels.codes, row.probabilities, strict=False))} for row in self.rows]
        return {
            "model": model,
            "notice": NOTICE,
            **counts,
            "labels": dict(summary.labels),
            "out": summary.out and str(summary.out),
            "rows": rows,
        }

    def print(self, model: str, summary: Summary) -> None:
        """Print the rows held (probabilities in per cent), then the counts."""
        if self.rows:
            print_table(
                ("image", "answer", "confidence", *self.labels.codes),
                [self._cells(row) for row in self.rows],
                title=f"{model}: probabilities in %",
            )
            hidden = summary.images - len(self.rows)
            if hidden > 0:
                say(f"... and {hidden:,} more; write them all with --out results.csv")
        named = {c.code: c.en for c in self.labels}
        if summary.images > 1 and summary.labels:
            say("most probable: " + ", ".join(f"{named[code]} {n:,}" for code, n in summary.labels.most_common()))
        say(f"{summary}. {NOTICE}")

    def _cells(self, row: Row) -> list[str]:
        if row.error:
            return [row.path, row.error, ""] + [""] * len(self.labels)
        answer = self.labels.classes[self.labels.index(row.label)].en
        if row.reasons:
            answer = "can't tell: " + "; ".join(row.reasons)
        elif row.hints:
            answer += f" ({'; '.join(row.hints)})"
        return [row.path, answer, f"{100 * max(row.probabilities):.1f}", *(f"{100 * p:.1f}" for p in row.probabilities)]
