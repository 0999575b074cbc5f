"""Around every request: id, host check, headers, log line, metrics, and problem documents."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lentigo.serving import logs
from lentigo.serving.limits import ClientGoneError
from lentigo.serving.metrics import INFER, OPEN_INFERENCE, PREDICT, ROUTES, SECONDS
from lentigo.serving.problems import Problem
from lentigo.serving.traces import Stage, Traces

if TYPE_CHECKING:
    from lentigo.serving.service import Service

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
API_POLICY = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cache-control", b"no-store"),
)
_CLOSING = frozenset(
    {"bad-request", "head-too-large", "too-slow", "incomplete-body", "unauthorised", "body-too-large", "bad-multipart"}
)
"""Problems after which nothing more of the connection is read."""
_SMALL_S, _SMALL_BYTES = 0.5, 1024 * 1024


class RequestMiddleware:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        service: what the worker serves.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._hosts = service.config.hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service = self._service
        if scope["method"] == "HEAD":  # whatever takes GET; the server leaves the body out
            scope = {**scope, "method": "GET", "lentigo.method": "HEAD"}
        exchange = _Exchange(scope, receive, send, service)
        scope["lentigo.exchange"] = exchange
        scope["lentigo.request"] = exchange.id
        scope["lentigo.notes"] = exchange.notes
        scope["lentigo.stages"] = exchange.stages
        service.tally.add("lentigo_requests_open")
        try:
            if scope["path"] not in _PROBED:
                _check_host(scope["headers"], self._hosts)
            _check_head(scope, service.config.max_header_bytes)
            await self._app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            await exchange.answer(problem)
        except ClientGoneError:
            exchange.status = 0
        except Exception as error:
            logs.failure("request failed", error, request_id=exchange.id)
            await exchange.answer(Problem("internal", "the fault has been logged under the request's id"))
        finally:
            service.tally.add("lentigo_requests_open", amount=-1)
            exchange.record()


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        self.id = logs.request_id(scope["headers"])
        self.status = 0
        self.notes: dict[str, Any] = {}
        self.stages: list[Stage] = []
        self._scope = scope
        asked = scope.get("lentigo.method", scope["method"])
        self._method = asked if asked in _METHODS else "other"
        self._receive = receive
        self._send = send
        self._service = service
        self._began = time.monotonic()
        self._started = False
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        self._announced = int(length) if length.isdigit() and len(length) < 18 else 1 << 60
        if b"transfer-encoding" in headers:
            self._announced = 1 << 60
        self._unread = self._announced > 0
        self._asks_first = b"expect" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        self._asks_first = False
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            present = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in (*SECURITY, *API_POLICY) if name not in present]
            headers.append((b"x-request-id", self.id.encode("ascii")))
            if (self._unread or self._service.draining) and b"connection" not in present:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def answer(self, problem: Problem) -> None:
        """Send a problem, unless an answer is already under way."""
        if self._started:
            self.notes["problem"] = problem.kind
            return
        response = await self.refuse(problem)
        try:
            await response(self._scope, self.receive, self.send)
        except ClientGoneError:
            self.status = 0

    async def refuse(self, problem: Problem) -> Response:
        """The response for a problem; reads what is left of a small body."""
        self.notes["problem"] = problem.kind
        if problem.kind not in _CLOSING and self._unread and self._announced <= _SMALL_BYTES:
            # Reading what is left of a small body costs less than the new connection that closing this one would.
            await self._discard()
        if self._scope["path"].startswith(OPEN_INFERENCE):
            problem.extra["error"] = problem.detail  # as that protocol has it
        response = problem.response(self.id)
        if problem.kind in _CLOSING:
            response.headers["connection"] = "close"
        return response

    async def _discard(self) -> None:
        if self._asks_first:  # it waits for leave to send its body, and is being refused
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_SMALL_S):
                while self._unread:
                    await self.receive()

    def record(self) -> None:
        """Count the request and write its log line."""
        scope, tally = self._scope, self._service.tally
        known = scope["path"] if scope["path"] in ROUTES else "other"
        route = str(scope.get("lentigo.route") or getattr(scope.get("route"), "path", known))
        if route.startswith(OPEN_INFERENCE):
            route = INFER if route.endswith("/infer") else OPEN_INFERENCE
        seconds = time.monotonic() - self._began
        tally.request(route, self.status)
        if route in (PREDICT, INFER):
            tally.observe("lentigo_request_seconds", seconds, SECONDS)
        kind = self.notes.get("problem")
        if kind is not None:
            tally.add("lentigo_problems_total", kind)
        level = logging.INFO if self.status < 500 else logging.ERROR if self.status == 500 else logging.WARNING
        logs.event(
            level,
            "request",
            request_id=self.id,
            method=self._method,
            route=route,
            status=self.status,
            ms=round(seconds * 1000, 2),
            **self.notes,
        )
        if self._service.traces is not None:
            self._trace(self._service.traces, route)

    def _trace(self, traces: Traces, route: str) -> None:
        """Write its spans; what is between the stages is reading at the beginning, and the answer at the end."""
        method = self._method.replace("other", "_OTHER")  # as OpenTelemetry has it
        stages = self.stages
        if stages:
            last = max(end for _, _, end in stages)
            stages = [("read", self._began, stages[0][1]), *stages, ("answer", last, time.monotonic())]
        attributes = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": self.status,
            "lentigo.request_id": self.id,
            **{f"lentigo.{name}": value for name, value in self.notes.items() if name != "key"},
        }
        try:
            traces.record(f"{method} {route}", self._began, stages, attributes, self._scope["headers"])
        except Exception as error:  # no request fails for its trace
            logs.failure("trace not written", error, request_id=self.id)


_PROBED = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Probes, which address a container by its number; their answers hold nothing but its state."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _check_host(headers: Iterable[tuple[bytes, bytes]], hosts: frozenset[str] | None) -> None:
    if hosts is None:
        return
    for name, value in headers:
        if name == b"host":
            given = value.decode("latin-1").strip().lower()
            bare = given[1:].partition("]")[0] if given.startswith("[") else given.partition(":")[0]
            if bare not in hosts:
                raise Problem("misdirected", "this host name is not served here; allow it with --allowed-host")
            return


def _check_head(scope: MutableMapping[str, Any], most: int) -> None:
    names = {name for name, _ in scope["headers"]}
    if b"transfer-encoding" in names and scope["http_version"] == "1.0":
        raise Problem("bad-request", "HTTP/1.0 has no transfer encoding")
    if {b"content-length", b"transfer-encoding"} <= names:
        # RFC 9112, section 6.1: a gateway in front could see another body here, and with it a request hidden in this
        # one.
        raise Problem("bad-request", "a body has either a length or a transfer encoding, not both")
    if scope["http_version"] not in ("1.0", "1.1"):
        raise Problem("bad-request", "this service speaks HTTP/1.1")
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    size += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size > most:
        raise Problem("head-too-large", f"a request head may have {most:,} bytes")
