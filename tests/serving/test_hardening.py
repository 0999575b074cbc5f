"""What a few hostile bytes, a full disk or a stuck pipe may not do to the service."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import http.client
import itertools
import json
import logging
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h11
import httpx
import pytest
import uvicorn
from hostile import png
from serving_tools import Server, application, exchange, jpeg, problem_of, running, status_of
from starlette.requests import Request
from tiny_bundle import blob_image, tiny_bundle
from uvicorn.server import ServerState

from lentigo.errors import BundleError, ServiceError
from lentigo.serving import limits, logs, metrics, serve, supervisor, vet
from lentigo.serving.audit import Audit
from lentigo.serving.auth import SLOTS, Keyring, create_key, parse_keys, read_keys
from lentigo.serving.config import ServeConfig
from lentigo.serving.metrics import Board
from lentigo.serving.middleware import RequestMiddleware
from lentigo.serving.problems import Problem
from lentigo.serving.protocol import FREE_PIECES, PATIENCE_S, BoundedConnection, GuardedProtocol, guarded
from lentigo.serving.routes import predict
from lentigo.serving.server import fit_connections
from lentigo.serving.service import Service

IMAGE = jpeg(blob_image(1))
KEY, ENTRY = create_key("gateway")
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
MODEL = {"name": "m", "version": "1", "sha256": "0"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hardening")
    bundle = tiny_bundle(folder / "tiny", size=32)
    (folder / "keys").write_text(f"{ENTRY}:100000\n")
    with running(
        folder, models=(str(bundle.path),), keys_file=folder / "keys", max_connections=40, reload_s=0, decoders=1
    ) as started:
        yield started


def ask(server: Server, content: bytes = IMAGE, **headers: str) -> httpx.Response:
    given = {"Content-Type": "image/jpeg", "X-API-Key": KEY, **headers}
    return httpx.post(f"{server.url}/v1/predict", content=content, headers=given, timeout=30)


# --- cost per event -------------------------------------------------------------------------------------------------


def feed(connection: BoundedConnection, data: bytes) -> list[Any]:
    """The events of a request that arrives in one piece."""
    connection.receive_data(data)
    events = []
    while (event := connection.next_event()) is not h11.NEED_DATA:
        events.append(event)
        if isinstance(event, h11.EndOfMessage):
            break
    return events


def test_a_body_of_tiny_chunks_is_given_up_after_a_few() -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    connection = BoundedConnection(16384)
    seen = 0
    whole = BoundedConnection.next_event
    connection.receive_data(head + b"1\r\nx\r\n" * 100_000)
    with contextlib.suppress(h11.RemoteProtocolError):
        while seen < 1000:
            whole(connection)
            seen += 1
    assert seen <= FREE_PIECES + 1
    good = head + b"".join(b"%x\r\n" % len(piece) + piece + b"\r\n" for piece in [bytes(1000)] * 500) + b"0\r\n\r\n"
    assert sum(len(e.data) for e in feed(BoundedConnection(16384), good) if isinstance(e, h11.Data)) == 500_000


@pytest.mark.parametrize(("size", "taken"), [(100, False), (500, False), (600, True)])
def test_chunks_cost_by_the_chunk_and_must_hold_something(size: int, taken: bool) -> None:
    chunks = (b"%x\r\n" % size + bytes(size) + b"\r\n") * 300
    body = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    with contextlib.nullcontext() if taken else pytest.raises(h11.RemoteProtocolError, match="too small"):
        feed(BoundedConnection(16384), body)


@pytest.mark.parametrize("split", [1, 7, 100_000])
@pytest.mark.parametrize("line", [b"a:\r\n", b"a:\n", b" b\n"])
@pytest.mark.parametrize("where", ["head", "trailers", "trailers behind a chunk"])
def test_heads_and_trailers_of_many_lines_are_refused_unparsed(
    where: str, line: bytes, split: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = HEAD + (b"" if where == "head" else b"Transfer-Encoding: chunked\r\n\r\n")
    head += b"1\r\nx\r\n" if "behind" in where else b""
    head += b"" if where == "head" else b"0;x\r\n"

    def send(lines: int) -> None:
        data = head + b"a:b\r\n" + line * lines + b"\r\n"
        connection = BoundedConnection(16384)
        for at in range(0, len(data), split):
            connection.receive_data(data[at : at + split])
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.EndOfMessage) and where != "head":
                    return
        assert where == "head"

    send(50)
    with monkeypatch.context() as patched:
        patched.setattr(
            "h11._headers.normalize_and_validate", lambda *given, **more: pytest.fail("the lines were parsed")
        )
        with pytest.raises(h11.RemoteProtocolError):
            send(3000 if where == "head" else 12_000)


@pytest.mark.parametrize("size", [b"10000000000000000", b"2000001", b"00ffffffff;x"])
def test_a_chunk_that_is_too_large_is_refused_before_it_arrives(size: bytes) -> None:
    connection = BoundedConnection(16384, 2**25)
    with pytest.raises(h11.RemoteProtocolError, match="33,554,432 bytes"):
        feed(connection, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" + size)
    assert connection.problem is not None
    assert connection.problem.status == 413


@pytest.mark.parametrize("data", [b"f" * 20, b"zz", b"0\r\n" + b"\n" * 200])
def test_a_chunk_may_hold_what_looks_like_another(data: bytes) -> None:
    connection, found = BoundedConnection(16384), b""
    size = b"%x\r\n" % len(data)
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for piece in (head, size, data, b"\r", b"\n" + size, data, b"\r\n0\r\n\r\n"):
        connection.receive_data(piece)
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            found += event.data if isinstance(event, h11.Data) else b""
    assert found == data * 2
    connection = BoundedConnection(16384)
    connection.receive_data(HEAD + b"Content-Length: %d\r\n\r\n" % len(data))
    assert isinstance(connection.next_event(), h11.Request)
    assert connection.next_event() is h11.NEED_DATA
    connection.receive_data(data)
    assert connection.next_event().data == data  # type: ignore[union-attr]


@pytest.mark.parametrize("chunk", [b"5\nabcde\n", b"zz", b" 5\r\n", b"-1", b"1\r\nx\r\n5\n"])
def test_what_is_no_chunk_is_refused_at_once(chunk: bytes) -> None:
    with pytest.raises(h11.RemoteProtocolError, match="must begin with a line of its size"):
        feed(BoundedConnection(16384), HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [("http://a.example/b?c=/d", "/b?c=/d", "a.example"), ("HTTPS://[::1]:80", "/", "[::1]:80"),
     ("http://a:80?b", "/?b", "a:80"), ("/http://a/b", "/http://a/b", "localhost"), ("*", "*", "localhost")],
)  # fmt: skip
def test_a_target_in_absolute_form_counts_for_path_and_host(target: str, path: str, host: str) -> None:
    head = f"OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n".encode()
    request = feed(BoundedConnection(16384), head)[0]
    assert (request.method, request.target) == (b"OPTIONS", path.encode())
    assert sorted(request.headers) == [(b"host", host.encode()), (b"x", b"y")]


@pytest.mark.parametrize(
    "target", [b"http://", b"http:///a", b"ftp://a/b", b"http://user@a/b", b"a:443", b"a/b", b"**"]
)
def test_targets_without_a_path_are_refused(target: bytes) -> None:
    connection = BoundedConnection(16384)
    with pytest.raises(h11.RemoteProtocolError, match="must be a path"):
        feed(connection, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")


def test_the_host_of_an_absolute_target_is_the_one_that_is_checked(server: Server) -> None:
    def status(target: bytes, host: bytes) -> int:
        request = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
        return status_of(exchange(server, request))

    assert status(b"http://localhost/openapi.json", b"other.example") == 200
    assert status(b"http://other.example/openapi.json", b"localhost") == 421
    assert status(b"ftp://localhost/openapi.json", b"localhost") == 400


@pytest.mark.parametrize("key", [pytest.param(KEY, id="right"), "wrong"])
def test_tiny_chunks_and_unwanted_bodies_are_not_read_on(server: Server, key: str) -> None:
    head = HEAD + b"X-API-Key: " + key.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = exchange(server, head + b"1\r\nx\r\n" * 50_000)
    assert status_of(answer) in ((400,) if key == KEY else (400, 401))
    assert b"connection: close" in answer.lower()
    assert ask(server).status_code == 200


@pytest.mark.parametrize("encoding", [b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1;"])
def test_a_body_of_single_bytes_is_given_up(server: Server, encoding: bytes) -> None:
    with socket.create_connection((server.host, server.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(HEAD + b"X-API-Key: " + KEY.encode() + b"\r\n" + encoding)
        sent = 0
        connection.settimeout(0.002)
        answer = b""
        while not answer and sent < 20_000:
            connection.sendall(b"x")
            sent += 1
            try:
                answer = connection.recv(1000)
            except TimeoutError:
                continue
    assert status_of(answer) == 400
    assert sent < 5_000  # a chunk's extension may have 16,384 bytes


@pytest.mark.parametrize(("piece", "dropped"), [(b"x", True), (bytes(1000), False), (bytes(2**22), True)])
def test_a_refused_connection_that_goes_on_in_single_bytes_or_for_ever_is_dropped(piece: bytes, dropped: bool) -> None:
    protocol = object.__new__(GuardedProtocol)
    protocol._refused = True
    protocol._discarded = protocol._discarded_pieces = 0
    aborted: list[bool] = []
    protocol.transport = SimpleNamespace(abort=lambda: aborted.append(True))  # type: ignore[assignment]
    for _ in range(FREE_PIECES):
        protocol.data_received(piece)
    assert not aborted
    protocol.data_received(piece)
    assert bool(aborted) == dropped


def test_a_request_to_speak_another_protocol_is_answered_as_it_stands(caplog: pytest.LogCaptureFixture) -> None:
    protocol = object.__new__(GuardedProtocol)
    protocol.headers = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    protocol.ws_protocol_class, protocol.logger = None, logging.getLogger()
    assert not protocol._should_upgrade()
    assert not caplog.text


def test_a_head_of_single_bytes_is_given_up(server: Server) -> None:
    with socket.create_connection((server.host, server.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(0.002)
        answer = b""
        for byte in HEAD + b"X: " + b"x" * 3000:
            connection.sendall(bytes([byte]))
            try:
                answer = connection.recv(1000)
                break
            except TimeoutError:
                continue
    assert status_of(answer) == 400


def test_a_body_full_of_near_boundaries_is_given_up(server: Server) -> None:
    body = b"--frontier\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n" + b"\r\n--frontier!" * 50_000
    answer = ask(server, body + b"\r\n--frontier--\r\n", **{"Content-Type": "multipart/form-data; boundary=frontier"})
    assert problem_of(answer)["type"].endswith("too-many-files")


def test_idle_connections_make_room_for_those_that_ask(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(100):  # more than the 40 that are served at once
            stack.enter_context(socket.create_connection((server.host, server.port), timeout=10))
        for _ in range(5):
            assert ask(server).status_code == 200


class Transport(asyncio.Transport):
    """A socket's transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent = 0
        self.ended = False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: Any) -> None:
        self.unsent += len(data)

    def is_closing(self) -> bool:
        return self.ended

    def abort(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def connections(count: int, **settings: Any) -> list[GuardedProtocol]:
    """Connections to a worker whose application reads a body and never answers."""

    async def never(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(1000)

    config = uvicorn.Config(never, log_config=None, lifespan="off")
    config.load()
    made = guarded(ServeConfig(**settings))
    state = ServerState()
    found = []
    for _ in range(count):
        found.append(made(config=config, server_state=state, app_state={}))
        found[-1].connection_made(Transport())
    return found


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_bodies_that_arrive_too_slowly_make_room_for_connections(
    before: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        slow, other, done = made = connections(3, max_connections=3)
        for one in made:
            one.data_received(before + HEAD + b"Content-Length: 3\r\n\r\nx")
            if before:  # answered, and the next request is there
                one.cycle.response_complete = True
                one.conn.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                one.conn.send(h11.EndOfMessage())
                one.on_response_complete()
        done.data_received(b"xx")
        assert not slow._make_room()
        clock = asyncio.get_running_loop().time()
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock + PATIENCE_S + 0.1)
        for expected in (slow, other):
            assert slow._make_room()
            assert [one.transport.ended for one in made].count(True) == 1 + (expected is other)
            assert expected.transport.ended
        assert not slow._make_room()  # the last waits for its answer
        for task in slow.tasks:
            task.cancel()

    asyncio.run(go())


def test_of_idle_connections_the_oldest_that_never_asked_makes_room_first() -> None:
    async def go() -> None:
        made = connections(5)
        first, second, answered, again, asks = made
        for one in (answered, again, asks):
            one.data_received(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for one in (again, answered):
            one.cycle.response_complete = True
            one.conn.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            one.conn.send(h11.EndOfMessage())
            one.on_response_complete()
        ended = []
        while asks._make_room():
            ended.append(next(one for one in made if one.transport.ended and one not in ended))
        assert ended == [first, second, again, answered]  # the last is being answered
        for one in made:
            one._stop_head_timer()
            one._unset_keepalive_if_required()
            for task in one.tasks:
                task.cancel()

    asyncio.run(go())


def test_answers_that_are_not_taken_make_room_for_others() -> None:
    async def go() -> None:
        made = connections(4, max_held_bytes=1000)
        for one in made[:3]:
            one.transport.write(bytes(400))
            one.pause_writing()
        assert [one.transport.ended for one in made] == [True, False, False, False]
        made[1].resume_writing()
        made[3].transport.write(bytes(400))
        made[3].pause_writing()
        assert [one.transport.ended for one in made] == [True, False, False, False]
        for one in made:
            one._stop_write_timer()

    asyncio.run(go())


def test_the_head_of_a_later_request_has_its_time_too() -> None:
    async def go() -> None:
        (one,) = connections(1)
        one.data_received(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one._head_timer is None
        one.cycle.response_complete = True
        one.conn.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        one.conn.send(h11.EndOfMessage())
        one.on_response_complete()
        one.data_received(b"GET /healthz HTT")
        assert one._head_timer is not None
        one._head_too_slow()
        assert one.transport.is_closing()
        for task in one.tasks:
            task.cancel()
        one.connection_lost(None)

    asyncio.run(go())


@pytest.mark.parametrize(
    "limit", [{"body_timeout_s": 0.1, "idle_timeout_s": 1000.0}, {"body_timeout_s": 1000.0, "idle_timeout_s": 0.1}]
)
def test_a_body_ends_in_time_and_does_not_pause(limit: dict[str, float]) -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01 if limit["idle_timeout_s"] > 1 else 1000)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def go() -> None:
        with limits.Budget(1000).lease() as lease:
            await limits.read_body({"headers": []}, receive, ServeConfig(**limit), lease)  # type: ignore[arg-type]

    with pytest.raises(Problem, match="must arrive"):
        asyncio.run(asyncio.wait_for(go(), 5))


@pytest.mark.parametrize("kind", ["unauthorised", "body-too-large", "bad-multipart", "bad-request", "unknown-model"])
def test_refused_bodies_are_not_read_to_their_end(kind: str) -> None:
    read, sent = [], []

    async def receive() -> dict[str, Any]:
        read.append(1)
        return {"type": "http.request", "body": b"x", "more_body": len(read) < 3}

    async def send(message: Any) -> None:
        sent.append(message)

    async def refuse(*given: Any) -> None:
        raise Problem(kind, "no")

    async def go() -> None:
        service = Service(ServeConfig(models=()))
        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/predict", "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"content-length", b"3")],
        }  # fmt: skip
        await RequestMiddleware(refuse, service)(scope, receive, send)

    asyncio.run(go())
    closes = (b"connection", b"close") in sent[0]["headers"]
    assert (len(read), closes) == ((3, False) if kind == "unknown-model" else (0, True))


