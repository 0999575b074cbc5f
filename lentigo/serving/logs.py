"""Structured logs, and the audit log.

A log line never holds image content, file names, addresses of clients, query values or keys: a request is named by its id,
its route (the template, not the path) and the name of its key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import re
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lentigo.errors import ServiceError
from lentigo.serving.config import ServeConfig
from lentigo.serving.problems import Problem

logger = logging.getLogger("lentigo.serving")
_ID = re.compile(rb"^[A-Za-z0-9._-]{8,64}$")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that the gateway gave in ``X-Request-ID``, where it is one; a new one otherwise."""
    for name, value in headers:
        if name == b"x-request-id" and _ID.match(value):
            return value.decode("ascii")
    return f"{random.getrandbits(64):016x}"  # it need not be secret, only its own


def event(level: int, name: str, /, **values: Any) -> None:
    """Log one event with its values."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"values": values})


def failure(name: str, error: BaseException, /, **values: Any) -> None:
    """Log an unexpected error: its type and where it arose, not its message, which could repeat content."""
    frames = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
    event(logging.ERROR, name, error=type(error).__name__, where=frames[-8:], **values)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line = {"time": _stamp(record.created), "level": record.levelname.lower(), "event": record.getMessage(), "worker": record.process}
        line |= getattr(record, "values", {})
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        values = "  ".join(f"{k}={v}" for k, v in getattr(record, "values", {}).items() if v is not None)
        return f"{_stamp(record.created)[11:19]} {record.levelname.lower():<7} {record.getMessage()}  {values}".rstrip()


def configure(config: ServeConfig) -> None:
    """Send the service's and the server's logs to stderr."""
    text = config.log_format == "text" or (config.log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    for name, level in (("lentigo.serving", config.log_level.upper()), ("uvicorn.error", "WARNING")):
        target = logging.getLogger(name)
        target.handlers = [handler]
        target.propagate = False
        target.setLevel(level)
    # The parser repeats pieces of the body it cannot read.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)


class Audit:
    """The audit log: one line a predict request, with the model's version and a hash of each result.

    The file is opened for every line, so that it can be rotated, and every line is one write, so that workers can share it.

    Args:
        path: the file; its folder must exist.

    Raises:
        ServiceError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._write(b"")
        except OSError as error:
            raise ServiceError(f"{path}: the audit log cannot be written ({error.strerror or error})") from None

    def record(self, request: str, key: str | None, model: dict[str, Any], results: Sequence[bytes]) -> None:
        """Write one line.

        Args:
            request: the request's id.
            key: name of the API key.
            model: name, version and SHA-256 of the model.
            results: the JSON of each answer; only its SHA-256 is kept.

        Raises:
            Problem: the line cannot be written; an answer that is not on record is not given.
        """
        line = {
            "time": _stamp(time.time()),
            "request_id": request,
            "key": key,
            "model": model,
            "results": [hashlib.sha256(result).hexdigest() for result in results],
        }
        try:
            self._write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            failure("audit log failed", error)
            raise Problem("audit-failed", "the audit log cannot be written, and no answer is given without it") from None

    def _write(self, line: bytes) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            if os.write(handle, line) != len(line):
                raise OSError("short write")
        finally:
            os.close(handle)


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
