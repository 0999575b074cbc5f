"""Decoding in processes that can be killed: a deadline ends the work, not only the wait.

Two lanes. The quick one has several processes and takes ordinary pictures. What costs much (many pixels, many scans, or
far more pixels than bytes) goes to one further process of low priority with a short queue, so that it never keeps
others waiting, and never more than one such image is in memory. A process that passes its deadline, its CPU time or its
memory is replaced.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lentigo.serving import logs
from lentigo.serving.config import ServeConfig
from lentigo.serving.decode_worker import (
    COSTLY,
    MORE,
    PIPE_BYTES,
    READY,
    REPLY,
    REQUEST,
    Decoded,
    child_environment,
)
from lentigo.serving.problems import Problem

MOST_COSTLY = 16
"""Images that may wait for the slow lane."""
_LOOK_S = 0.05
_FIRST_BYTES = 2**18
"""Bytes of an image that the event loop writes itself, to a process that waits; they cannot block it."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_KEEP_MEMORY = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(32 * 2**20))
"""glibc gives the memory of each image back to the system otherwise; fetching it anew costs a third of decoding."""

Outcome = Decoded | Exception | None
"""A decoded image, why there is none (a `Problem`, or a fault), or None if no request waits for it any more."""


@dataclass(slots=True, eq=False)
class Job:
    """One image to decode.

    Attributes:
        data: the encoded image.
        size: side of the network's square.
        done: called with the outcome, in a thread of the pool.
        until: deadline by the monotonic clock; its process is then killed.
        picture: also scale the image for display.
        urgent: goes before all others.
        place: how many images of its request come before it.
        abandoned: no request waits for it any more.
    """

    data: bytes
    size: int
    done: Callable[[Outcome], None] = lambda outcome: None
    until: float = float("inf")
    picture: bool = False
    urgent: bool = False
    place: int = 0
    abandoned: bool = False