def test_bodies_that_arrive_too_slowly_make_room_for_bytes() -> None:
    async def go() -> None:
        loop = asyncio.get_running_loop()
        budget = limits.Budget(100)
        config = ServeConfig()
        queues: list[asyncio.Queue[bytes]] = [asyncio.Queue(), asyncio.Queue()]

        async def read(queue: asyncio.Queue[bytes]) -> limits.Body:
            async def receive() -> dict[str, Any]:
                content = await queue.get()
                return {"type": "http.request", "body": content, "more_body": bool(content)}

            with budget.lease() as lease:
                return await limits.read_body({"headers": []}, receive, config, lease)

        slow, second = (loop.create_task(read(queue)) for queue in queues)
        queues[0].put_nowait(bytes(90))
        await asyncio.sleep(0)
        queues[1].put_nowait(bytes(20))
        with pytest.raises(Problem, match="too many bytes"):  # the other one has not had its time
            await second
        clock = loop.time
        loop.time = lambda: clock() + limits.PATIENCE_S  # type: ignore[method-assign]
        second = loop.create_task(read(queues[1]))
        queues[1].put_nowait(bytes(20))
        queues[1].put_nowait(b"")
        assert (await second).images == [bytes(20)]
        queues[0].put_nowait(bytes(5))
        with pytest.raises(Problem, match="takes so long"):
            await slow
        assert (budget.held, budget.arriving) == (0, {})

    asyncio.run(asyncio.wait_for(go(), 30))


