"""What the tests of the service share: a real server in a process of its own, raw sockets, and an application in this
process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from lentigo.serving.app import create_app
from lentigo.serving.config import ServeConfig
from lentigo.serving.service import Service

_PROGRAM = """
import sys
import lentigo.serving.supervisor
from pathlib import Path, PosixPath
from lentigo.errors import LentigoError
from lentigo.serving import ServeConfig, serve

if __name__ == "__main__":
    settings = eval(sys.argv[1])
    lentigo.serving.supervisor.HUNG_S = settings.pop("hung_s", lentigo.serving.supervisor.HUNG_S)
    try:
        serve(ServeConfig(**settings))
    except LentigoError as error:
        sys.exit(f"error: {error}")
"""


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@dataclass
class Server:
    """A running service."""

    process: subprocess.Popen[bytes]
    log: Path
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.log.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # half a line, or a traceback
                continue
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == name]

    def await_event(self, name: str, count: int = 1, seconds: float = 90.0) -> list[dict[str, Any]]:
        end = time.monotonic() + seconds
        while len(found := self.events(name)) < count:
            assert time.monotonic() < end, f"no {name!r} in the log:\n{self.log.read_text()[-2000:]}"
            time.sleep(0.05)
        return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, seconds: float = 20.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextmanager
def running(
    folder: Path, *, ready: bool = True, before: str = "", stderr: int | None = None, **settings: Any
) -> Iterator[Server]:
    """Run a service on a free port of this machine, and end it.

    Args:
        folder: for its program and log.
        ready: wait until it is.
        before: program text that runs first, in each of its processes but the decoders.
        stderr: where its log goes instead of a file; then nothing waits for it to listen.
        **settings: of `ServeConfig`.
    """
    program, log = folder / "run_service.py", folder / "service.log"
    program.write_text(before + _PROGRAM)
    settings = {"port": 0, "log_format": "json", "decoders": 1, **settings}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(program), repr(settings)],
            stderr=out if stderr is None else stderr,
            stdout=out,
            env=environment,
        )
    server = Server(process, log, "127.0.0.1", settings["port"])
    try:
        if stderr is not None:
            yield server
            return
        end = time.monotonic() + 150
        while not server.events("listening"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.03)
        server.port = int(server.events("listening")[0]["url"].rpartition(":")[2])
        if ready:
            wait_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_ready(server: Server, seconds: float = 150.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(server.url + "/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert server.process.poll() is None, server.log.read_text()
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.05)


def exchange(
    server: Server, *pieces: bytes, pause: float = 0.0, half_close: bool = False, seconds: float = 15.0
) -> bytes:
    """Send bytes as they are, and read until the service closes (or the time is over)."""
    with socket.create_connection((server.host, server.port), timeout=seconds) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                if pause:
                    time.sleep(pause)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:  # it has answered and closed already
            pass
        return receive_all(connection)


def receive_all(connection: socket.socket) -> bytes:
    """Everything up to the end of the connection, or of an answer that announces it."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
            head, gap, body = found.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            if gap and length and b"\r\nconnection: close" in head.lower() and len(body) >= int(length[1]):
                break
    except ConnectionResetError:
        pass
    return found


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer.split(b" ", 2)[1])


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """The problem document of a response, checked to be one."""
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["type"].startswith("urn:lentigo:problem:")
    assert document["title"]
    assert document["detail"]
    return document


@asynccontextmanager
async def application(**settings: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Service]]:
    """The application in this process, its models loaded."""
    service = Service(ServeConfig(**{"decoders": 1, **settings}))
    app = create_app(service.config, service)
    async with service.running():
        await asyncio.wait_for(service.manager.ready.wait(), 120)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client, service
