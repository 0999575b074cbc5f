"""The head of a request, and the socket: what is bounded before any application code runs.

uvicorn waits without end for the rest of a request head, and closes a connection whose client has shut its sending side
although the answer is still to come. This protocol bounds the first, answers the second, refuses connections beyond a
limit, and drops a client that stops taking its answer.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from lentigo.serving.config import ServeConfig
from lentigo.serving.problems import Problem

TRUNCATED = "lentigo.truncated"
_DISCARD_S = 1.0
_LEAST_TAKEN = 4096  # bytes of its answer that a slow client must take in each pause it is given


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 on one connection, with its limits; made for a configuration by `guarded`."""

    settings: ClassVar[ServeConfig]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            transport.write(Problem("too-many-connections", "too many connections are open; come again in a moment").wire())
            transport.close()
            return
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its timers."""
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come; the clock of a head runs from its first byte (of the first: from the connection)."""
        if self._refused:
            return
        before = self.cycle
        waiting = before is None or before.response_complete
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self.cycle is not before:
            self._stop_head_timer()
            self._head_bytes = 0
        elif waiting:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._start_head_timer()

    def on_response_complete(self) -> None:
        """Go on to the next request; the head of one that has begun to arrive has its time, too."""
        before = self.cycle
        super().on_response_complete()
        if self.cycle is before and not self._refused and not self.transport.is_closing():
            self._head_bytes = len(self.conn.trailing_data[0])
            if self._head_bytes and self._head_timer is None:
                self._start_head_timer()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client has shut its sending side: answer what was asked before, then close."""
        cycle = self.cycle
        if self._refused:
            return False
        if cycle is None or cycle.response_complete:
            if self._head_bytes:
                self._refuse(Problem("bad-request", "the request head ended early"))
            return False
        if cycle.more_body:
            cast("dict[str, Any]", cycle.scope)[TRUNCATED] = True
            cycle.more_body = False
            cycle.message_event.set()
        cycle.keep_alive = False
        return True

    def send_400_response(self, msg: str) -> None:
        """Answer what h11 cannot parse with a problem document."""
        held, _ = self.conn.trailing_data
        if len(held) > self.settings.max_header_bytes:
            problem = Problem("head-too-large", f"a request head may have {self.settings.max_header_bytes:,} bytes")
        else:
            problem = Problem("bad-request", "the request cannot be read as HTTP/1.1")
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:  # broken in the middle of a body
            if cycle.response_started:
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self._refuse(problem)

    def pause_writing(self) -> None:
        """The client does not take its answer: give it a while."""
        super().pause_writing()
        if self._write_timer is None:
            self._start_write_timer()

    def resume_writing(self) -> None:
        """The client takes its answer again."""
        self._stop_write_timer()
        super().resume_writing()

    def shutdown(self) -> None:
        """The server stops: close unless an answer is under way."""
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem and close.

        Closing while the client still sends would reset the connection, and could take the answer with it: the sending side
        is closed first, and what still comes is thrown away for a moment.
        """
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self.transport.write(problem.wire())
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_DISCARD_S, self.transport.close)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.header_timeout_s, self._head_too_slow)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self._head_bytes or self.cycle is not None:
            self._refuse(Problem("too-slow", f"the request head must arrive within {self.settings.header_timeout_s:g} s"))
        else:
            self.transport.close()  # it never asked anything

    def _start_write_timer(self) -> None:
        held = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self.settings.idle_timeout_s, self._check_writing, held)

    def _check_writing(self, before: int) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size() > before - _LEAST_TAKEN:
            self.transport.abort()
        else:
            self._start_write_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def guarded(config: ServeConfig) -> type[GuardedProtocol]:
    """The protocol with the limits of one configuration, as uvicorn wants it: a class."""
    return type("ConfiguredProtocol", (GuardedProtocol,), {"settings": config})