def test_connections_beyond_the_limit_are_refused(server: Server) -> None:
    head = HEAD + b"X-API-Key: " + KEY.encode() + b"\r\nContent-Length: 100000\r\n\r\n"
    with ExitStack() as stack:
        held = []
        for _ in range(80):  # each asks at once, so that none is idle; 40 are served
            held.append(stack.enter_context(socket.create_connection((server.host, server.port), timeout=10)))
            with contextlib.suppress(OSError):  # refused already
                held[-1].sendall(head)
        answers = []
        for connection in held:
            connection.settimeout(0.05)
            try:
                answers.append(connection.recv(12))
            except TimeoutError:
                answers.append(b"waiting")
            except OSError:
                answers.append(b"")
    assert answers.count(b"waiting") <= 40
    assert set(answers) <= {b"HTTP/1.1 503", b"waiting", b""}  # refused, held, or closed before its head was read


def test_a_connection_may_take_a_file_of_the_app_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda what: (1024, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda *given: None)
    assert 400 < 2 * fit_connections(ServeConfig(max_connections=1000)).max_connections < 1024 - 64
    assert fit_connections(ServeConfig(max_connections=100)).max_connections == 100
    monkeypatch.setattr(resource, "getrlimit", lambda what: (97, 97))
    with pytest.raises(ServiceError, match="97 open files"):
        fit_connections(ServeConfig())


