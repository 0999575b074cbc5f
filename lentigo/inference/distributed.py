"""The engine for several machines: the rows of the local stream, on Ray Data.

A pipeline has three stages: *read* fetches a chunk of files, *decode* makes the network's pixels, and *infer* runs the
classifiers of several actors. Its input is names, its output rows in order, which are written to the same table as
those of the local engine; ``--resume``, Ctrl-C and formats are therefore the same. If a machine fails, Ray repeats its
chunks on another; rows are numbered, and each number is used once.

The actors receive the bundle as bytes. Each machine needs lentigo with the extra ``ray`` and access to the images, in
an object store or a shared folder.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from lentigo.bundle import SPEC, Bundle
from lentigo.errors import BundleError, DataError, ImageError, MissingExtraError, OutputError, first_line
from lentigo.imaging import load, read_file
from lentigo.inference.classifier import Classifier
from lentigo.inference.remote import is_address, read_many
from lentigo.inference.table import Row
from lentigo.inference.worker import Worker

if TYPE_CHECKING:
    from lentigo.inference.sources import Item

BLOCK = 256
"""Images in one block, the piece of work that Ray passes around and does again after a loss."""
CHUNK = 32
"""Images that one call of a stage takes, so that no stage holds more pixels than that at a time."""
MAX_BYTES = 256 * 2**20
"""The largest file that is fetched."""


def ray_stream(
    classifier: Classifier,
    items: Iterable[Item],
    *,
    heatmaps: str | Path | None = None,
    batch: int = 8,
    workers: int | None = None,
    fast_decode: bool = False,
) -> Generator[list[Row], None, None]:
    """Classify items on a Ray cluster: the connected one, that of ``RAY_ADDRESS``, or a local one.

    Args:
        classifier: the model; its bundle is sent to the actors.
        items: paths and addresses.
        heatmaps: not written by this engine.
        batch: images in one inference.
        workers: maximum number of classifiers, each on one core; None for the cores of the cluster.
        fast_decode: as in `lentigo.inference.predict_paths`.

    Yields:
        The rows of one block, blocks in the order of ``items``.

    Raises:
        DataError: heat maps are requested, or the cluster cannot be reached.
        BundleError: NaN in the outputs.
        MissingExtraError: Ray is not installed.
        OutputError: the cluster failed; the rows so far can be resumed.
    """
    if batch < 1 or (workers is not None and workers < 1):
        raise ValueError(f"batch and workers must be at least 1, not {batch} and {workers}")
    if heatmaps is not None:
        raise DataError("heat maps are drawn without --engine ray only; leave out one of the two")
    data = _libraries()
    blocks = _listing(items)
    if not blocks:
        return
    files = _content(classifier.bundle)
    with _cluster() as cores:
        options: dict[str, Any] = {"batch_format": "pyarrow", "num_cpus": 1}
        pipeline = (
            data.from_arrow(blocks)
            .map_batches(_read, fn_args=(str(Path.cwd()),), batch_size=CHUNK, **options)
            .map_batches(_decode, fn_args=(classifier.size, fast_decode), batch_size=CHUNK, **options)
            .map_batches(
                _Infer,
                fn_constructor_args=(files, batch),
                batch_size=CHUNK,
                compute=data.ActorPoolStrategy(min_size=1, max_size=workers or cores),
                **options,
            )
        )
        pipeline.context.execution_options.preserve_order = True
        pipeline.context.enable_progress_bars = False
        yield from _collect(pipeline, sum(len(block) for block in blocks))


def _libraries() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors are raised here, and reported once
    try:
        import pyarrow  # noqa: F401
        import ray.data
    except ImportError:
        raise MissingExtraError("--engine ray", "ray") from None
    return ray.data


@contextmanager
def _cluster() -> Iterator[int]:
    """Yield the number of cores of the cluster; a cluster that was started here is stopped again."""
    import ray

    cluster: Any = ray
    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(configure_logging=True, logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
        except Exception as error:  # Ray raises bare ones where a node does not come up in time
            raise DataError(
                f"no Ray cluster can be reached or started ({first_line(error)}); see RAY_ADDRESS"
            ) from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield max(1, int(cluster.cluster_resources().get("CPU", 1)))
    finally:
        if mine:
            ray.shutdown()


def _content(bundle: Bundle) -> dict[str, bytes]:
    try:
        return {name: (bundle.path / name).read_bytes() for name in (SPEC, *bundle.spec.files)}
    except OSError as error:
        raise BundleError(
            f"{error.filename}: cannot be read ({error.strerror}); fetch or export the bundle again"
        ) from None


def _listing(items: Iterable[Item]) -> list[Any]:
    """Return Arrow tables of a block each: number, path, source (bytes, since names need not be Unicode) and error."""
    import pyarrow

    schema = pyarrow.schema([("number", "int64"), ("path", "string"), ("source", "binary"), ("error", "string")])
    numbers, feed, blocks = count(), iter(items), []
    while chunk := list(islice(feed, BLOCK)):
        rows = [(next(numbers), item.path, _source(item), item.error) for item in chunk]
        columns = [
            pyarrow.array(column, kind) for column, kind in zip(zip(*rows, strict=True), schema.types, strict=True)
        ]
        blocks.append(pyarrow.table(columns, schema=schema))
    return blocks


def _source(item: Item) -> bytes | None:
    return os.fsencode(item.source) if isinstance(item.source, str | Path) else None


def _read(table: Any, folder: str) -> Any:
    """First stage: the content of every file, or its error; paths are relative to ``folder``."""
    wanted = [None if source is None else os.fsdecode(source) for source in table["source"].to_pylist()]
    places = [i for i, source in enumerate(wanted) if source is not None]
    contents: list[bytes | None] = [None] * len(wanted)
    errors: list[str | None] = table["error"].to_pylist()
    for i, found in zip(places, _fetch([wanted[i] or "" for i in places], folder), strict=True):
        if isinstance(found, bytes):
            contents[i] = found
        else:
            errors[i] = str(found)
    return _with(table, content=("large_binary", contents), error=("string", errors))


def _fetch(sources: Sequence[str], folder: str) -> list[bytes | ImageError]:
    fetched: dict[str, bytes | ImageError] = {}
    remote = [source for source in sources if is_address(source)]
    fetched |= zip(remote, read_many(remote, MAX_BYTES), strict=True)
    for source in sources:
        if source not in fetched:
            file = os.path.join(folder, source)  # noqa: PTH118  (a worker runs in a folder of its own)
            try:
                fetched[source] = read_file(file, MAX_BYTES)
            except ImageError as error:
                fetched[source] = ImageError(str(error).replace(file, source))
    return [fetched[source] for source in sources]


def _decode(table: Any, size: int, fast: bool) -> Any:
    """Second stage: the network's pixels, (size, size, 3) uint8 as bytes."""
    pixels: list[bytes | None] = []
    errors: list[str | None] = table["error"].to_pylist()
    sources = table["source"].to_pylist()
    for i, content in enumerate(table["content"].to_pylist()):
        found = None
        if content is not None:
            try:
                found = load(_Named(content, os.fsdecode(sources[i])), size, fast=fast).tobytes()
            except ImageError as error:
                errors[i] = str(error)
        pixels.append(found)
    return _with(table.drop_columns(["content", "source"]), pixels=("large_binary", pixels), error=("string", errors))


