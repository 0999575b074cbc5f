"""Start, overload, reload, kill and stop: what the service promises its clients through all of them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving_tools import Server, application, jpeg, problem_of, running
from tiny_bundle import blob_image, tiny_bundle

from lentigo.serving.auth import create_key
from lentigo.serving.metrics import Board

IMAGE = jpeg(blob_image(1, 200, 150))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "tiny", size=32).path


KEY, ENTRY = create_key("gateway")
SLOW, SLOW_ENTRY = create_key("slow")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers, which several tests use; each leaves them in good order."""
    folder = tmp_path_factory.mktemp("pair")
    bundle = tiny_bundle(folder / "tiny", size=32).path
    (folder / "keys").write_text(f"{ENTRY}:1000000000\n{SLOW_ENTRY}:1\n")
    with running(
        folder, models=(str(bundle),), workers=2, reload_s=0, burst=10, max_files=4, keys_file=folder / "keys"
    ) as server:
        server.await_event("ready", 2)
        yield server


@dataclass
class Load:
    """Clients that each keep one connection and ask again and again."""

    server: Server
    clients: int
    key: str = ""
    statuses: Counter[int] = field(default_factory=Counter)
    hashes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    never_taken: int = 0
    refused: int = 0
    retry_after: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"

    def await_answers(self, count: int, seconds: float = 30.0) -> None:
        """Wait until so many more requests have been answered."""
        target, end = self.statuses.total() + count, time.monotonic() + seconds
        while self.statuses.total() < target:
            assert time.monotonic() < end, (self.statuses, self.lost)
            time.sleep(0.01)

    def _client(self) -> None:
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=20)
        headers = {"Content-Type": "image/jpeg", "X-API-Key": self.key}
        while not self._stop.is_set():
            fresh = connection.sock is None
            if fresh:
                try:
                    connection.connect()
                except OSError:  # nobody listens: nothing was sent
                    with self._lock:
                        self.refused += 1
                    time.sleep(0.02)
                    continue
            try:
                connection.request("POST", "/v1/predict", IMAGE, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    if fresh and isinstance(error, ConnectionResetError):  # by the kernel, or by the service
                        self.never_taken += 1
                    else:
                        self.lost.append(repr(error))
                continue
            with self._lock:
                self.statuses[response.status] += 1
                if response.status == 200:
                    self.hashes[json.loads(content)["model"]["sha256"]] += 1
                elif response.status == 429:
                    self.retry_after.add(response.headers["Retry-After"])
        connection.close()


def metrics(server: Server) -> dict[str, float]:
    lines = httpx.get(f"{server.url}/metrics", headers={"X-API-Key": KEY}, timeout=10).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def workers_of(server: Server) -> list[int]:
    """The processes of the workers that have been ready, the latest last."""
    return [event["worker"] for event in server.events("ready")]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_accepted_request_is_answered_when_told_to_stop(tmp_path: Path, bundle: Path, workers: int) -> None:
    with running(tmp_path, models=(str(bundle),), workers=workers) as server, Load(server, 12) as load:
        server.await_event("ready", workers)  # a worker that is still starting has nothing to stop
        load.await_answers(100)
        before = load.statuses[200]
        server.signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        load.stop()
        assert load.lost == []
        assert set(load.statuses) == {200}
        assert load.statuses[200] > before, "nothing was answered after the signal"
        assert len(server.events("stopped")) == workers
        # A connection that the kernel completes just as the last worker stops listening is reset; the service never saw
        # it.
        assert load.never_taken <= 2
        taken = [e for e in server.events("request") if e["route"] == "/v1/predict"]
        assert {e["status"] for e in taken} == {200}
        assert len(taken) == load.statuses[200]
    assert not [line for line in server.lines() if alive(line["worker"])]


def test_a_body_that_is_under_way_is_still_answered_when_told_to_stop(tmp_path: Path, bundle: Path) -> None:
    with running(tmp_path, models=(str(bundle),)) as server:
        with socket.create_connection((server.host, server.port), timeout=20) as connection:
            head = (
                "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length:"
                f" {len(IMAGE)}\r\n\r\n"
            )
            connection.sendall(head.encode() + IMAGE[:1000])
            time.sleep(0.2)
            server.signal(signal.SIGTERM)
            time.sleep(1.0)  # longer than it lingers
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((server.host, server.port), timeout=5)
            connection.sendall(IMAGE[1000:])
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer.lower()
        assert server.process.wait(20) == 0


def test_a_killed_worker_is_replaced_while_the_others_go_on(pair: Server) -> None:
    before = workers_of(pair)
    with Load(pair, 8, KEY) as load:
        load.await_answers(50)
        counted = metrics(pair)['lentigo_requests_total{route="/v1/predict",status="200"}']
        victim, other = before[-2:]
        os.kill(victim, signal.SIGKILL)
        load.await_answers(50)  # from the other one, or from both
        pair.await_event("worker died, starting another")
        pair.await_event("ready", len(before) + 1)
        load.await_answers(50)
        assert alive(other)
        assert not alive(victim)
    assert set(load.statuses) == {200}
    assert len(load.lost) + load.never_taken <= 8, "more was lost than the killed worker can have held"
    assert load.refused == 0
    found = metrics(pair)
    assert found["lentigo_worker_restarts_total"] == 1
    assert found["lentigo_workers"] == 2
    assert found['lentigo_requests_total{route="/v1/predict",status="200"}'] > counted  # counters never fall


def test_a_hung_worker_is_replaced_and_none_outlives_its_supervisor(tmp_path: Path, bundle: Path) -> None:
    with running(tmp_path, models=(str(bundle),), workers=2, hung_s=4.0) as server:
        server.await_event("ready", 2)
        victim = workers_of(server)[0]
        os.kill(victim, signal.SIGSTOP)
        assert server.await_event("worker hangs")[0]["pid"] == victim
        server.await_event("ready", 3)
        assert not alive(victim)
        server.process.kill()
        server.process.wait(10)
        end = time.monotonic() + 15
        while any(alive(pid) for pid in workers_of(server)):
            assert time.monotonic() < end
            time.sleep(0.1)


def test_overload_is_answered_with_429_and_nothing_else(tmp_path: Path, bundle: Path) -> None:
    with running(tmp_path, models=(str(bundle),), queue=4, max_files=4) as server:
        with Load(server, 32) as load:
            load.await_answers(600)
        assert load.lost == []
        assert set(load.statuses) == {200, 429}
        assert load.retry_after <= {str(n) for n in range(1, 31)}
        found = metrics(server)
        assert found['lentigo_problems_total{kind="queue-full"}'] == load.statuses[429]
        assert found["lentigo_queue_images"] <= 4


def test_a_bundle_is_replaced_under_load_without_a_dropped_request(tmp_path: Path, bundle: Path) -> None:
    with running(tmp_path, models=(str(bundle),), reload_s=0.1) as server, Load(server, 8) as load:
        load.await_answers(50)
        (first,) = load.hashes
        for seed in (1, 2):
            tiny_bundle(bundle, size=32, seed=seed)
            server.await_event("model reloaded", seed)
            load.await_answers(50)
        assert len(load.hashes) == 3
        spec = json.loads((bundle / "spec.json").read_text())
        (bundle / "model.onnx").write_bytes(b"damaged")
        (bundle / "spec.json").write_text(json.dumps(spec))  # a new file, as a broken copy would leave it
        server.await_event("reload failed")
        load.await_answers(50)
        tiny_bundle(bundle, size=64, seed=3)  # another input size, too
        server.await_event("model reloaded", 3)
        load.await_answers(50)
        load.stop()
        assert load.lost == []
        assert set(load.statuses) == {200}
        assert len(load.hashes) == 4
        assert load.hashes[first] > 0
        found = metrics(server)
        assert (found['lentigo_reloads_total{outcome="done"}'], found['lentigo_reloads_total{outcome="failed"}']) == (
            3,
            1,
        )


def test_sighup_takes_up_bundles_and_keys_in_every_worker(pair: Server) -> None:
    folder = pair.log.parent
    added, entry = create_key("added")
    (folder / "keys").write_text(f"{ENTRY}:1000000000\n{SLOW_ENTRY}:1\n{entry}\n")
    tiny_bundle(folder / "tiny", size=32, seed=1)
    pair.signal(signal.SIGHUP)
    pair.await_event("model reloaded", 2)
    for _ in range(6):
        assert httpx.get(f"{pair.url}/v1/models", headers={"X-API-Key": added}).status_code == 200
        assert httpx.get(f"{pair.url}/v1/models", headers={"X-API-Key": "other"}).status_code == 401


def test_a_rate_limit_is_one_for_all_workers(pair: Server) -> None:
    statuses = []
    for _ in range(14):  # a new connection each, taken by either worker
        headers = {"X-API-Key": SLOW, "Content-Type": "image/jpeg"}
        statuses.append(httpx.post(f"{pair.url}/v1/predict", content=IMAGE, headers=headers).status_code)
    assert Counter(statuses) == {200: 10, 429: 4}


def test_a_request_that_takes_too_long_gets_504_and_is_left_undone(bundle: Path) -> None:
    ran: list[int] = []
    go_on = threading.Event()

    async def go() -> None:
        async with application(models=(str(bundle),), deadline_s=0.3, max_batch=1) as (client, service):
            classifier = service.manager.get(None).classifier
            run = classifier.run

            def stuck(pixels: Any) -> Any:
                ran.append(len(pixels))
                go_on.wait(30)
                return run(pixels)

            classifier.run = stuck  # type: ignore[method-assign]
            answers = await asyncio.gather(*(client.post("/v1/predict", content=IMAGE) for _ in range(6)))
            assert {a.status_code for a in answers} == {504}
            assert problem_of(answers[0])["type"].endswith("deadline")
            go_on.set()
            while service.manager.pending:
                await asyncio.sleep(0.02)

    asyncio.run(go())
    assert ran == [1], "images that nobody waited for were classified"


def test_work_that_ends_at_the_deadline_before_its_request_does_is_a_504(bundle: Path) -> None:
    async def go() -> None:
        async with application(models=(str(bundle),), deadline_s=60) as (client, service):
            service._pool.submit = lambda job: job.done(None)  # type: ignore[method-assign]
            assert problem_of(await client.post("/v1/predict", content=IMAGE))["status"] == 504

    asyncio.run(go())


def test_a_lone_image_does_not_wait_for_others(bundle: Path) -> None:
    async def go() -> None:
        async with application(models=(str(bundle),), max_delay_ms=20_000.0, deadline_s=10.0) as (client, _):
            # Within the deadline: without the delay.
            assert (await client.post("/v1/predict", content=IMAGE)).status_code == 200

    asyncio.run(go())


def test_one_failing_batch_fails_its_requests_only(bundle: Path) -> None:
    async def go() -> None:
        async with application(models=(str(bundle),)) as (client, service):
            classifier = service.manager.get(None).classifier
            run = classifier.run

            def fail(pixels: Any) -> Any:
                raise RuntimeError("until the network is back")

            classifier.run = fail  # type: ignore[method-assign]
            assert (await client.post("/v1/predict", content=IMAGE)).status_code == 500
            classifier.run = run  # type: ignore[method-assign]
            assert (await client.post("/v1/predict", content=IMAGE)).status_code == 200
            assert service.manager.pending == 0

    asyncio.run(go())


def test_all_images_of_a_request_must_fit_into_the_queue(bundle: Path) -> None:
    async def go() -> None:
        async with application(models=(str(bundle),), queue=16, max_files=16) as (client, service):
            classifier = service.manager.get(None).classifier
            run, goes_on = classifier.run, threading.Event()
            classifier.run = lambda pixels: (goes_on.wait(60), run(pixels))[1]  # type: ignore[method-assign]
            try:
                first = asyncio.create_task(client.post("/v1/predict", content=IMAGE))
                while not service.manager.pending:
                    await asyncio.sleep(0.01)
                refused = await client.post("/v1/predict", files=[("image", ("a.jpg", IMAGE, "image/jpeg"))] * 16)
                assert (refused.status_code, problem_of(refused)["type"]) == (429, "urn:lentigo:problem:queue-full")
            finally:
                goes_on.set()
            assert (await first).status_code == 200

    asyncio.run(go())


def test_bodies_that_are_held_at_once_are_bounded(bundle: Path) -> None:
    held: list[int] = []

    async def go() -> None:
        async with application(models=(str(bundle),), max_held_bytes=100_000, max_body_bytes=60_000) as (
            client,
            service,
        ):

            async def slowly() -> Any:
                for _ in range(5):
                    await asyncio.sleep(0.02)
                    held.append(service.budget.held)
                    yield np.random.default_rng(0).bytes(10_000)

            # httpx gathers the body before it hands it over, so the application is asked directly.
            app = client._transport.app  # type: ignore[attr-defined]
            statuses = await asyncio.gather(*(ask(app, slowly()) for _ in range(4)))
            assert set(statuses) == {415, 429}
            assert service.budget.held == 0

    async def ask(app: Any, body: Any) -> int:
        found: list[int] = []

        async def receive() -> dict[str, Any]:
            try:
                return {"type": "http.request", "body": await anext(body), "more_body": True}
            except StopAsyncIteration:
                return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                found.append(message["status"])

        headers = [(b"host", b"localhost"), (b"content-type", b"image/jpeg"), (b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "path": "/v1/predict",
                 "raw_path": b"/v1/predict", "root_path": "", "query_string": b"", "headers": headers, "scheme": "http",
                 "server": ("localhost", 80), "client": None}  # fmt: skip
        await app(scope, receive, send)
        return found[0]

    asyncio.run(go())
    assert max(held) <= 100_000


# --- what keeps it from starting ------------------------------------------------------------------------------------


def start(settings: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys\nfrom lentigo.serving import ServeConfig, serve\nfrom lentigo.errors import LentigoError\n"
        f"if __name__ == '__main__':\n    try: serve(ServeConfig({settings}))\n"
        "    except LentigoError as error: sys.exit(f'error: {error}')"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def test_what_cannot_be_served_is_said_at_once(tmp_path: Path, bundle: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for settings, words in (
            (f"models=({str(bundle)!r},), port={port}", "cannot listen"),
            (f"models=({str(tmp_path / 'none')!r},), port=0", "no bundle"),
            (f"models=({str(bundle)!r},), host='203.0.113.7', port=0", "cannot listen"),
        ):
            done = start(settings)
            assert done.returncode == 1
            assert words in done.stderr.splitlines()[-1]
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_graph_that_cannot_be_loaded_ends_the_service(tmp_path: Path, workers: int) -> None:
    bundle = tiny_bundle(tmp_path / "odd", poison=float("nan")).path  # whole, by its checksums, but of no use
    done = start(f"models=({str(bundle)!r},), port=0, workers={workers}, log_format='json'")
    assert done.returncode == 1
    assert "NaN" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_open_service_is_warned_about(tmp_path: Path, bundle: Path) -> None:
    with running(tmp_path, models=(str(bundle),), host="0.0.0.0") as server:
        assert (
            "no API keys"
            in server.events("open to everybody who can reach this address: no API keys are set")[0]["event"]
        )


def test_the_service_imports_nothing_of_the_make_wing() -> None:
    program = (
        "import sys, lentigo.serving.supervisor, lentigo.serving.service\n"
        "print(sorted(m for m in ('torch', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'onnx') if m in sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )


def test_the_board_sums_over_workers_and_survives_a_replacement() -> None:
    board = Board(2, shared=True)
    first, second = board.tally(0), board.tally(1)
    first.request("/v1/predict", 200)
    second.request("/v1/predict", 200)
    first.set("lentigo_queue_images", 5)
    second.set("lentigo_queue_images", 7)
    assert 'lentigo_requests_total{route="/v1/predict",status="200"} 2' in board.expose()
    assert "lentigo_queue_images 12" in board.expose()
    again = board.tally(0)  # a new worker in the place of the first
    again.request("/v1/predict", 200)
    again.request("/no/such/route", 299)
    board.restarted()
    text = board.expose([{"name": 'a"b\\c'}])
    assert 'lentigo_requests_total{route="/v1/predict",status="200"} 3' in text
    assert 'lentigo_requests_total{route="other",status="0"} 1' in text
    assert "lentigo_queue_images 7" in text
    assert "lentigo_worker_restarts_total 1" in text
    assert r'lentigo_model_info{name="a\"b\\c"} 1' in text


@contextlib.contextmanager
def app_alone(tmp_path: Path) -> Iterator[str]:
    program = "from lentigo.serving import open_app\nif __name__ == '__main__': open_app(port=0, browser=False)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(15)
    assert process.returncode == 0


def test_the_app_is_opened_without_a_model(tmp_path: Path) -> None:
    with app_alone(tmp_path) as line:
        url = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url).status_code == 200:
                    break
            assert time.monotonic() < end
            time.sleep(0.05)