def test_connections_are_held_against_the_files_that_may_be_open(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    limited = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))\n"
    settings = {"models": (str(bundle.path),), "header_timeout_s": 1000}  # silent connections do not go by themselves
    with running(tmp_path, before=limited, **settings) as server, ExitStack() as stack:
        (event,) = server.events("fewer connections, since the system allows few open files")
        assert event["connections"] < 160
        for _ in range(200):
            stack.enter_context(socket.create_connection((server.host, server.port), timeout=10))
        for _ in range(5):
            assert ask(server).status_code == 200


# --- requests -------------------------------------------------------------------------------------------------------


def test_form_fields_are_no_images(server: Server) -> None:
    fields = {"patient": "x", "note": "y" * 1000}
    with_fields = httpx.post(
        f"{server.url}/v1/predict",
        data=fields,
        files=[("image", ("a.jpg", IMAGE, "image/jpeg"))],
        headers={"X-API-Key": KEY},
        timeout=30,
    )
    assert [p.get("label") is not None for p in with_fields.json()["predictions"]] == [True]
    only_fields = httpx.post(
        f"{server.url}/v1/predict", data=fields, files={"a": ("", b"")}, headers={"X-API-Key": KEY}, timeout=30
    )
    assert problem_of(only_fields)["type"].endswith("no-image")
    unnamed = b"--b\r\nContent-Disposition: form-data; name=image\r\n\r\n" + IMAGE + b"\r\n--b--\r\n"
    assert ask(server, unnamed, **{"Content-Type": "multipart/form-data; boundary=b"}).status_code == 200


def test_many_form_fields_are_refused(server: Server) -> None:
    field = b"--f\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n"
    body = field * 120 + b"--f\r\nContent-Disposition: form-data; name=image\r\n\r\n" + IMAGE + b"\r\n--f--\r\n"
    answer = ask(server, body, **{"Content-Type": "multipart/form-data; boundary=f"})
    assert problem_of(answer)["type"].endswith("too-many-files")
    fewer = ask(server, body[100 * len(field) :], **{"Content-Type": "multipart/form-data; boundary=f"})
    assert fewer.status_code == 200


@pytest.mark.parametrize("given", [b"short", b"x" * 65, b'abcdefgh"', b"abcdefgh ijk", b"abcdefgh\xff", b"abcdefgh\n"])
def test_an_id_of_other_characters_is_replaced(given: bytes) -> None:
    assert logs.request_id([(b"x-request-id", b"abcdefgh-1.2_3")]) == "abcdefgh-1.2_3"
    assert re.fullmatch("[0-9a-f]{16}", logs.request_id([(b"x-request-id", given)]))


def test_many_options_are_refused_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    (route,) = predict.router.routes
    assert isinstance(route, predict.DirectRoute)
    query = b"&".join(b"a%d=1" % i for i in range(2000))
    with pytest.raises(Problem, match="more than 16 options"):
        asyncio.run(route.get_route_handler()(Request({"type": "http", "query_string": query, "headers": []})))
    monkeypatch.setattr(limits, "parse_options_header", lambda value: pytest.fail("the options were parsed"))
    many = b";a=b" * 200
    with pytest.raises(Problem, match="media type"):
        limits._content_type([(b"content-type", b"image/jpeg" + many)])
    parts = limits._Parts(b"b", ServeConfig())
    parts.write(b"--b\r\nContent-Disposition: form-data" + many + b"\r\n\r\nx\r\n--b--\r\n")
    with pytest.raises(Problem, match="disposition"):
        parts.finish()


def test_a_key_in_the_address_does_not_come_back(server: Server) -> None:
    answer = httpx.post(f"{server.url}/v1/predict?{KEY}=1", content=IMAGE, headers={"X-API-Key": KEY}, timeout=30)
    assert problem_of(answer)["type"].endswith("invalid-options")
    assert KEY not in answer.text
    assert KEY not in server.log.read_text()


def test_a_key_of_nothing_is_refused() -> None:
    with pytest.raises(ServiceError, match="line 1: the hash of an empty key"):
        parse_keys(f"open:{hashlib.sha256(b'').hexdigest().upper()}", "keys")


