"""ONNX Runtime sessions of bundles' graphs, opened when needed or ahead of need."""

from __future__ import annotations

import hashlib
import json
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lentigo.errors import BundleError, first_line
from lentigo.files import MAX_MODEL, MAX_TEXT, MODEL, SPEC, read_regular
from lentigo.inference.graph import check_operators, keep_outputs

DEFAULT = "dermoscopy-7"
PACKAGED = Path(__file__).resolve().parent.parent / "bundles"
BATCH_AXIS = "batch"
"""Name of the graph's first axis, by which a runtime can fix it."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Options of a session; see `lentigo.inference.Classifier`.

    Attributes:
        threads: threads of one inference; None for one per core.
        spinning: whether idle inference threads spin.
        batch: images of every inference; None if it varies.
        outputs: the outputs to keep; None for all.
    """

    threads: int | None = None
    spinning: bool = True
    batch: int | None = None
    outputs: tuple[str, ...] | None = None


_ahead: dict[tuple[str, SessionOptions], Future[Any]] = {}


def open_session(path: Path, content: bytes, options: SessionOptions) -> Any:
    """Open a session; one that was opened ahead for the same graph and options is used, once.

    Args:
        path: the graph's file, for messages.
        content: the graph.
        options: the options.

    Raises:
        BundleError: an operator that bundles do not allow, or a graph that cannot be loaded.
    """
    if _ahead and (opened := _ahead.pop((hashlib.sha256(content).hexdigest(), options), None)):
        with suppress(Exception):  # it fails again below, with a message
            return opened.result()
    return _open(path, content, options)


def open_ahead(folder: Path, options: SessionOptions) -> bool:
    """Start to open a session in a thread; ONNX Runtime releases the GIL meanwhile.

    The session is used only by `open_session` with the same content, after the checks of the bundle. A graph whose
    checksum is not that in ``spec.json`` is not opened.

    Args:
        folder: the bundle folder.
        options: the options.

    Returns:
        Whether the folder holds a bundle with a valid graph.
    """
    try:
        content = read_regular(folder / MODEL, MAX_MODEL)
        digest = hashlib.sha256(content).hexdigest()
        expected = json.loads(read_regular(folder / SPEC, MAX_TEXT))["files"][MODEL]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    if expected != digest:
        return False
    opened = _ahead[digest, options] = Future()

    def work() -> None:
        try:
            opened.set_result(_open(folder / MODEL, content, options))
        except Exception as error:  # `open_session` reports it
            opened.set_exception(error)

    threading.Thread(target=work, name="lentigo-open").start()
    return True


def _open(path: Path, content: bytes, options: SessionOptions) -> Any:
    try:
        check_operators(content)
    except BundleError as error:
        raise BundleError(f"{path}: {error}; export the bundle again") from None
    import onnxruntime  # here, since it is much of the cold start

    onnxruntime.disable_telemetry_events()
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = 4  # errors are raised, and reported once
    settings.intra_op_num_threads = options.threads or 0  # 0: one per physical core
    settings.inter_op_num_threads = 1
    if options.batch is not None:
        settings.add_free_dimension_override_by_name(BATCH_AXIS, options.batch)
    # Denormal numbers make convolutions many times slower.
    settings.add_session_config_entry("session.set_denormal_as_zero", "1")
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    try:
        model = content if options.outputs is None else keep_outputs(content, options.outputs)
        return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exception types, whatever is wrong with the file
        raise BundleError(
            f"{path}: ONNX Runtime cannot load it ({first_line(error)}); export the bundle again"
        ) from None
