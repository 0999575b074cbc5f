"""Classification of any number of images in bounded memory, on all cores, in the order of the sources.

Each worker thread decodes, resizes, normalises and classifies a chunk of images. The decoders and ONNX Runtime release
the interpreter lock, so that workers do not wait for each other, as the threads of one inference would.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType

from lentigo.errors import BundleError, DataError, OutputError, did_you_mean
from lentigo.inference.classifier import Classifier
from lentigo.inference.sources import Item, Sources
from lentigo.inference.table import Row, Table, open_table
from lentigo.inference.worker import Worker
from lentigo.machine import available_cores

BATCH = 8
ENGINES = ("local", "ray")


@dataclass(slots=True)
class Summary:
    """Counts and throughput of a run.

    Attributes:
        images: rows of this run, including failed ones.
        failed: rows with an error.
        abstained: rows whose answer is "can't tell".
        reasons: number of them by reason; an image can have several.
        skipped: images that a resumed table had already.
        labels: number of images by most probable class, without those whose answer is "can't tell".
        seconds: wall time.
        out: the table; None if none was written.
    """

    images: int = 0
    failed: int = 0
    abstained: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    out: Path | None = None

    def add(self, row: Row) -> None:
        """Count one row."""
        self.images += 1
        self.failed += bool(row.error)
        self.abstained += bool(row.reasons)
        self.reasons.update(row.reasons)
        if row.label and not row.reasons:
            self.labels[row.label] += 1

    @property
    def images_per_second(self) -> float:
        """Throughput of this run."""
        return self.images / self.seconds if self.seconds > 0 else 0.0

    @property
    def exit_code(self) -> int:
        """0, or 2 if every image failed."""
        return 2 if self.images and self.failed == self.images else 0

    def __str__(self) -> str:
        parts = [f"{self.images:,} {'image' if self.images == 1 else 'images'} in {self.seconds:.1f} s"]
        if self.images >= 100:  # for fewer, the start is most of the time
            parts[0] += f" ({self.images_per_second:.0f} images/s)"
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.abstained:
            parts.append(f"can't tell {self.abstained:,}")
        if self.skipped:
            parts.append(f"{self.skipped:,} done before")
        if self.out is not None:
            parts.append(f"written to {self.out}")
        return ", ".join(parts)


def predict_paths(
    classifier: Classifier,
    sources: str | Path | Iterable[str | Path] | Sources,
    *,
    out: str | Path | None = None,
    heatmaps: str | Path | None = None,
    batch: int = BATCH,
    workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
    fast_decode: bool = False,
    on_row: Callable[[Row], None] | None = None,
    engine: str = "local",
    embeddings: bool = False,
) -> Summary:
    """Classify images as a bounded stream; an unreadable file becomes a row with an error.

    Args:
        classifier: the model.
        sources: as for `lentigo.inference.sources.Sources`.
        out: table to write: .csv, .jsonl or .parquet, with the columns ``path``, the class codes (probabilities) and
            those of `lentigo.inference.table.Row`.
        heatmaps: folder for one picture per image, with the class-activation map of the most probable class.
        batch: images in one inference.
        workers: threads that decode and infer; None for one per core.
        resume: continue the table of an earlier run, without the images in it, including failed ones.
        progress: show a progress bar on standard error.
        fast_decode: decode large JPEGs at reduced scale (faster; probabilities differ slightly, see docs/predict.md).
        on_row: called with every row, in order.
        engine: ``local``, or ``ray`` for a cluster and for addresses (see `lentigo.inference.distributed`).
        embeddings: include the embeddings in the rows; with the engine ``local`` only.

    Returns:
        Counts and throughput.

    Raises:
        MissingExtraError: the engine is not installed.
        OutputError: the table or a heat map cannot be written; the rows so far are kept and can be resumed.
        DataError: a list without a column of paths, no sources, or metadata that the model or the engine does not take.
        BundleError: heat maps of a network without class-activation maps, or NaN in the outputs.
        KeyboardInterrupt: the user stopped the run; the rows so far are in the table that a note of the exception
            names.
    """
    if engine not in ENGINES:
        raise DataError(f"unknown engine {engine!r}{did_you_mean(engine, ENGINES)}")
    run: Callable[..., Generator[list[Row], None, None]] = predict_stream
    if engine == "ray":
        from lentigo.inference.distributed import ray_stream  # here, since few runs need it

        run = ray_stream
    items = sources if isinstance(sources, Sources) else Sources(sources, remote=engine == "ray")
    if (embeddings or items.metadata) and engine != "local":
        raise DataError(f"embeddings and metadata need the engine local, not {engine}")
    if items.metadata:
        classifier.check_metadata()
    summary = Summary()
    began = time.perf_counter()
    table = None if out is None else open_table(out, classifier.labels.codes, resume=resume)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # Faults of an image are reported in its row, not on the terminal.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        if table is not None:
            stack.push(partial(_keep, table))
        bar = stack.enter_context(_bar(items, table)) if progress else None
        wanted = _undone(items, table, summary)
        more = {"embeddings": True} if embeddings else {}
        chunks = run(
            classifier, wanted, heatmaps=heatmaps, batch=batch, workers=workers, fast_decode=fast_decode, **more
        )
        for rows in stack.enter_context(closing(chunks)):
            if table is not None:
                table.write(rows)
            for row in rows:
                summary.add(row)
                if on_row is not None:
                    on_row(row)
            if bar is not None:
                bar(summary)
    if table is not None:
        summary.out = table.close()
    summary.seconds = time.perf_counter() - began
    return summary


def predict_stream(
    classifier: Classifier,
    items: Iterable[Item],
    *,
    heatmaps: str | Path | None = None,
    batch: int = BATCH,
    workers: int | None = None,
    fast_decode: bool = False,
    embeddings: bool = False,
) -> Generator[list[Row], None, None]:
    """Classify items as they come: the local engine of `predict_paths`.

    At most ``2 * workers + 1`` chunks of ``batch`` images are in memory.

    Yields:
        The rows of one chunk, chunks in the order of ``items``.

    Raises:
        OutputError: a heat map cannot be written.
        BundleError: heat maps of a network without class-activation maps, or NaN in the outputs.
    """
    if batch < 1 or (workers is not None and workers < 1):
        raise ValueError(f"batch and workers must be at least 1, not {batch} and {workers}")
    if heatmaps is not None and classifier.spec.outputs.cam is None:
        raise BundleError(f"model {classifier.spec.name} exports no class-activation maps: do without heat maps")
    threads = workers or available_cores()
    worker = Worker(
        classifier.for_stream(batch, maps=heatmaps is not None),
        batch,
        None if heatmaps is None else Path(heatmaps),
        fast_decode,
        embeddings,
    )
    feed = iter(items)
    pending: deque[Future[list[Row]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="lentigo-predict")
    try:
        while True:
            while len(pending) <= 2 * threads and (chunk := list(islice(feed, batch))):
                pending.append(pool.submit(worker, chunk))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _keep(
    table: Table, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    """Close the table of a run that ends with an error, so that its rows are valid; that error is raised."""
    if error is not None:
        path = table.part
        with suppress(OutputError):
            path = table.close(complete=False)
        if isinstance(error, KeyboardInterrupt):
            error.add_note(f"the rows so far are in {path}; go on with --resume")


def _undone(items: Iterable[Item], table: Table | None, summary: Summary) -> Iterator[Item]:
    """Yield the items that a resumed table does not have; a path listed twice is classified twice."""
    for item in items:
        if table is not None and table.done[item.path] > 0:
            table.done[item.path] -= 1
            summary.skipped += 1
        else:
            yield item


@contextmanager
def _bar(items: Sources, table: Table | None) -> Iterator[Callable[[Summary], None]]:
    """Show a progress bar on standard error with images per second and the remaining time."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("classifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    total = items.count()
    if total is not None and table is not None:
        total = max(0, total - table.done.total())
    began = time.perf_counter()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("classifying", total=total, rate="", failed="")

        def update(summary: Summary) -> None:
            rate = summary.images / max(time.perf_counter() - began, 1e-9)
            failed = f"{summary.failed:,} failed" if summary.failed else ""
            progress.update(task, completed=summary.images, rate=f"{rate:.0f} images/s", failed=failed)

        yield update
