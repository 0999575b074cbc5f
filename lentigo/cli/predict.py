"""Output of ``lentigo predict``: a table of the first rows, or all rows as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lentigo import NOTICE
from lentigo.cli.output import print_table, say
from lentigo.errors import MissingExtraError, OutputError
from lentigo.files import atomic_path
from lentigo.imaging import is_image_name
from lentigo.labels import LabelSet
from lentigo.tables import is_file

if TYPE_CHECKING:
    from lentigo.bundle import Spec
    from lentigo.inference import Summary
    from lentigo.inference.lesions import Key
    from lentigo.inference.table import Row

SHOWN = 50
"""Maximum number of printed rows."""


@dataclass
class Shown:
    """Collects the rows to show.

    Attributes:
        labels: the model's classes.
        keep: maximum number of rows; None keeps all (for JSON, merging and sorting).
        top_k: number of most probable classes to show; None shows all.
        lang: language of the classes' names, one of ``labels.languages``.
        vectors: collects the embeddings.
        merged: message of `merge_and_sort` on the images of each lesion.
    """

    labels: LabelSet
    keep: int | None
    top_k: int | None = None
    lang: str = "en"
    vectors: Embeddings | None = None
    rows: list[Row] = field(default_factory=list)
    merged: str = ""

    def add(self, row: Row) -> None:
        """Add a row."""
        if self.vectors is not None and row.embedding:
            self.vectors.add(row)
            row = replace(row, embedding=())
        if self.keep is None or len(self.rows) < self.keep:
            self.rows.append(row)

    @staticmethod
    def is_one_image(sources: Sequence[str]) -> bool:
        """Return whether the source is a single image file."""
        return len(sources) == 1 and is_image_name(Path(sources[0]).name) and is_file(sources[0])

    def to_dict(self, model: str, summary: Summary) -> dict[str, Any]:
        """Return all rows with named probabilities, and the counts."""
        counts = {
            "images": summary.images,
            "failed": summary.failed,
            "abstained": summary.abstained,
            "reasons": dict(summary.reasons),
            "skipped": summary.skipped,
            "seconds": summary.seconds,
        }
        rows = [self._document(row) for row in self.rows]
        return {
            "model": model,
            "notice": NOTICE,
            **counts,
            **({"merged": self.merged} if self.merged else {}),
            "labels": dict(summary.labels),
            "out": summary.out and str(summary.out),
            "rows": rows,
        }

    def merge_and_sort(self, spec: Spec, key: Key | None, summary: Summary, *, uncertain: bool) -> None:
        """Merge the images of each lesion, and sort by uncertainty; unreadable images come last."""
        from lentigo.inference.lesions import merge_rows

        if key is not None:
            images, alone = len(self.rows), sum(key(row.path) is None for row in self.rows)
            self.rows = merge_rows(self.rows, key, spec)
            summary.labels = Counter(row.label for row in self.rows if row.label and not row.reasons)
            self.merged = f"{images:,} images merged into {len(self.rows):,} rows" + (
                f"; WARNING: --group-by gives no lesion for {alone:,} images; each has its own row" * bool(alone)
                + "; WARNING: --group-by gives the same lesion for all images; check the pattern"
                * (len(self.rows) == 1 < images)
            )
        if uncertain:
            self.rows.sort(key=_margin)

    def write(self, out: Path) -> Path:
        """Write the collected rows as a table."""
        from lentigo.inference.table import open_table

        table = open_table(out, self.labels.codes)
        table.write(self.rows)
        return table.close()

    def _document(self, row: Row) -> dict[str, Any]:
        document = {**asdict(row), "probabilities": dict(zip(self.labels.codes, row.probabilities, strict=False))}
        del document["embedding"]
        if self.top_k is not None:
            document["top"] = [
                {"code": code, "name": self._name(code), "probability": p} for code, p in self._top(row, self.top_k)
            ]
        return document

    def _top(self, row: Row, count: int) -> list[tuple[str, float]]:
        return sorted(zip(self.labels.codes, row.probabilities, strict=False), key=lambda pair: -pair[1])[:count]

    def _name(self, code: str) -> str:
        return self.labels.classes[self.labels.index(code)].name(self.lang)

    def print(self, spec: Spec, summary: Summary) -> None:
        """Print the first rows (probabilities in percent), then the counts."""
        if self.rows:
            classes = self.labels.codes if self.top_k is None else ("likeliest",)
            print_table(
                ("image", "answer", "confidence", *classes),
                [self._cells(row) for row in self.rows[:SHOWN]],
                title=f"{spec.name}: probabilities in %",
            )
            hidden = (len(self.rows) if self.keep is None else summary.images) - min(len(self.rows), SHOWN)
            if hidden > 0:
                say(f"... and {hidden:,} more; write them all with --out results.csv")
        if summary.images > 1 and summary.labels:
            say("most probable: " + ", ".join(f"{self._name(code)} {n:,}" for code, n in summary.labels.most_common()))
        if summary.images > 1 and summary.reasons:
            say("can't tell: " + ", ".join(f"{reason} {n:,}" for reason, n in summary.reasons.most_common()))
        if hint := _other_model(spec, summary):
            say(hint)
        if self.merged:
            say(self.merged)
        if self.vectors is not None:
            say(f"{self.vectors.path}: the embeddings of {len(self.vectors.paths):,} images, one row each")
        say(f"{summary}. {NOTICE}")

    def _cells(self, row: Row) -> list[str]:
        if row.error:
            return [row.path, row.error, ""] + [""] * (len(self.labels) if self.top_k is None else 1)
        answer = self._name(row.label)
        if row.reasons:
            answer = "can't tell: " + "; ".join(row.reasons)
        elif row.hints:
            answer += f" ({'; '.join(row.hints)})"
        percents = [f"{100 * p:.1f}" for p in row.probabilities]
        if self.top_k is not None:
            percents = ["; ".join(f"{self._name(code)} {100 * p:.1f}" for code, p in self._top(row, self.top_k))]
        return [row.path, answer, f"{100 * max(row.probabilities):.1f}", *percents]


def _other_model(spec: Spec, summary: Summary) -> str:
    """Name the packaged models for the kind of most images, where that is not the model's; empty otherwise."""
    from lentigo.inference import find_bundle, packaged_bundles
    from lentigo.inference.verdict import KINDS, UNLIKE, unlike

    for kind, name in KINDS.items():
        reason = unlike(spec.domain, kind)
        if reason != UNLIKE and 2 * summary.reasons[reason] > summary.images:
            fitting = [one for one in packaged_bundles() if find_bundle(one).spec.domain == kind]
            return f"for {name}: --model {' or '.join(fitting)}" if fitting else ""
    return ""


