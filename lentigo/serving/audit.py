"""The audit log: one line a predict request, with the model's version and a hash of each result.

Lines go through a bounded queue to a thread that writes them, many at once where many wait, and an answer is given only
when its line is on the disk. The file is opened for every write, so that it can be rotated, and locked while it is
written, so that workers can share it. A line that was torn, by a full disk or a crash, is taken back or closed off
before the next is written: each record stands on a line of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import queue
import stat
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from lentigo.errors import ServiceError
from lentigo.files import sync
from lentigo.serving import logs
from lentigo.serving.problems import Problem

try:
    import fcntl
except ImportError:  # Windows: one worker writes
    fcntl = None  # type: ignore[assignment]

_MOST_WAITING = 1024
_MOST_AT_ONCE = 64
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class Audit:
    """Appends records and reports when they are on the disk.

    Args:
        path: the file; its folder must exist.
        fsync: have the system write each record to the disk before its answer is given; otherwise a loss of power may
            take the last ones.

    Raises:
        ServiceError: it cannot be written, or is no regular file.
    """

    def __init__(self, path: Path, *, fsync: bool = True) -> None:
        self.path = path
        self._fsync = fsync
        try:
            self._append(b"")
        except OSError as error:
            raise ServiceError(f"{path}: the audit log cannot be written ({error.strerror or error})") from None
        self._queue: queue.Queue[tuple[bytes, Future[None]]] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None

    async def record(self, request: str, key: str | None, model: dict[str, Any], results: Sequence[bytes]) -> None:
        """Write one line, and return when it is on the disk.

        Args:
            request: the request's id.
            key: name of the API key.
            model: name, version and SHA-256 of the model.
            results: the JSON of each answer; only its SHA-256 is kept.

        Raises:
            Problem: the line cannot be written; an answer that is not on record is not given.
        """
        line = {
            "time": logs.stamp(time.time()),
            "request_id": request,
            "key": key,
            "model": model,
            "results": [hashlib.sha256(result).hexdigest() for result in results],
        }
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
            self._thread.start()
        written: Future[None] = Future()
        try:
            self._queue.put_nowait((json.dumps(line, ensure_ascii=False).encode() + b"\n", written))
            await asyncio.wrap_future(written)
        except (OSError, queue.Full) as error:
            logs.failure("audit log failed", error)
            raise Problem(
                "audit-failed", "the audit log cannot be written, and no answer is given without it"
            ) from None

    def _work(self) -> None:
        while True:
            batch = [self._queue.get()]
            with suppress(queue.Empty):
                while len(batch) < _MOST_AT_ONCE:
                    batch.append(self._queue.get_nowait())
            waiting = [(line, written) for line, written in batch if written.set_running_or_notify_cancel()]
            try:
                if waiting:
                    self._append(b"".join(line for line, _ in waiting))
            except OSError as error:
                for _, written in waiting:
                    written.set_exception(error)
            else:
                for _, written in waiting:
                    written.set_result(None)

    def _append(self, lines: bytes) -> None:
        """Append whole lines, or nothing.

        Raises:
            OSError: they are not on the disk.
        """
        handle = os.open(self.path, _FLAGS, 0o640)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError("not a regular file")
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)  # given back when the file is closed
            size = os.fstat(handle).st_size
            if size and lines:
                os.lseek(handle, size - 1, os.SEEK_SET)
                if os.read(handle, 1) != b"\n":  # torn by a crash: what follows begins on a line of its own
                    lines = b"\n" + lines
            try:
                left = memoryview(lines)
                while left:
                    left = left[os.write(handle, left) :]
                if self._fsync and (lines or not size):
                    os.fsync(handle)
                if self._fsync and not size:  # the file may be new, and so its name
                    sync(self.path.parent)
            except OSError:
                with suppress(OSError):  # an append-only file keeps the half line, which the next write closes off
                    os.ftruncate(handle, min(size, os.fstat(handle).st_size))  # it may have been rotated by truncation
                raise
        finally:
            os.close(handle)
