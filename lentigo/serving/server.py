"""One worker: uvicorn with the guarded protocol, and an ending that loses nothing."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from types import FrameType

import uvicorn

from lentigo import __version__
from lentigo.errors import ServiceError
from lentigo.serving import logs
from lentigo.serving.app import create_app
from lentigo.serving.config import ServeConfig
from lentigo.serving.metrics import Board
from lentigo.serving.protocol import guarded
from lentigo.serving.service import Service

BACKLOG = 2048
_OTHER_FILES = 96
"""Files that a worker has open beside its connections: models, logs, pipes to its decoders."""
_FILES_EACH = 2
"""Files that a connection may have open: its socket, and a file of the app that it takes slowly."""
FAILED = 2
"""Exit status of a worker that cannot serve at all; starting it again would not help."""


class DrainingServer(uvicorn.Server):
    """A server that stops in three steps.

    After the signal it is no longer ready and closes each connection after its next answer, but still takes connections
    and requests for a moment: what clients sent before they could know is answered. Then it takes no more connections,
    and gives those that are open the same moment. Last it waits for the answers that are under way.

    Args:
        config: uvicorn's settings.
        service: what is served.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._stop_at: float | None = None
        service.connections = lambda: len(self.server_state.connections)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second Ctrl-C ends at once."""
        if self._stop_at is not None:
            if sig == signal.SIGINT:
                self.should_exit = self.force_exit = True
            return
        self._service.draining = True
        self._stop_at = time.monotonic() + self._service.config.linger_s
        logs.event(logging.INFO, "stopping")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, taking one connection at a time.

        With a backlog of 1 the event loop accepts one connection whenever it comes round, so that a burst spreads over
        the workers that share the socket; the kernel's own backlog is then set to its real length.
        """
        await super().startup(sockets=sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: see whether it is time to go."""
        lingered = self._stop_at is not None and time.monotonic() >= self._stop_at
        if lingered or self._service.failure is not None:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, answer what has come over those that are open, close."""
        waiting = [connection for listener in sockets or () for connection in _take_waiting(listener)]
        for server in self.servers:
            server.close()
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        if not self.force_exit and self._service.failure is None:
            await asyncio.sleep(self._service.config.linger_s)
        await super().shutdown(sockets=sockets)
        logs.event(logging.INFO, "stopped")

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )
        return made


def listen(config: ServeConfig) -> socket.socket:
    """Bind the address.

    Raises:
        ServiceError: it is taken, not one of this machine's, or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)  # now, so that a second service on this port fails at once
        except OSError:
            listener.close()
            raise
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        if error.errno == errno.EADDRINUSE:
            advice = "another service has it; stop that one, or give another --port"
        elif error.errno in (errno.EACCES, errno.EPERM):
            advice = "give a --port above 1023"
        else:
            advice = "give a --host of this machine: 127.0.0.1 for itself alone, 0.0.0.0 for every network it is in"
        raise ServiceError(f"cannot listen on {config.host} port {config.port} ({why}); {advice}") from None
    listener.set_inheritable(True)
    return listener


def ignore_hangup() -> None:
    """Until somebody can take changed keys and bundles up, SIGHUP must not end the process."""
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def fit_connections(config: ServeConfig) -> ServeConfig:
    """Hold the number of connections to what the system lets a process open.

    Returns:
        The settings, with fewer connections where the limit cannot be raised.

    Raises:
        ServiceError: the system allows hardly any open files.
    """
    try:
        import resource
    except ImportError:  # Windows
        return config
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.max_connections * _FILES_EACH + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return config
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft >= needed:
        return config
    connections = (soft - _OTHER_FILES) // _FILES_EACH
    if connections <= 0:
        raise ServiceError(
            f"the system allows {soft} open files, the service needs {_OTHER_FILES} beside its connections; raise"
            " ulimit -n"
        )
    logs.event(
        logging.WARNING,
        "fewer connections, since the system allows few open files",
        connections=connections,
        files=soft,
    )
    return replace(config, max_connections=connections)


def address(listener: socket.socket) -> str:
    """The address of a bound socket as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(config: ServeConfig, listener: socket.socket, keys: int) -> None:
    """Say where the service is, and warn where it is open to others."""
    logs.event(
        logging.INFO,
        "listening",
        url=address(listener),
        workers=config.workers,
        keys=keys,
        models=list(config.models),
        lentigo=__version__,
    )
    if not config.loopback and not keys:
        logs.event(
            logging.WARNING, "open to everybody who can reach this address: no API keys are set", host=config.host
        )


def run_worker(
    config: ServeConfig, board: Board, worker: int, listener: socket.socket, service: Service | None = None
) -> None:
    """Serve until a signal stops it.

    Args:
        config: the settings.
        board: where the worker counts.
        worker: its number.
        listener: the bound socket.
        service: what it serves; made from the settings where none is given.

    Raises:
        LentigoError: the model cannot be loaded.
    """
    served = service or Service(config, board, worker)
    settings = uvicorn.Config(
        create_app(config, served),
        http=guarded(config),
        ws="none",
        loop="asyncio",  # uvloop takes whole bursts of connections into one worker
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here depends on the client's address
        server_header=False,
        backlog=1,
        timeout_keep_alive=75,  # longer than gateways keep theirs, so that these close first
        timeout_graceful_shutdown=max(1, round(config.drain_s)),
        h11_max_incomplete_event_size=config.max_header_bytes,
    )
    server = DrainingServer(settings, served)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda number, frame: _reload_soon(served))
    server.run(sockets=[listener])
    if served.failure is not None:
        raise served.failure


def _take_waiting(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait in the kernel, which would be reset when the socket is closed."""
    waiting = []
    with suppress(OSError):  # none is left
        while True:
            waiting.append(listener.accept()[0])
            waiting[-1].setblocking(False)
    return waiting


def _reload_soon(service: Service) -> None:
    # The handler runs in the main thread, between two steps of its event loop.
    with suppress(RuntimeError):  # the loop has ended
        task = asyncio.get_running_loop().create_task(service.reload())
        service.tasks.add(task)
        task.add_done_callback(service.tasks.discard)
