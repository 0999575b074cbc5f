"""The head of a request, and the socket: what is bounded before any application code runs.

uvicorn waits without end for the rest of a request head, parses bodies however small their pieces are, also after they
have been refused, and closes a connection whose client has shut its sending side although the answer is still to come.
This protocol bounds the first two, throws refused bodies away unparsed, answers the last, makes room for new
connections by closing idle ones, and drops a client that stops taking its answer.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, ClassVar, NoReturn, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from lentigo.serving.config import ServeConfig
from lentigo.serving.problems import Problem

TRUNCATED = "lentigo.truncated"
FREE_PIECES, LEAST_PIECE, LEAST_CHUNK = 64, 64, 512
"""Pieces of a body that may have any size, and the bytes that they, and its chunks, must have on average beyond: each
chunk costs 15 microseconds, whatever it holds."""
FREE_HEAD_PIECES, LEAST_HEAD_PIECE = 64, 16
"""The same of the bytes of a request head as they arrive."""
HEAD_LINES = 100
"""Lines of a request head, and of the trailers behind a body: what parsing costs goes with them, not with the bytes."""
PATIENCE_S = 5.0
"""How long a body may arrive before it makes room for others, where there is none."""
_LINE_ENDS = re.compile(rb"\n\r?\n")
_CHUNK_HEAD = re.compile(rb"[\r\n]*([0-9A-Fa-f]+)([^\n]*\n)?")
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(?=[/?]|$)", re.IGNORECASE)
_TOO_SMALL = "the body comes in too many pieces that are too small"
_DISCARD_S, _DISCARD_BYTES = 2.0, 256 * 1024 * 1024
_LEAST_TAKEN = 4096  # bytes of its answer that a slow client must take in each pause it is given


class BoundedConnection(h11.Connection):
    """A parser that refuses bodies of many tiny pieces and heads of many lines, since its cost goes with those.

    It also refuses a chunk that is too large before it arrives, and takes request targets in absolute form.

    Args:
        max_header_bytes: largest request head.
        max_body_bytes: largest chunk.

    Attributes:
        problem: why it refuses a request; None where h11 does.
    """

    def __init__(self, max_header_bytes: int, max_body_bytes: int = ServeConfig.max_body_bytes) -> None:
        super().__init__(h11.SERVER, max_header_bytes)
        self.problem: Problem | None = None
        self._max_body_bytes = max_body_bytes
        self._pieces = self._chunks = self._bytes = 0
        self._between_chunks = self._in_trailers = False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next part of a request.

        Raises:
            h11.RemoteProtocolError: not HTTP/1.1, or a request that `problem` says is refused.
        """
        if self.their_state is h11.IDLE or self._between_chunks:
            self._look_ahead()
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._between_chunks = event.chunk_end
            self._pieces += 1
            self._chunks += event.chunk_end
            self._bytes += len(event.data)
            least = max(self._pieces * LEAST_PIECE, self._chunks * LEAST_CHUNK)
            if self._pieces > FREE_PIECES and self._bytes < least:
                self.refuse("bad-request", _TOO_SMALL)
        elif isinstance(event, h11.EndOfMessage):
            self._between_chunks = False
        elif isinstance(event, h11.Request):
            self._pieces = self._chunks = self._bytes = 0
            self._in_trailers = False
            self._between_chunks = any(name == b"transfer-encoding" for name, _ in event.headers)
            if not event.target.startswith(b"/") and event.target != b"*":
                return self._in_origin_form(event)
        return event

    def refuse(self, kind: str, detail: str) -> NoReturn:
        """Take no more of the request, and say why in `problem`.

        Raises:
            h11.RemoteProtocolError: always.
        """
        self.problem = Problem(kind, detail)
        raise h11.RemoteProtocolError(detail)

    def _in_origin_form(self, event: h11.Request) -> h11.Request:
        """A request for ``http://host/path`` as one for ``/path`` of that host (RFC 9112, section 3.2.2).

        Raises:
            h11.RemoteProtocolError: another scheme, no host, or a user's name.
        """
        found = _ABSOLUTE.match(event.target)
        if found is None:
            self.refuse("bad-request", "the request target must be a path, or http:// with host and path")
        rest = event.target[found.end() :]
        headers = [(name, value) for name, value in event.headers if name != b"host"]
        return h11.Request(
            method=event.method,
            target=rest if rest.startswith(b"/") else b"/" + rest,
            headers=[(b"host", found[1]), *headers],
            http_version=event.http_version,
        )

    def _look_ahead(self) -> None:
        """Refuse a chunk that is too large, and a head or trailers before the lines are parsed one by one.

        Raises:
            h11.RemoteProtocolError: too large, or too many lines.
        """
        held, _ = self.trailing_data
        start = 0
        if self.their_state is not h11.IDLE and not self._in_trailers:
            chunk = _CHUNK_HEAD.match(held)
            line = chunk[2] if chunk else b""
            if (chunk is None and held.strip(b"\r\n")) or (line and not line.endswith(b"\r\n")):
                self.refuse("bad-request", "a chunk must begin with a line of its size that ends in CR LF")
            size = int(chunk[1], 16) if chunk else 0
            if size > self._max_body_bytes:
                self.refuse("body-too-large", f"a body may have {self._max_body_bytes:,} bytes")
            if size and line:
                self._between_chunks = False  # h11 reads this line now, and what follows is data
            if chunk is None or size or not line:
                return
            self._in_trailers = True
            start = chunk.end() - 1
        end = _LINE_ENDS.search(held, start)
        if held.count(b"\n", start, end.start() if end else len(held)) > HEAD_LINES:
            kind = "bad-request" if self._in_trailers else "head-too-large"
            self.refuse(kind, f"a request head, and trailers, may have {HEAD_LINES} lines")


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 on one connection, with its limits; made for a configuration by `guarded`."""

    settings: ClassVar[ServeConfig]
    silent: ClassVar[dict[GuardedProtocol, None]]
    resting: ClassVar[dict[GuardedProtocol, None]]
    arriving: ClassVar[dict[GuardedProtocol, float]]  # connections whose body arrives, and since when
    writing: ClassVar[dict[GuardedProtocol, None]]  # those that have not taken their answer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: BoundedConnection = BoundedConnection(self.settings.max_header_bytes, self.settings.max_body_bytes)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head_bytes = self._head_pieces = 0
        self._body_bytes = self._body_pieces = 0
        self._refused = False
        self._discarded = self._discarded_pieces = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; the one that has been idle longest makes room where there are too many."""
        super().connection_made(cast("asyncio.Transport", _GentleTransport(transport, self)))
        if len(self.connections) > self.settings.max_connections and not self._make_room():
            transport.write(
                Problem("too-many-connections", "too many connections are open; try again in a moment").wire()
            )
            transport.close()
            return
        self.silent[self] = None
        self._start_head_timer()

    def _make_room(self) -> bool:
        """Close a connection: the one idle for longest, one that has never asked anything before all others.

        Where none is idle, the one whose body has been arriving for longest, and for too long.
        """
        late = (other for other, since in self.arriving.items() if self.loop.time() >= since + PATIENCE_S)
        for other in (*self.silent, *self.resting, *late):
            other.drop()
            return True
        return False

    def drop(self) -> None:
        """Close at once, since nothing is being answered here, or it is not taken."""
        self._forget()
        self.connections.discard(self)
        self.transport.abort()

    def close_gently(self, transport: asyncio.Transport) -> None:
        """Close once the client can have read its answer.

        Closing while the client still sends would reset the connection, and could take the answer with it: the sending
        side is closed first, and what still comes is thrown away for a moment, unparsed.
        """
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        self._forget()
        cycle = self.cycle
        sending = self._refused or (cycle is not None and cycle.more_body)
        if not sending or transport.is_closing():
            transport.close()
            return
        self._refused = True
        if transport.can_write_eof():
            transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_DISCARD_S, transport.close)

    def _forget(self) -> None:
        self.silent.pop(self, None)
        self.resting.pop(self, None)
        self.arriving.pop(self, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its timers."""
        self._forget()
        self.writing.pop(self, None)
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come; the clock of a head runs from its first byte (of the first: from the connection)."""
        if self._refused:
            self._discarded += len(data)
            self._discarded_pieces += 1
            tiny = self._discarded_pieces > FREE_PIECES and self._discarded < self._discarded_pieces * LEAST_PIECE
            if tiny or self._discarded > _DISCARD_BYTES:
                self.transport.abort()
            return
        before = self.cycle
        waiting = before is None or before.response_complete
        if not waiting and before.more_body:
            self._body_bytes += len(data)
            self._body_pieces += 1
            if self._body_pieces > FREE_PIECES and self._body_bytes < self._body_pieces * LEAST_PIECE:
                # h11 counts only those that hold some of the body.
                self.conn.problem = Problem("bad-request", _TOO_SMALL)
                self.send_400_response("")
                return
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self.cycle is not before:
            self._stop_head_timer()
            self._forget()
            self._head_bytes = self._head_pieces = self._body_bytes = self._body_pieces = 0
        elif waiting:
            self._head_bytes += len(data)
            self._head_pieces += 1
            if self._head_pieces > FREE_HEAD_PIECES and self._head_bytes < self._head_pieces * LEAST_HEAD_PIECE:
                self._refuse(Problem("bad-request", "the request head comes in too many pieces"))
                return
            if self._head_timer is None:
                self._start_head_timer()
        self._note_body()

    def _note_body(self) -> None:
        """Note since when a body arrives, and that it has."""
        if self.cycle is not None and self.cycle.more_body:
            self.arriving.setdefault(self, self.loop.time())
        else:
            self.arriving.pop(self, None)

    def _should_upgrade(self) -> bool:
        """No other protocol is spoken; the request is answered as it stands, without uvicorn's advice in the log."""
        return False

    def on_response_complete(self) -> None:
        """Go on to the next request; the head of one that has begun to arrive has its time, too."""
        before = self.cycle
        super().on_response_complete()
        if self.cycle is not before:  # the next request was there already
            self.arriving.pop(self, None)
            self._note_body()
        elif not self._refused and not self.transport.is_closing():
            self.resting[self] = None
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
        cycle = self.cycle
        in_head = cycle is None or cycle.response_complete
        problem = self.conn.problem or Problem("bad-request", "the request cannot be read as HTTP/1.1")
        if self.conn.problem is None and in_head and len(held) > self.settings.max_header_bytes:
            problem = Problem("head-too-large", f"a request head may have {self.settings.max_header_bytes:,} bytes")
        if cycle is not None and not cycle.response_complete:  # broken in the middle of a body
            if cycle.response_started:
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self._refuse(problem)

    def pause_writing(self) -> None:
        """The client does not take its answer: give it a while, and those before it less where all hold too much."""
        super().pause_writing()
        self.writing[self] = None
        held = sum(other.transport.get_write_buffer_size() for other in self.writing)
        for other in list(self.writing)[:-1]:
            if held <= self.settings.max_held_bytes:
                break
            held -= other.transport.get_write_buffer_size()
            del self.writing[other]
            other.drop()
        if self._write_timer is None:
            self._start_write_timer()

    def resume_writing(self) -> None:
        """The client takes its answer again."""
        self._stop_write_timer()
        self.writing.pop(self, None)
        super().resume_writing()

    def shutdown(self) -> None:
        """The server stops: close unless an answer is under way."""
        if self._refused:
            self.transport.abort()
        else:
            super().shutdown()

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem and close."""
        if self._refused or self.transport.is_closing():
            return
        self.transport.write(problem.wire())
        self._refused = True
        self.transport.close()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.header_timeout_s, self._head_too_slow)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self._head_bytes or self.cycle is not None:
            self._refuse(
                Problem("too-slow", f"the request head must arrive within {self.settings.header_timeout_s:g} s")
            )
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


class _GentleTransport:
    """A transport whose `close` is the protocol's `GuardedProtocol.close_gently`."""

    def __init__(self, transport: asyncio.Transport, protocol: GuardedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._protocol.close_gently(self._transport)

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()


def guarded(config: ServeConfig) -> type[GuardedProtocol]:
    """The protocol with the limits of one configuration: a class, as uvicorn expects."""
    shared: dict[str, Any] = {"settings": config, "silent": {}, "resting": {}, "arriving": {}, "writing": {}}
    return type("ConfiguredProtocol", (GuardedProtocol,), shared)