def test_more_keys_than_have_places_are_refused() -> None:
    keys = parse_keys("\n".join(f"k{i}:{i:064x}" for i in range(1, SLOTS // 2 + 2)), "the file")
    assert Keyring(keys[1:], [0.0] * SLOTS, None, 1).keys
    with pytest.raises(ServiceError, match="more than"):
        Keyring(keys, [0.0] * SLOTS, None, 1)


def test_a_key_file_may_begin_with_a_bom(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbf# keys\r\n\r\n  " + ENTRY.encode() + b"  \r\n")
    assert [key.name for key in read_keys(ServeConfig(keys_file=tmp_path / "keys"))] == [ENTRY.partition(":")[0]]


def test_all_images_of_a_request_are_charged_before_they_are_classified(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    (tmp_path / "keys").write_text(f"{ENTRY}:60\n")

    async def go() -> None:
        async with application(models=(str(bundle.path),), keys_file=tmp_path / "keys", burst=20, decoders=1) as (
            client,
            _,
        ):
            files = [("image", ("a.jpg", IMAGE, "image/jpeg"))] * 16
            answers = await asyncio.gather(
                *(client.post("/v1/predict", files=files, headers={"X-API-Key": KEY}, timeout=60) for _ in range(8))
            )
            images = sum(len(a.json()["predictions"]) for a in answers if a.status_code == 200)
            assert images <= 20 + 16  # the burst, and what a minute's rate gives while this runs
            assert {a.status_code for a in answers} == {200, 429}
            assert all("retry-after" in a.headers for a in answers if a.status_code == 429)

    asyncio.run(go())


def test_the_clock_may_be_set_to_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    (tmp_path / "keys").write_text(f"{ENTRY}:60\n")
    clock = itertools.cycle([0.0, 4e9, 1e9])
    settings = {"keys_file": tmp_path / "keys", "burst": 2, "audit_log": tmp_path / "audit"}

    async def go() -> None:
        async with application(models=(str(bundle.path),), reload_s=0.05, **settings) as (client, _):
            monkeypatch.setattr("time.time", lambda: next(clock))
            sent = {"content": IMAGE, "headers": {"Content-Type": "image/jpeg", "X-API-Key": KEY}}
            answers = [await client.post("/v1/predict", **sent) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
            assert all(1 <= int(answer.headers["retry-after"]) <= 2 for answer in answers[2:])
            assert (await client.get("/readyz")).status_code == 200

    asyncio.run(asyncio.wait_for(go(), 120))
    assert len(recorded(tmp_path / "audit")) == 2


# --- blocking writes ------------------------------------------------------------------------------------------------


def test_a_log_that_nobody_reads_blocks_nothing_and_says_what_it_lost(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    reader, writer = os.pipe()
    try:
        with running(tmp_path, stderr=writer, port=free_port(), models=(str(bundle.path),), decoders=1) as server:
            wait_ready_quietly(server)
            connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
            for _ in range(6000):  # 64 KiB of pipe and the queue are full long before
                connection.request("GET", "/healthz")
                assert connection.getresponse().read()
            assert ask(server).status_code == 200
            text = httpx.get(f"{server.url}/metrics", timeout=20).text
            dropped = next(
                float(line.split()[1]) for line in text.splitlines() if line.startswith("lentigo_log_lines_dropped")
            )
            assert dropped > 0
            began = time.monotonic()
            assert server.stop(20) == 0
            assert time.monotonic() - began < 20
    finally:
        os.close(reader)
        os.close(writer)


def test_log_lines_are_whole_whatever_the_disk_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    real, faults = (
        os.write,
        iter([5, OSError(errno.ENOSPC, "full"), None, OSError(errno.EPIPE, "gone"), None, None, None]),
    )

    def write(descriptor: int, data: Any) -> int:
        fault = next(faults, None) if descriptor == target else None
        if isinstance(fault, OSError):
            raise fault
        return real(descriptor, bytes(data)[:fault])

    monkeypatch.setattr(logs.os, "write", write)
    handler = logs.LineWriter(target)
    handler.setFormatter(logs.JsonFormatter())
    for i in range(5):
        handler.emit(logging.makeLogRecord({"msg": f"line {i}", "levelname": "INFO"}))
    handler.drain(10)
    monkeypatch.undo()
    os.close(target)
    lines = (tmp_path / "log").read_text().splitlines()
    whole = [json.loads(line)["event"] for line in lines if line.startswith("{") and line.endswith("}")]
    assert handler.dropped == 2
    assert [name for name in whole if name.startswith("line")] == ["line 2", "line 3", "line 4"]
    assert "log lines dropped" in whole
    assert len(lines) == len(whole) + 1  # the torn one stands alone


# --- the audit log --------------------------------------------------------------------------------------------------


def recorded(path: Path) -> list[str]:
    """The request ids on record; every line but those torn by a crash is JSON."""
    return [json.loads(line)["request_id"] for line in path.read_text().splitlines() if line.endswith("}")]


def record(audit: Audit, *names: str) -> list[str]:
    """Record requests at once; the kinds of problem they ended with."""

    async def one(name: str) -> str:
        try:
            await audit.record(name, None, MODEL, [b"{}"])
        except Problem as problem:
            return problem.kind
        return "written"

    async def all_of_them() -> list[str]:
        return list(await asyncio.gather(*map(one, names)))

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("fault", ["short", errno.ENOSPC, errno.EIO, errno.EDQUOT, "fsync", "short, append only"])
def test_no_audit_line_no_answer_and_no_torn_line(
    fault: str | int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit"
    audit = Audit(path)
    assert record(audit, "first") == ["written"]
    real = os.write
    calls = []

    def write(handle: int, data: Any) -> int:
        calls.append(1)
        if "short" in str(fault) and len(calls) == 1:
            return real(handle, bytes(data)[:20])
        raise OSError(fault if isinstance(fault, int) else errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        if fault == "fsync":
            patched.setattr(
                "lentigo.serving.audit.os.fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.EIO, "lost"))
            )
        else:
            patched.setattr("lentigo.serving.audit.os.write", write)
        if fault == "short, append only":
            patched.setattr(
                "lentigo.serving.audit.os.ftruncate", lambda handle, size: (_ for _ in ()).throw(PermissionError())
            )
        assert record(audit, "second") == ["audit-failed"]
    assert record(audit, "third", "fourth") == ["written"] * 2  # there is room again
    assert recorded(path) == ["first", "third", "fourth"]
    torn = [line for line in path.read_text().splitlines() if not line.endswith("}")]
    assert len(torn) == (1 if fault == "short, append only" else 0)


def test_no_answer_where_too_many_lines_wait(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit")
    audit._queue = queue.Queue(1)
    audit._thread = threading.Thread()  # one that writes nothing
    audit._queue.put((b"", Future()))
    with pytest.raises(Problem) as refused:
        asyncio.run(audit.record("id", None, MODEL, [b"{}"]))
    assert refused.value.kind == "audit-failed"


def test_a_log_that_is_truncated_while_a_line_fails_is_not_filled_with_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit"
    audit = Audit(path)
    assert record(audit, "first") == ["written"]

    def write(handle: int, data: Any) -> int:
        os.truncate(path, 0)  # as logrotate's copytruncate does
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr("lentigo.serving.audit.os.write", write)
        assert record(audit, "second") == ["audit-failed"]
    assert path.read_bytes() == b""


def test_the_name_of_a_new_audit_log_is_on_the_disk_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit"
    synced: list[Path] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").resolve())
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    audit = Audit(path)
    assert synced == [path, tmp_path]
    assert record(audit, "first") == ["written"]
    path.rename(tmp_path / "audit.1")
    synced.clear()
    assert record(audit, "second") == ["written"]
    assert synced == [path, tmp_path]
    assert record(audit, "third") == ["written"]
    assert synced == [path, tmp_path, path]


def test_a_line_torn_by_a_crash_is_closed_off(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    assert record(Audit(path), "first") == ["written"]
    with path.open("a") as file:
        file.write('{"time": "2026-')
    assert record(Audit(path, fsync=False), "second") == ["written"]
    assert recorded(path) == ["first", "second"]
    assert len(path.read_text().splitlines()) == 3


def test_workers_share_the_audit_log(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    audits = [Audit(path, fsync=False) for _ in range(4)]
    threads = [
        threading.Thread(target=record, args=(audit, *[f"{i}-{n}" for n in range(50)]))
        for i, audit in enumerate(audits)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(recorded(path)) == sorted(f"{i}-{n}" for i in range(4) for n in range(50))


def test_a_line_is_written_with_the_file_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    audit, done, flock, write = Audit(tmp_path / "audit"), [], fcntl.flock, os.write
    monkeypatch.setattr(fcntl, "flock", lambda handle, how: (done.append(how), flock(handle, how)))
    monkeypatch.setattr("lentigo.serving.audit.os.write", lambda *given: (done.append("write"), write(*given))[1])
    assert record(audit, "first") == ["written"]
    assert done == [fcntl.LOCK_EX, "write"]


@pytest.mark.parametrize("kind", ["audit", "keys"])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_does_not_hang(kind: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    open_it = {"audit": lambda: Audit(pipe), "keys": lambda: read_keys(ServeConfig(keys_file=pipe))}[kind]
    with pytest.raises(ServiceError, match="pipe"):
        open_it()


def test_no_file_can_be_opened_for_the_audit_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(tmp_path / "audit")
    with monkeypatch.context() as patched:
        patched.setattr(
            "lentigo.serving.audit.os.open", lambda *given: (_ for _ in ()).throw(OSError(errno.EMFILE, "too many"))
        )
        assert record(audit, "first") == ["audit-failed"]
    assert record(audit, "second") == ["written"]


# --- being stopped --------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_ready_quietly(server: Server, seconds: float = 150.0) -> None:
    """Wait for the service without its log."""
    end = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(f"{server.url}/readyz", timeout=10).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert server.process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


STUCK = {
    "an event loop that does not run": "import lentigo.serving.service as s; s.describe = hang",
    "a network that does not answer": "import lentigo.inference as i; i.Classifier.prediction = hang",
    "a model that does not load": "import lentigo.serving.model_manager as h; h.find_bundle = hang",
    "a disk that does not answer": (
        "import lentigo.serving.audit as a; a.os = type('', (), {**vars(os), 'fsync': staticmethod(hang)})"
    ),
}


def test_the_grace_of_a_stopping_service_is_below_20_seconds() -> None:
    config = ServeConfig()
    assert config.drain_s + 2 * config.linger_s + supervisor._MARGIN_S < 20


@pytest.mark.parametrize("what", STUCK)
def test_sigterm_ends_the_service_within_its_grace_whatever_hangs(what: str, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    hanging, audit = tmp_path / "hanging", tmp_path / "audit"
    audit.write_text("{}\n")
    before = f"""
import os, time
import lentigo.serving.supervisor
lentigo.serving.supervisor._MARGIN_S = 0.3
def hang(*given):
    open({str(hanging)!r}, "w").close()
    time.sleep(1000)
if __name__ == "__mp_main__":
    {STUCK[what]}
"""
    with running(
        tmp_path, before=before, models=(str(bundle.path),), ready=False, reload_s=0, drain_s=0.3, audit_log=audit
    ) as server:
        end = time.monotonic() + 150
        with socket.create_connection((server.host, server.port)) as asking:
            asking.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE)
            while not hanging.exists():
                assert time.monotonic() < end
                time.sleep(0.02)
            assert server.stop(20) is not None


def started_by(pid: int) -> Iterator[int]:
    """The processes that one has started, and those that they have."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from started_by(child)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes there")
@pytest.mark.parametrize("what", ["spawn_main", "decode_worker"])
def test_sigterm_ends_the_service_whose_processes_stand_still(what: str, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    before = "import lentigo.serving.supervisor\nlentigo.serving.supervisor._MARGIN_S = 0.3\n"
    with running(tmp_path, before=before, models=(str(bundle.path),), drain_s=0.3, reload_s=0) as server:
        processes = list(started_by(server.process.pid))
        stopped = [pid for pid in processes if what.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert stopped
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        with socket.create_connection((server.host, server.port)) as asking:
            asking.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE)
            assert server.stop(20) == 0
        end = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in processes):
            assert time.monotonic() < end
            time.sleep(0.02)


def test_sigterm_ends_the_service_within_its_grace_under_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_bundle(tmp_path / "tiny", size=32).path
    static, site, tried = tmp_path / "static", tmp_path / "site", tmp_path / "tried"
    for folder in (static, site):
        folder.mkdir()
    (static / "index.html").write_text("app")
    with (static / "large.bin").open("wb") as file:
        file.truncate(40_000_000)
    (site / "sitecustomize.py").write_text(  # a changed bundle whose graph does not end
        "import sys, time\n"
        f"if sys.argv[-1] == {str(path)!r}:\n    open({str(tried)!r}, 'w').close()\n    time.sleep(1000)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    large = png(6000, 6000)
    attacks = [
        HEAD + b"Content-Length: %d\r\n\r\n" % len(large) + large,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + bytes(100),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100,
        HEAD + b"Content-Length: 100000\r\n\r\n" + bytes(1000),
        HEAD,
        b"",
        b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] * 8
    patience = {"header_timeout_s": 60, "body_timeout_s": 60, "idle_timeout_s": 60, "deadline_s": 60}
    with (
        running(tmp_path, models=(str(path),), static=static, reload_s=0, drain_s=2, **patience) as server,
        contextlib.ExitStack() as stack,
    ):
        for attack in attacks:
            connection = stack.enter_context(socket.create_connection((server.host, server.port)))
            connection.sendall(attack)
        tiny_bundle(path, size=32, seed=4)
        server.signal(signal.SIGHUP)
        end = time.monotonic() + 60
        while not tried.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert ask(server).status_code == 200
        assert server.stop(20) == 0
    assert not server.events("worker does not stop, ending it")


class Watched:
    """A supervisor of one worker, by a clock of its own.

    Attributes:
        killed: when it killed the worker.
        started: when it started another.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.clock, self.board = 1000.0, Board(1)
        self.killed, self.started = list[float](), list[float]()
        self.alive = True
        monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: self.clock))
        with socket.socket() as listener:
            self.supervisor = supervisor.Supervisor(ServeConfig(), listener, self.board)
        worker: Any = SimpleNamespace(
            is_alive=lambda: self.alive,
            kill=lambda: self.killed.append(self.clock),
            join=lambda: None,
            close=lambda: None,
            pid=1,
            exitcode=-9,
        )
        self.supervisor._workers, self.supervisor._started = [worker], [self.clock]

        def start(number: int) -> Any:
            self.started.append(self.clock)
            return worker

        monkeypatch.setattr(self.supervisor, "_start", start)

    def beat(self, at: float) -> None:
        """Its event loop ran then."""
        self.board.memory[metrics._HEAD + metrics._CHECKED] = at

    def look(self, *times: float) -> None:
        for self.clock in times:
            self.supervisor._look()


def test_workers_that_stood_still_with_their_supervisor_are_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    watched.beat(1001.0)
    watched.look(1002.0, 1400.0, 1404.0, 1408.0, 1412.0, 1416.0, 1420.0)  # a pause of 398 s
    assert not watched.killed
    watched.look(1424.0)
    assert watched.killed == [1424.0]  # it has been silent since the pause


def test_a_worker_whose_event_loop_never_runs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    moments = [1000.0 + i for i in range(200)]
    watched.look(*moments)
    assert watched.killed == watched.started == [1000.0 + supervisor.START_S + 1]


@pytest.mark.parametrize("age", [1.0, supervisor._YOUNG_S + 1])
def test_workers_that_die_as_soon_as_they_are_started_end_the_service(
    age: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    watched.alive = False
    for turn in range(1, 50):
        watched.look(1000.0 + turn * age)
        if watched.supervisor._stop:
            break
    young = age < supervisor._YOUNG_S
    assert (watched.supervisor._failed, len(watched.started)) == ((True, 5) if young else (False, 49))


@pytest.mark.slow
def test_a_worker_that_does_no_work_is_not_ready_and_is_replaced(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    flag = tmp_path / "hang"
    before = f"""
import pathlib, time
import lentigo.serving.service as service
service._TEST_S, service._STUCK_S = 1.0, 6.0
if __name__ == "__mp_main__":
    import lentigo.inference.classifier as c
    whole = c.Classifier.run
    def run(self, pixels):
        while pathlib.Path({str(flag)!r}).exists():
            time.sleep(0.05)
        return whole(self, pixels)
    c.Classifier.run = run
"""
    with running(tmp_path, before=before, models=(str(bundle.path),), hung_s=12.0, decoders=1, reload_s=0) as server:
        assert ask(server).status_code == 200
        flag.touch()
        end = time.monotonic() + 150
        while httpx.get(f"{server.url}/readyz", timeout=20).status_code != 503:
            assert time.monotonic() < end
        server.await_event("worker hangs", 1, 150)
        flag.unlink()
        server.await_event("ready", 2, 150)
        wait_ready_quietly(server)
        assert ask(server).status_code == 200


def test_sighup_at_any_time_does_not_end_the_service(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    with running(tmp_path, models=(str(bundle.path),), ready=False, decoders=1, reload_s=0) as server:
        for _ in range(40):
            server.signal(signal.SIGHUP)
            time.sleep(0.05)
        wait_ready_quietly(server)
        assert ask(server).status_code == 200
        assert not server.events("worker died, starting another")


def test_sighup_is_ignored_before_anything_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []

    def stop(config: ServeConfig) -> ServeConfig:
        found.append(signal.getsignal(signal.SIGHUP))
        raise ServiceError("enough")

    monkeypatch.setattr("lentigo.serving.server.fit_connections", stop)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(ServiceError, match="enough"):
            serve(ServeConfig())
    finally:
        signal.signal(signal.SIGHUP, before)
    assert found == [signal.SIG_IGN]


def test_the_command_ignores_sighup_from_its_first_line() -> None:
    program = (
        "import sys, signal; sys.argv = ['lentigo', 'serve']; import lentigo.cli;"
        " print(signal.getsignal(signal.SIGHUP).name)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "SIG_IGN"


# --- bundles that change --------------------------------------------------------------------------------------------


def test_a_bundle_with_other_classes_or_without_an_end_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_bundle(tmp_path / "tiny", size=32).path
    endless = tmp_path / "site"
    endless.mkdir()
    flag = tmp_path / "endless"
    (endless / "sitecustomize.py").write_text(
        "import sys, os, time\n"
        # As a Loop in its graph would.
        f"if os.path.exists({str(flag)!r}) and sys.argv[-1] == {str(path)!r}:\n    time.sleep(1000)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(endless))

    async def go() -> None:
        async with application(models=(str(path),), reload_s=0, load_s=20, decoders=1) as (_, service):
            before = service.manager.get(None).identity["sha256"]
            for other in ({"classes": 3}, {"name": "another"}):
                tiny_bundle(path, size=32, seed=3, **other)
                await service.reload()
                assert service.manager.get(None).identity["sha256"] == before
            tiny_bundle(path, size=32, seed=4)
            flag.touch()
            object.__setattr__(service.config, "load_s", 1.0)
            await asyncio.wait_for(service.reload(), 60)
            assert service.manager.get(None).identity["sha256"] == before
            flag.unlink()
            object.__setattr__(service.config, "load_s", 60.0)
            await service.reload()
            assert service.manager.get(None).identity["sha256"] != before

    asyncio.run(go())


def test_a_graph_may_not_ask_for_any_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tiny_bundle(tmp_path / "tiny", size=32).path)
    confined: list[int] = []

    def open_graph(*given: Any, **more: Any) -> None:
        assert confined == [vet.MEMORY]
        raise MemoryError

    monkeypatch.setattr(vet, "confine", confined.append)
    monkeypatch.setattr(vet, "Classifier", open_graph)
    with pytest.raises(SystemExit, match="2"):
        vet.main(path)
    assert capsys.readouterr().out == f"{path}: its network takes more than 4 GiB of memory\n"


def test_a_bundle_whose_files_are_copied_one_by_one_is_taken_up_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = (tiny_bundle(tmp_path / name, size=32, seed=seed).path for name, seed in (("tiny", 0), ("new", 4)))

    async def no_trial(source: str, within_s: float) -> None:
        pass

    monkeypatch.setattr("lentigo.serving.model_manager.vet", no_trial)

    async def go() -> None:
        async with application(models=(str(path),), reload_s=0) as (_, service):
            served = []
            for name in ("spec.json", "golden.json", "MODEL_CARD.md", "model.onnx"):
                shutil.copy(new / name, path)
                await service.manager.reload()
                served.append(service.manager.get(None).identity["sha256"])
            assert len(set(served[:3])) == 1
            assert served[3] != served[0]

    asyncio.run(asyncio.wait_for(go(), 120))


def test_many_signals_try_a_bundle_once_more_and_not_many_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_bundle(tmp_path / "tiny", size=32).path
    tries = []

    async def refuse(source: str, within_s: float) -> None:
        tries.append(source)
        await asyncio.sleep(0.05)
        raise BundleError("no")

    monkeypatch.setattr("lentigo.serving.model_manager.vet", refuse)

    async def go() -> None:
        async with application(models=(str(path),), reload_s=0, decoders=1) as (_, service):
            tiny_bundle(path, size=32, seed=5)
            await asyncio.gather(*(service.reload() for _ in range(100)))

    asyncio.run(asyncio.wait_for(go(), 120))
    assert 1 <= len(tries) <= 2


def test_a_key_file_that_is_written_in_two_pieces_within_one_tick_of_the_clock(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path / "tiny", size=32).path
    keys = tmp_path / "keys"
    other, entry = create_key("other")
    keys.write_text(ENTRY + "\n")

    async def go() -> None:
        async with application(models=(str(path),), keys_file=keys, reload_s=0.05, decoders=1) as (client, _):
            before = keys.stat()
            keys.write_text(f"{ENTRY}\n{entry}\n")
            os.utime(keys, ns=(before.st_atime_ns, before.st_mtime_ns))
            while (await client.get("/v1/models", headers={"X-API-Key": other})).status_code != 200:
                await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(go(), 60))


def test_keys_are_revoked_while_a_bundle_is_being_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_bundle(tmp_path / "tiny", size=32).path
    keys = tmp_path / "keys"
    keys.write_text(ENTRY)
    tried = asyncio.Event()

    async def never(source: str, within_s: float) -> None:
        tried.set()
        await asyncio.sleep(1000)

    monkeypatch.setattr("lentigo.serving.model_manager.vet", never)

    async def go() -> None:
        async with application(models=(str(path),), keys_file=keys, reload_s=0.05, decoders=1) as (client, _):
            tiny_bundle(path, size=32, seed=5)
            await asyncio.wait_for(tried.wait(), 30)
            other, entry = create_key("other")
            keys.write_text(entry)
            while (await client.get("/v1/models", headers={"X-API-Key": other})).status_code != 200:
                await asyncio.sleep(0.02)
            assert (await client.get("/v1/models", headers={"X-API-Key": KEY})).status_code == 401

    asyncio.run(asyncio.wait_for(go(), 60))
