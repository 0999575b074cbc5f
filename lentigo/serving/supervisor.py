"""The workers behind one socket: each is watched, replaced when it dies or hangs, and stopped in good order.

The supervisor binds the socket, which the workers share: one that is free takes the next connection. What has not been
taken when a worker is killed is taken by another, or by the one that replaces it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from multiprocessing.context import SpawnProcess
from types import FrameType

from lentigo.errors import LentigoError, ServiceError
from lentigo.serving import logs
from lentigo.serving.config import ServeConfig
from lentigo.serving.metrics import Board
from lentigo.serving.server import FAILED, run_worker

HUNG_S = 20.0
"""Seconds after which a worker is replaced that has said nothing: its event loop or its work has stopped."""
_MARGIN_S = 3.0
START_S = 120.0
"""Seconds that a worker may take until its event loop runs for the first time."""
_PAUSE_S = 5.0
"""A longer gap between two checks means that supervisor and workers were paused (``docker pause``)."""
_YOUNG_S, _MOST_YOUNG = 10.0, 5
_LOOK_S = 0.1


class Supervisor:
    """Keeps the workers running.

    Args:
        config: the settings.
        listener: the bound socket.
        board: the workers' shared figures.
    """

    def __init__(self, config: ServeConfig, listener: socket.socket, board: Board) -> None:
        self._config = config
        self._listener = listener
        self._board = board
        self._context = multiprocessing.get_context("spawn")  # a fork would copy threads and locks of the libraries
        self._workers: list[SpawnProcess] = []
        self._started: list[float] = []
        self._looked_at = self._resumed_at = time.monotonic()
        self._young_deaths = 0
        self._stop = False  # set by a signal handler, which may use no lock
        self._failed = False

    def run(self) -> None:
        """Start the workers and keep them until a signal stops the service.

        Raises:
            ServiceError: a worker cannot serve, or the workers die as soon as they are started.
        """
        before = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            for number in range(self._config.workers):
                self._started.append(time.monotonic())
                self._workers.append(self._start(number))
            while not self._stop:
                time.sleep(_LOOK_S)
                self._look()
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._failed:
            raise ServiceError("the workers cannot serve; the log above says why")

    def _start(self, number: int) -> SpawnProcess:
        process = self._context.Process(
            target=_worker,
            args=(self._config, self._board, number, self._listener, os.getpid()),
            name=f"lentigo-{number}",
        )
        process.start()
        return process

    def _look(self) -> None:
        now = time.monotonic()
        if now > self._looked_at + _PAUSE_S:
            self._resumed_at = now
        self._looked_at = now
        for number in range(self._config.workers):
            self._look_after(number)

    def _look_after(self, number: int) -> None:
        worker = self._workers[number]
        age = time.monotonic() - self._started[number]
        if worker.is_alive():
            beat = self._board.last_beat(number)
            most = HUNG_S if beat > self._started[number] else START_S
            if time.monotonic() - max(beat, self._started[number], self._resumed_at) <= most:
                return
            logs.event(logging.ERROR, "worker hangs", number=number, pid=worker.pid)
            worker.kill()
            worker.join()
        if self._stop:
            return
        if worker.exitcode == FAILED:
            self._failed = True
            self._stop = True
            return
        self._young_deaths = self._young_deaths + 1 if age < _YOUNG_S else 0
        if self._young_deaths > _MOST_YOUNG * self._config.workers:
            logs.event(logging.ERROR, "workers die as soon as they are started", exit=worker.exitcode)
            self._failed = True
            self._stop = True
            return
        logs.event(
            logging.WARNING, "worker died, starting another", number=number, pid=worker.pid, exit=worker.exitcode
        )
        worker.close()
        self._board.restarted()
        self._workers[number] = self._start(number)
        self._started[number] = time.monotonic()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._pass_on(signal.SIGHUP)
        else:
            self._stop = True

    def _pass_on(self, number: signal.Signals) -> None:
        for index, worker in enumerate(self._workers):
            # One that does not run yet will read bundles and keys as they are by then.
            young = number == signal.SIGHUP and self._board.last_beat(index) <= self._started[index]
            if worker.is_alive() and worker.pid is not None and not young:
                os.kill(worker.pid, number)

    def _end(self) -> None:
        """Ask all workers to stop, and wait for what they still answer."""
        self._listener.close()  # the workers hold it open for as long as they take connections
        self._pass_on(signal.SIGTERM)
        end = time.monotonic() + self._config.drain_s + 2 * self._config.linger_s + _MARGIN_S
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))
            if worker.is_alive():
                logs.event(logging.ERROR, "worker does not stop, ending it", pid=worker.pid)
                worker.kill()
                worker.join()


def _worker(config: ServeConfig, board: Board, number: int, listener: socket.socket, parent: int) -> None:
    """The whole life of a worker process."""
    logs.configure(config)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing to take up before the first load
    _follow(parent)
    try:
        run_worker(config, board, number, listener)
    except LentigoError as error:
        logs.event(logging.ERROR, "worker cannot serve", error=str(error))
        logs.drain()
        sys.exit(FAILED)
    logs.drain()


def _follow(parent: int) -> None:
    """Stop when the supervisor is gone, however it went."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="follow", daemon=True).start()
