"""The client against a real service, and against services that misbehave."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from serving_tools import Server, jpeg, running
from tiny_bundle import blob_image, tiny_bundle

import lentigo
from lentigo.bundle import Metadata
from lentigo.client import Client, ProblemError
from lentigo.errors import ImageError, LentigoError, ServiceError
from lentigo.serving.auth import create_key

KEY, ENTRY = create_key("client")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("client")
    ratios = Metadata(log_ratios={"age": {"80": (2.0, *[0.0] * 6)}}, groups={})
    bundle = tiny_bundle(folder / "tiny", metadata=ratios)
    (folder / "keys").write_text(ENTRY)
    with running(folder, models=(str(bundle.path),), keys_file=folder / "keys", max_body_bytes=500_000) as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, api_key=KEY) as made:
        yield made


def test_one_image_from_any_source(client: Client, server: Server, tmp_path: Path) -> None:
    content = jpeg(blob_image(1))
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    expected = lentigo.load(server.log.parent / "tiny").predict(path)
    for source in (path, str(path), content, io.BytesIO(content)):
        found = client.predict(source)
        assert found["label"] == expected.label
        assert found["confidence"] == pytest.approx(expected.confidence, abs=1e-6)


def test_long_lists_keep_their_order_and_their_broken_images(client: Client) -> None:
    images = [jpeg(blob_image(seed, 50 + seed, 40)) for seed in range(20)]
    images[3], images[18] = b"no image", b""
    found = client.predict(images)
    assert [one["index"] for one in found] == list(range(20))
    assert [one.get("width") for one in found] == [None if i in (3, 18) else 50 + i for i in range(20)]
    assert found[3]["error"]["status"] == 415
    assert [one["error"]["status"] for one in client.predict([b"x", b"y"])] == [415, 415]
    assert client.predict([b"x"])[0]["error"]["status"] == 415
    assert client.predict([]) == []


def test_lesions_have_one_answer_each(client: Client) -> None:
    images = [jpeg(blob_image(seed, 50 + seed, 40)) for seed in range(20)]
    lesions = {
        "arm 皮" * 30: images[:9],
        "toe ": [b"no image", images[9]],
        "leg": images[10:19],
        "unknown": [b"x"],
        "toe": images[19:],
    }
    found = client.predict_lesions(lesions, top_k=2, prevalence=0.02)
    assert [one["lesion"] for one in found] == list(lesions)
    assert [[p.get("width") for p in one["predictions"]] for one in found] == [
        list(range(50, 59)),
        [None, 59],
        list(range(60, 69)),
        [None],
        [69],
    ]
    assert found[3]["error"]["status"] == found[1]["predictions"][0]["error"]["status"] == 415
    assert len(found[0]["probabilities"]) == 2
    assert "mean of 9 pictures" in found[0]["hints"]
    assert found[4]["confidence"] == pytest.approx(client.predict(images[19])["confidence"])
    (nothing,) = client.predict_lesions({"arm": [b"x", b"y"]})
    assert (nothing["lesion"], nothing["error"]["status"]) == ("arm", 415)
    assert client.predict_lesions({}) == []
    with pytest.raises(ServiceError, match="at least one image"):
        client.predict_lesions({"arm": []})
    with pytest.raises(ProblemError, match="16 images"):
        client.predict_lesions({"arm": images})


def test_age_sex_and_site_are_sent_where_they_are_known(client: Client, server: Server) -> None:
    image = jpeg(blob_image(1))
    expected = lentigo.load(server.log.parent / "tiny").predict(image, {"age": 84})
    found = [client.predict(image, metadata={"age": 84, "site": None}), client.predict(image)]
    assert found[0]["malignant"] == pytest.approx(expected.malignant, abs=1e-6)
    assert found[1]["malignant"] != found[0]["malignant"]
    for one in client.predict([image, image], metadata={"age": "84"}):
        assert one["probabilities"] == found[0]["probabilities"]
    with pytest.raises(ProblemError, match="age: years, from 0 to 130"):
        client.predict(image, metadata={"age": "old"})
    with pytest.raises(ServiceError, match="metadata are age, sex, site, not 'weight'"):
        client.predict(image, metadata={"weight": 70})


def test_options(client: Client) -> None:
    found = client.predict(jpeg(blob_image(1)), heatmap="png", top_k=2, model="tiny", prevalence=0.02)
    assert len(found["probabilities"]) == 2
    assert found["predictive_values"] is None  # the model has no figures of a test part
    assert base64.b64decode(found["heatmap"]["data"]).startswith(b"\x89PNG")


def test_everything_else(client: Client, server: Server) -> None:
    assert client.ready()
    client.wait(5)
    assert [m["name"] for m in client.models()] == ["tiny"]
    assert client.card("tiny").startswith("# Tiny")
    assert "lentigo_requests_total" in client.metrics()


def test_problems_become_errors(client: Client, server: Server, tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="not an image") as refused:
        client.predict(b"hello")
    assert (refused.value.status, refused.value.kind) == (415, "not-an-image")
    assert isinstance(refused.value, LentigoError)
    with pytest.raises(ProblemError) as large:
        client.predict(bytes(5_000_000))
    assert large.value.kind == "body-too-large"
    assert client.predict(jpeg(blob_image(1)))["label"]  # the client is still of use
    with pytest.raises(ProblemError, match="did you mean 'tiny'"):
        client.card("tin")
    with pytest.raises(ProblemError) as unknown, Client(server.url, api_key="wrong") as other:
        other.models()
    assert unknown.value.kind == "unauthorised"


def test_sources_that_cannot_be_sent(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        client.predict(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="binary mode"):
        client.predict(io.StringIO("text"))  # type: ignore[call-overload]
    with pytest.raises(ImageError, match="cannot send int"):
        client.predict(7)  # type: ignore[call-overload]


Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def answering(*answers: Answer | Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers, one after the other."""
    queue, seen = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(self.path)
            answer = queue.pop(0)
            if callable(answer):
                answer(self)
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()


