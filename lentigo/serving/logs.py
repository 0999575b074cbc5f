"""Structured logs.

Lines go through a bounded queue to a thread that writes them: a pipe that nobody reads or a full disk costs lines,
which are counted, and never holds a request up.

A log line never holds image content, file names, addresses of clients, query values or keys: a request is named by its
id, its route (the template, not the path) and the name of its key.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import random
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lentigo.serving.config import ServeConfig

logger = logging.getLogger("lentigo.serving")
_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that the gateway gave in ``X-Request-ID``, where it is one; a new one otherwise."""
    for name, value in headers:
        if name == b"x-request-id" and _ID.fullmatch(value):
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
        line = {
            "time": stamp(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "worker": record.process,
        }
        line |= getattr(record, "values", {})
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One line of plain text a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        values = "  ".join(f"{k}={v}" for k, v in getattr(record, "values", {}).items() if v is not None)
        return f"{stamp(record.created)[11:19]} {record.levelname.lower():<7} {record.getMessage()}  {values}".rstrip()


class LineWriter(logging.Handler):
    """Writes records to a file descriptor in a thread, and counts those that it drops.

    Args:
        descriptor: where to write.
        most: lines that may wait.
    """

    def __init__(self, descriptor: int, most: int = 4096) -> None:
        super().__init__()
        self.dropped = 0
        self._reported = 0
        self._descriptor = descriptor
        self._torn = False
        self._most = most
        # A signal handler may log in the midst of a put.
        self._queue: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._taken = self._done = 0
        threading.Thread(target=self._work, name="logs", daemon=True).start()

    def createLock(self) -> None:  # noqa: N802  (the library's name)
        """No lock: the queue has its own, and a writer that is stuck must not keep anybody."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record into the queue; count it where there is no room."""
        if self._queue.qsize() >= self._most:
            self.dropped += 1
        else:
            self._taken += 1
            self._queue.put(record)

    def drain(self, seconds: float) -> None:
        """Wait until what has been logged is written, but not for long."""
        end = time.monotonic() + seconds
        while self._done < self._taken and time.monotonic() < end:
            time.sleep(0.005)

    def _work(self) -> None:
        while True:
            record = self._queue.get()
            lost = self.dropped - self._reported
            try:
                if lost:
                    notice = {"levelname": "WARNING", "msg": "log lines dropped", "values": {"lines": lost}}
                    self._write(self.format(logging.makeLogRecord(notice)))
                    self._reported += lost
                self._write(self.format(record))
            except Exception:  # whatever one line does, the next is written
                self.dropped += 1
            finally:
                self._done += 1

    def _write(self, line: str) -> None:
        left = memoryview((("\n" if self._torn else "") + line + "\n").encode(errors="replace"))
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
                self._torn = len(left) > 0
        except OSError:
            self.dropped += 1


_writer: LineWriter | None = None


def configure(config: ServeConfig) -> None:
    """Send the service's and the server's logs to the standard error stream, through a queue."""
    global _writer
    text = config.log_format == "text" or (config.log_format == "auto" and sys.stderr.isatty())
    if _writer is None:
        _writer = LineWriter(2)
    _writer.setFormatter(TextFormatter() if text else JsonFormatter())
    levels = {"lentigo.serving": config.log_level.upper(), "uvicorn.error": "WARNING", "opentelemetry": "WARNING"}
    for name, level in levels.items():
        target = logging.getLogger(name)
        target.handlers = [_writer]
        target.propagate = False
        target.setLevel(level)
    # The parser repeats pieces of the body it cannot read.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)


def dropped() -> int:
    """Log lines of this process that could not be written."""
    return _writer.dropped if _writer is not None else 0


def drain(seconds: float = 1.0) -> None:
    """Wait until what has been logged is written, but not for long."""
    if _writer is not None:
        _writer.drain(seconds)


def stamp(seconds: float) -> str:
    """A time as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