class _Named(BytesIO):
    """Content with a name for messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


class _Infer:
    """Third stage: an actor with a classifier.

    Args:
        files: the bundle, file name -> content.
        batch: images in one inference.
    """

    def __init__(self, files: Mapping[str, bytes], batch: int) -> None:
        with TemporaryDirectory(prefix="lentigo-bundle-") as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            classifier = Classifier(Bundle.open(folder), threads=1, spinning=False, batch=batch, maps=False)
        self.size, self.batch = classifier.size, batch
        self.worker = Worker(classifier, batch)

    def __call__(self, table: Any) -> Any:
        import pyarrow

        from lentigo.inference.sources import Item

        columns = (table[name].to_pylist() for name in ("path", "pixels", "error"))
        items = [
            Item(
                path,
                None if pixels is None else np.frombuffer(pixels, np.uint8).reshape(self.size, self.size, 3),
                "",
                error,
            )
            for path, pixels, error in zip(*columns, strict=True)
        ]
        rows: list[str] = []
        fatal = ""
        try:
            for start in range(0, len(items), self.batch):
                rows += [json.dumps(asdict(row)) for row in self.worker(items[start : start + self.batch])]
        # As a value for the driver: a raised error would be tried again, and lose its type.
        except BundleError as error:
            rows, fatal = [""] * len(items), str(error)
        return pyarrow.table({"number": table["number"], "row": rows, "fatal": pyarrow.array([fatal] * len(items))})


def _collect(pipeline: Any, total: int) -> Iterator[list[Row]]:
    """Yield rows block by block, each number once; refuse a result that lacks one."""
    from ray.exceptions import RayError

    seen = np.zeros(total, bool)
    try:
        for table in pipeline.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            fresh: list[Row] = []
            for record in table.to_pylist():
                if record["fatal"]:
                    raise BundleError(record["fatal"])
                if not seen[record["number"]]:
                    seen[record["number"]] = True
                    fresh.append(_row(record["row"]))
            yield fresh
    except RayError as error:
        raise OutputError(
            f"the Ray cluster gave up ({first_line(error)}); the rows so far are kept, go on with --resume"
        ) from None
    if not seen.all():
        raise OutputError(f"{int((~seen).sum()):,} of {total:,} images were lost on the cluster; go on with --resume")


def _row(text: str) -> Row:
    values = json.loads(text)
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Row(**plain)


def _with(table: Any, **columns: tuple[str, list[Any]]) -> Any:
    """Return the table with columns added or replaced."""
    import pyarrow

    for name, (kind, values) in columns.items():
        column = pyarrow.array(values, pyarrow.type_for_alias(kind))
        table = (
            table.set_column(table.schema.get_field_index(name), name, column)
            if name in table.column_names
            else table.append_column(name, column)
        )
    return table