def _margin(row: Row) -> float:
    """Return the margin between the two most probable classes (margin sampling; Settles, 2009)."""
    if len(row.probabilities) < 2:
        return 2.0
    first, second = sorted(row.probabilities, reverse=True)[:2]
    return first - second


class Embeddings:
    """Collects embeddings and writes them in one file.

    Args:
        path: .npz (arrays ``path`` and ``embedding``) or .parquet (columns of these names).

    Raises:
        OutputError: another suffix, or a folder.
        MissingExtraError: Parquet without pyarrow.
    """

    def __init__(self, path: Path) -> None:
        self.parquet = path.suffix.lower() == ".parquet"
        if not self.parquet and path.suffix.lower() != ".npz":
            raise OutputError(f"{path}: embeddings are written to .npz or .parquet")
        if path.is_dir():
            raise OutputError(f"{path}: a folder; name a file, such as {path / 'embeddings.npz'}")
        if self.parquet and find_spec("pyarrow") is None:
            raise MissingExtraError("writing Parquet", "parquet")
        self.path = path
        self.paths: list[str] = []
        self.vectors: list[tuple[float, ...]] = []

    def add(self, row: Row) -> None:
        """Add the embedding of a row."""
        self.paths.append(row.path)
        self.vectors.append(row.embedding)

    def write(self) -> None:
        """Write the embeddings, atomically.

        Raises:
            OutputError: the file cannot be written.
        """
        import numpy as np

        matrix = np.asarray(self.vectors, dtype=np.float32).reshape(len(self.vectors), -1 if self.vectors else 0)
        with atomic_path(self.path) as temporary:
            if not self.parquet:
                with temporary.open("wb") as file:  # savez would add a suffix to a name without .npz
                    np.savez_compressed(file, path=np.asarray(self.paths, dtype=str), embedding=matrix)
            else:
                import pyarrow
                import pyarrow.parquet

                kinds = pyarrow.schema({"path": pyarrow.string(), "embedding": pyarrow.list_(pyarrow.float32())})
                table = pyarrow.table({"path": self.paths, "embedding": list(matrix)}, schema=kinds)
                pyarrow.parquet.write_table(table, temporary)
