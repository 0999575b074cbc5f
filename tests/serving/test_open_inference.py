"""The Open Inference Protocol: its published schema, and the limits, keys and records of the service's own calls."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from serving_tools import application, jpeg, problem_of
from tiny_bundle import blob_image, tiny_bundle

from lentigo import NOTICE
from lentigo.bundle import Metadata
from lentigo.serving import open_inference
from lentigo.serving.auth import create_key
from lentigo.serving.problems import Problem
from lentigo.serving.service import Service

SCHEMAS = json.loads((Path(__file__).parent / "open_inference.json").read_text())
IMAGES = [jpeg(blob_image(seed, 60, 45)) for seed in (1, 2)]
URL = "/v2/models/tiny/infer"
SIZES = {"FP64": float, "BOOL": bool, "BYTES": str}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", size=32).path


@pytest.fixture
def served(bundle: Path) -> Callable[..., None]:
    def run(test: Callable[[httpx.AsyncClient, Service], Coroutine[Any, Any, None]], **settings: Any) -> None:
        async def go() -> None:
            async with application(**{"models": (str(bundle),), **settings}) as (client, service):
                await test(client, service)

        asyncio.run(go())

    return run


def hold(document: Any, name: str) -> Any:
    """Hold a document against a schema of the protocol."""
    jsonschema.Draft202012Validator({**SCHEMAS, "$ref": f"#/$defs/{name}"}).validate(document)
    return document


def asking(*images: bytes, **more: Any) -> dict[str, Any]:
    data = [base64.b64encode(image).decode() for image in images]
    return {"inputs": [{"name": "image", "shape": [len(images)], "datatype": "BYTES", "data": data}], **more}


def test_what_is_sent_and_answered_is_of_the_published_schema(served: Callable[..., None]) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        for path in ("/v2", "/v2/"):
            assert hold((await client.get(path)).json(), "metadata_server_response")["name"] == "lentigo"
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert (await client.get(path, headers={"Host": "10.1.2.3:8000"})).status_code == 200
        version = service.manager.get(None).identity["version"]
        for path in ("/v2/models/tiny", f"/v2/models/tiny/versions/{version}"):
            metadata = hold((await client.get(path)).json(), "metadata_model_response")
            assert hold((await client.get(f"{path}/ready")).json(), "ready_model_response") == {
                "name": "tiny",
                "ready": True,
            }
            request = hold(asking(*IMAGES, id="42", parameters={"a": 1}), "inference_request")
            reply = hold((await client.post(f"{path}/infer", json=request)).json(), "inference_response")
            assert (reply["id"], reply["model_name"], reply["model_version"]) == ("42", "tiny", version)
            assert reply["parameters"]["notice"] == NOTICE
            for told, tensor in zip(metadata["outputs"], reply["outputs"], strict=True):
                assert (tensor["name"], tensor["datatype"]) == (told["name"], told["datatype"])
                assert [2 if side == -1 else side for side in told["shape"]] == tensor["shape"]
                assert len(tensor["data"]) == (tensor["shape"] + [1])[0] * (tensor["shape"] + [1])[1]
                assert {type(value) for value in tensor["data"]} == {SIZES[tensor["datatype"]]}

    served(test)


def test_the_figures_are_those_of_the_services_own_call(served: Callable[..., None]) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        own = (
            await client.post("/v1/predict", files=[("image", ("a", image, "image/jpeg")) for image in IMAGES])
        ).json()["predictions"]
        request = asking(*IMAGES, outputs=[{"name": "probabilities"}, {"name": "label"}])
        request["inputs"][0]["shape"] = [2, 1]
        request["inputs"][0]["data"] = [[text] for text in request["inputs"][0]["data"]]
        reply = (await client.post(URL, json=request)).json()
        values, labels = reply["outputs"]
        codes = reply["parameters"]["classes"].split(",")
        assert labels["data"] == [answer["label"] for answer in own]
        found = [dict(zip(codes, values["data"][i * len(codes) :], strict=False)) for i in range(2)]
        assert found == [pytest.approx(answer["probabilities"], abs=1e-6) for answer in own]

    served(test)


def test_errors_have_their_status_and_the_protocols_member(served: Callable[..., None]) -> None:
    deep = b'{"inputs": ' + b"[" * 200 + b"]" * 200 + b"}"
    numbers = json.dumps(asking() | {"parameters": {"x": [0] * 100_000}}).encode()
    huge = json.dumps(asking(IMAGES[0]) | {"id": "x" * 300}).encode()
    cases: list[tuple[Any, int]] = [
        (b"", 422), (b"{", 422), (b"[]", 422), (b"\xff\xfe", 422), (deep, 422), (b"[" * 100_000, 413), (numbers, 413),
        (huge, 422), (b"1" * 100_000, 413), (b'"' * 1_000_000, 413), (b" " * 100_000, 413),
        (json.dumps(asking(IMAGES[0]) | {"id": "x" * 5000}).encode(), 422),
        (json.dumps(asking(IMAGES[0]) | {"id": "\\" * 5000}).encode(), 422),
        ({"inputs": [{**asking(IMAGES[0])["inputs"][0], "shape": ["1"]}]}, 422),
        ({"inputs": [{**asking(IMAGES[0])["inputs"][0], "shape": [True]}]}, 422),
        (b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1e99], "data": ["a"]}]}', 422),
        (asking(), 422), (asking(*IMAGES * 9), 413), (asking(b""), 422), (asking(IMAGES[0], b"text"), 415),
        (asking(IMAGES[0], outputs=[{"name": "logits"}]), 422),
        (asking(IMAGES[0], outputs=[{"name": "label"}] * 6), 422),
        ({"inputs": [{**asking(IMAGES[0])["inputs"][0], "data": [True]}]}, 422),
        ({"inputs": asking(IMAGES[0])["inputs"] * 2}, 422),
        ({"inputs": [{**asking(IMAGES[0])["inputs"][0], "shape": [3]}]}, 422),
        ({"inputs": [{**asking(IMAGES[0])["inputs"][0], "datatype": "UINT8"}]}, 422),
        ({"inputs": [{**asking(IMAGES[0])["inputs"][0], "data": ["no base64"]}]}, 422),
    ]  # fmt: skip

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        for body, status in cases:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = await client.post(URL, content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == status, (content[:200], answer.text)
            assert "union" not in answer.text  # how the parser names a type
            assert hold(problem_of(answer), "inference_error_response")["error"] == answer.json()["detail"]
        for path in ("/v2/models/none", "/v2/models/tiny/versions/no", "/v2/nothing"):
            hold(problem_of(await client.get(path)), "inference_error_response")
        assert (await client.post(URL, content=IMAGES[0], headers={"Content-Type": "image/jpeg"})).status_code == 415
        packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert (await client.post(URL, content=b"x", headers=packed)).status_code == 415
        assert service.budget.held == 0

    served(test)


def test_the_json_parser_and_the_loop_are_kept_from_the_images(
    served: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, decode = open_inference.InferRequest.model_validate_json, open_inference.decode_images

    def watched_parse(content: bytes) -> Any:
        assert len(content) < 50_000, "the parser holds up all requests"
        return parse(content)

    def watched_decode(texts: list[bytes]) -> list[bytes]:
        assert threading.current_thread() is not threading.main_thread()
        return decode(texts)

    monkeypatch.setattr(open_inference.InferRequest, "model_validate_json", watched_parse)
    monkeypatch.setattr("lentigo.serving.service.decode_images", watched_decode)
    request = json.dumps(asking(IMAGES[0] + bytes(1_000_000), IMAGES[1]) | {"id": 'a"b\\'})

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        for body in (request, request.replace("/", "\\/")):
            answer = await client.post(URL, content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["id"]) == (200, 'a"b\\')

    served(test)


@pytest.mark.parametrize("numbers", [False, True])
def test_age_and_sex_are_further_tensors(numbers: bool, tmp_path: Path, served: Callable[..., None]) -> None:
    ratios = Metadata(log_ratios={"age": {"80": (2.0, *[0.0] * 6)}, "site": {"nose": (0.0,) * 7}}, groups={})
    model = tiny_bundle(tmp_path / "told", name="told", size=32, metadata=ratios).path
    url = "/v2/models/told/infer"

    def tensor(name: str, *cells: object) -> dict[str, Any]:
        kind = "BYTES" if isinstance(cells[0], str) else "FP64"
        return {"name": name, "datatype": kind, "shape": [len(cells)], "data": list(cells)}

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        asked = asking(*IMAGES)
        asked["inputs"].append(tensor("age", *((84, 20) if numbers else ("84", "20"))))
        reply = hold((await client.post(url, json=hold(asked, "inference_request"))).json(), "inference_response")
        assert reply["parameters"]["metadata"] == "age"
        alone = (await client.post(url, json=asking(*IMAGES))).json()
        assert "metadata" not in alone["parameters"]
        figures = [one["outputs"][0]["data"] for one in (reply, alone)]
        assert figures[0] != figures[1]
        for image, age, row in zip(IMAGES, (84, 20), range(2), strict=True):
            own = await client.post("/v1/predict?model=told", files={"image": ("a", image)}, data={"age": str(age)})
            told = own.json()["predictions"][0]["probabilities"]
            probabilities = [told[code] for code in reply["parameters"]["classes"].split(",")]
            assert figures[0][row * len(probabilities) :][: len(probabilities)] == pytest.approx(probabilities)
        listed = (await client.get("/v2/models/told")).json()["inputs"]
        assert [one["name"] for one in listed] == ["image", "age", "site"]
        for wrong in (
            [tensor("age", "75")] * 2,
            [tensor("age", "75", "20", "3")],
            [tensor("age", "old", "20")],
            [tensor("age", 1e300, float(10**9))],
            [tensor("nationality", "x", "y")],
        ):
            answer = await client.post(url, json={"inputs": [*asking(*IMAGES)["inputs"], *wrong]})
            assert (answer.status_code, problem_of(answer)["type"].rpartition(":")[2]) == (422, "invalid-options")
        lone = await client.post(url, json={"inputs": [tensor("age", "75")]})
        assert lone.status_code == 422

    served(test, models=(str(model),))


@pytest.mark.parametrize("piece", [8, 12, 64, 2**20])
def test_base64_is_decoded_piece_by_piece(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_inference, "_PIECE", piece)
    rng = random.Random(1)
    for size in (*range(40), 1000, 1001):
        content = rng.randbytes(size // 2) + b"\xff" * (size - size // 2)  # "/" in base64, and "+" here and there
        text = base64.b64encode(content)
        escaped = [text.replace(c.encode(), f"\\u{ord(c):04x}".encode()) for c in "+/="]  # as .NET and Gson write it
        escaped += [text.replace(b"=", b"\\u003D"), text.replace(b"/", b"\\/")]
        assert open_inference.decode_images([text, *escaped]) == [content] * 6
        for broken in (text + b"A", text + text[:4] if text.endswith(b"=") else text + b"\\n"):
            with pytest.raises(Problem):
                open_inference.decode_images([broken])


def test_keys_limits_and_the_audit_log_hold_as_for_the_services_own_call(
    served: Callable[..., None], tmp_path: Path
) -> None:
    key, entry = create_key("gateway")
    (tmp_path / "keys").write_text(f"{entry}:1\n")

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        for method, path in (("POST", URL), ("GET", "/v2/models/tiny"), ("GET", "/v2/models/tiny/ready")):
            assert (await client.request(method, path)).status_code == 401
        headers = {"X-API-Key": key}
        answer = await client.post(URL, json=asking(*IMAGES), headers=headers)
        assert answer.status_code == 200
        (line,) = map(json.loads, (tmp_path / "audit").read_text().splitlines())
        assert (line["key"], line["request_id"]) == ("gateway", answer.headers["x-request-id"])
        sent = [json.dumps(tensor, ensure_ascii=False).encode() for tensor in answer.json()["outputs"]]
        assert line["results"] == [hashlib.sha256(tensor).hexdigest() for tensor in sent]
        # Of a burst of 3, 2 are spent.
        assert (await client.post(URL, json=asking(*IMAGES), headers=headers)).status_code == 429
        metrics = (await client.get("/metrics", headers=headers)).text
        assert 'lentigo_requests_total{route="/v2/models/{name}/infer",status="200"} 1' in metrics

    served(test, keys_file=tmp_path / "keys", audit_log=tmp_path / "audit", burst=3)

    async def small(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.post(URL, json=asking(*IMAGES))).status_code == 413
        object.__setattr__(service.config, "max_body_bytes", 10**6)
        service.budget.most = 2 * len(json.dumps(asking(IMAGES[0])))
        assert (await client.post(URL, json=asking(IMAGES[0]))).status_code == 429

    served(small, max_body_bytes=1000)