class DecoderPool:
    """The decoding processes of one worker.

    Args:
        config: number of processes and their limits.
        on_replaced: called for each process that had to be replaced, in a thread of the pool.
    """

    def __init__(self, config: ServeConfig, on_replaced: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._on_replaced = on_replaced
        self._lock = threading.Lock()
        self._quick, self._slow = _Lane(self._lock), _Lane(self._lock, niceness=10)
        self._running: dict[_Process, Job] = {}
        self._closed = threading.Event()
        self._started = threading.Event()
        lanes = [self._quick] * (config.decoders or config.cores_per_worker) + [self._slow]
        self._threads = [
            threading.Thread(target=self._work, args=(lane,), name="decode", daemon=True) for lane in lanes
        ]
        self._threads.append(threading.Thread(target=self._reap, name="decode-deadlines", daemon=True))
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Decode an image as soon as a process is free; ``job.done`` gets the outcome."""
        self._put(self._quick, job)

    def wait_started(self, seconds: float) -> bool:
        """Wait until the first process can take images; return whether one can."""
        return self._started.wait(seconds)

    def close(self) -> None:
        """End all processes at once, whatever they do."""
        with self._lock:
            self._closed.set()
            self._started.set()
            left = [job for lane in (self._quick, self._slow) for _, _, job in lane.waiting]
            for process in (*self._running, *self._quick.idle, *self._slow.idle):
                process.kill()
            for lane in (self._quick, self._slow):
                lane.waiting.clear()
                lane.changed.notify_all()
        for job in left:
            job.done(None)
        for thread in self._threads:
            thread.join(1.0)

    def _put(self, lane: _Lane, job: Job) -> None:
        """Give an image to a process that waits for one, or to the queue."""
        with self._lock:
            process = lane.idle.pop() if lane.idle else None
            if process is None:
                lane.put(job)
            else:
                self._running[process] = job
        if process is not None:
            process.send(job, self._config)

    def _work(self, lane: _Lane) -> None:
        """Keep one process of a lane at work."""
        process = self._start(lane) if lane is self._quick else None  # the other is seldom needed
        while not self._closed.is_set():
            job = self._next(lane, process)
            if job is not None:
                process = process or self._start(lane)
                if process is None:
                    job.done(Problem("queue-full", "no decoder can be started now", headers={"Retry-After": "5"}))
                    continue
                with self._lock:
                    self._running[process] = job
                    if self._closed.is_set():
                        process.kill()
                process.send(job, self._config)
            if process is not None and not self._receive(process, lane):
                process = None if self._closed.is_set() else self._start(lane)
        if process is not None:
            process.close()

    def _next(self, lane: _Lane, process: _Process | None) -> Job | None:
        """The next image of a lane; None where the process is to wait for it, or the pool is closed."""
        while True:
            with self._lock:
                while process is None and not lane.waiting and not self._closed.is_set():
                    lane.changed.wait()
                if not lane.waiting:
                    if process is not None:
                        lane.idle.append(process)
                        if self._closed.is_set():
                            process.kill()
                    return None
                job = lane.take()
            if not job.abandoned and time.monotonic() < job.until:
                return job
            job.done(None)

    def _receive(self, process: _Process, lane: _Lane) -> bool:
        """Wait for the outcome of the image that a process has or is given; whether the process can go on."""
        outcome: object
        failed = False
        try:
            outcome = process.receive()
        except Exception as error:  # of this image: the thread goes on, with another process
            outcome, failed = error, True
        with self._lock:
            job = self._running.pop(process, None)
            if failed and job is None:
                lane.idle.remove(process)
        if failed:
            process.close()
            if isinstance(outcome, OSError):  # it has died, or has been killed
                outcome = self._explain(process)
            if not self._closed.is_set():
                logs.event(logging.WARNING, "decoder replaced", exit=process.exit)
                self._on_replaced()
        if job is not None and outcome is _PASSED_ON:
            self._pass_on(job)
        elif job is not None:
            job.data = b""
            job.done(outcome)  # type: ignore[arg-type]
        return not failed

    def _pass_on(self, job: Job) -> None:
        self._put(self._slow, job)
        with self._lock:
            left = self._slow.shorten(MOST_COSTLY)
        for other in left:
            other.data = b""
            other.done(Problem("queue-full", "too many large images are waiting", headers={"Retry-After": "5"}))

    def _explain(self, process: _Process) -> Outcome:
        if process.late or self._closed.is_set():
            return None
        if process.exit == -getattr(signal, "SIGXCPU", 0):
            limit = f"{self._config.decode_cpu_s:g} s of CPU time"
            return Problem(
                "image-too-large", f"decoding takes more than {limit}; scale it down, or save it again as JPEG"
            )
        return Problem("damaged-image", "its decoder failed; save it again as JPEG or PNG")

    def _start(self, lane: _Lane) -> _Process | None:
        try:
            process = _Process(self._config, lane.niceness)
        except OSError as error:
            logs.failure("decoder cannot be started", error)
            return None
        try:
            process.wait_ready()
        except OSError:
            process.close()
            logs.event(logging.ERROR, "decoder cannot be started", exit=process.exit)
            return None
        self._started.set()
        return process

    def _reap(self) -> None:
        """Kill the processes whose image is past its deadline or abandoned."""
        while not self._closed.wait(_LOOK_S):
            now = time.monotonic()
            with self._lock:
                for process, job in self._running.items():
                    if job.abandoned or now >= job.until:
                        process.late = True
                        process.kill()


class _Lane:
    """Images that wait for the processes of one priority; used with the pool's lock held.

    Requests take turns, image by image (start-time fair queueing): one of sixteen large images does not keep others
    waiting for all of them.
    """

    def __init__(self, lock: threading.Lock, niceness: int = 0) -> None:
        self.niceness = niceness
        self.waiting: list[tuple[int, int, Job]] = []
        self.idle: list[_Process] = []
        self.changed = threading.Condition(lock)
        self._turn = 0
        self._count = itertools.count()

    def put(self, job: Job) -> None:
        heapq.heappush(self.waiting, (-1 if job.urgent else self._turn + 1 + job.place, next(self._count), job))
        self.changed.notify()

    def shorten(self, most: int) -> list[Job]:
        """Remove and return the images beyond ``most``, which are the last of the request that has most of them."""
        self.waiting.sort()
        left = [job for _, _, job in self.waiting[most:]]
        del self.waiting[most:]  # what is sorted is a heap
        return left

    def take(self) -> Job:
        turn, _, job = heapq.heappop(self.waiting)
        self._turn = max(self._turn, turn)
        return job


_PASSED_ON = object()


class _Process:
    """One decoding process and the pipes to it."""

    def __init__(self, config: ServeConfig, niceness: int) -> None:
        arguments = (config.decode_cpu_s, config.decode_memory_bytes, niceness, *config.extra_kinds)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lentigo.serving.decode_worker", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**child_environment(), **_ONE_THREAD, **({} if niceness else _KEEP_MEMORY)},
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the service
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self.late = False
        self._size, self._rest = 0, memoryview(b"")
        self._first = 0
        with suppress(ImportError, AttributeError, OSError):  # fewer turns where the system has larger pipes
            import fcntl

            for end in (self._from, self._to):
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self._first = _FIRST_BYTES

    @property
    def exit(self) -> int | None:
        """Its exit status once it has ended; negative for a signal."""
        return self._process.returncode

    def wait_ready(self) -> None:
        """Wait until it can take images.

        Raises:
            OSError: it has ended.
        """
        self._read(len(READY), len(READY))

    def send(self, job: Job, config: ServeConfig) -> None:
        """Give it one image, without waiting: `receive` sends what does not pass at once."""
        self._size, self._rest = job.size, memoryview(job.data)[self._first :]
        head = REQUEST.pack(len(job.data), job.size, config.max_pixels, config.exact, job.picture)
        self._write(head + job.data[: self._first])

    def receive(self) -> object:
        """Wait for the outcome of the image; `_PASSED_ON` where it is for the slow lane.

        Raises:
            OSError: the process is gone.
        """
        reply = self._read(REPLY.size, PIPE_BYTES)  # a decoded image without a picture comes in one turn
        if reply[0] == MORE:
            self._write(self._rest)
            reply = self._read(REPLY.size, PIPE_BYTES)
        self._rest = memoryview(b"")
        done, width, height, wide, high, length = REPLY.unpack_from(reply)
        missing = REPLY.size + length - len(reply)
        reply += self._read(missing, missing)
        if done == COSTLY:
            return _PASSED_ON
        if not done:
            kind, _, detail = reply[REPLY.size :].decode().partition("\n")
            return Problem(kind, detail)
        count = self._size * self._size * 3
        pixels = np.frombuffer(reply, np.uint8, count, REPLY.size).reshape(self._size, self._size, 3)
        shown = Image.frombytes("RGB", (wide, high), reply[REPLY.size + count :]) if wide else None
        return Decoded(pixels, (width, height), shown)

    def kill(self) -> None:
        """End it now."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """Take its exit status and give the pipes back."""
        self.kill()
        self._process.wait()
        for end in (self._to, self._from):
            with suppress(OSError):
                end.close()

    def _write(self, content: bytes | memoryview) -> None:
        left = memoryview(content)
        with suppress(OSError, ValueError):  # it has ended, as `receive` finds
            while left:
                left = left[self._to.write(left) :]

    def _read(self, least: int, most: int) -> bytes:
        content = b""
        while len(content) < least:
            more = self._from.read(most - len(content))
            if not more:
                raise BrokenPipeError
            content += more
        return content