MODELS = (200, {}, json.dumps({"models": []}).encode())


def test_it_comes_again_when_the_service_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("lentigo.client.time.sleep", waited.append)
    busy = (429, {"Retry-After": "7"}, b'{"type": "urn:lentigo:problem:queue-full", "detail": "full"}')
    with answering(busy, (503, {"Retry-After": "9000"}, b""), MODELS) as (url, seen), Client(url) as client:
        assert client.models() == []
        assert len(seen) == 3
    assert waited == [7.0, 30.0]
    with answering(busy) as (url, _), Client(url, retries=0) as client, pytest.raises(ProblemError, match="429: full"):
        client.models()


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    with answering(MODELS, hang_up, MODELS) as (url, seen), Client(url) as client:
        assert client.models() == []
        assert client.models() == []
        assert len(seen) == 3
    with answering(hang_up) as (url, _), Client(url) as client, pytest.raises(ServiceError, match="cannot be reached"):
        client.models()


def test_something_else_than_the_service_answers() -> None:
    with (
        answering((502, {}, b"<html>Bad Gateway</html>"), (404, {}, b"[1]")) as (url, seen),
        Client(f"{url}/lentigo/") as client,
    ):
        with pytest.raises(ProblemError, match="502: no reason given"):
            client.models()
        with pytest.raises(ProblemError, match="404"):
            client.models()
        assert seen == ["/lentigo/v1/models"] * 2


def test_nobody_is_there() -> None:
    client = Client("http://127.0.0.1:9")
    assert not client.ready()
    with pytest.raises(ServiceError, match="cannot be reached"):
        client.models()
    began = time.monotonic()
    with pytest.raises(ServiceError, match=r"not ready after 0\.3 s"):
        client.wait(0.3)
    assert time.monotonic() - began < 10
    for url in ("localhost:8000", "ftp://x", "http://"):
        with pytest.raises(ServiceError, match="address of a service"):
            Client(url)
