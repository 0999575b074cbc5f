"""The API in this process: every route, option and kind of answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Coroutine
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from serving_tools import application, jpeg, problem_of
from starlette.requests import Request
from tiny_bundle import blob_image, png_bytes, tiny_bundle

import lentigo
from lentigo.bundle import Metadata, OperatingPoint
from lentigo.errors import ServiceError
from lentigo.inference import predict_paths
from lentigo.inference.lesions import group_key, merge_rows
from lentigo.inference.table import Row
from lentigo.serving import limits
from lentigo.serving.app import create_app
from lentigo.serving.auth import Key, Keyring, create_key, parse_keys
from lentigo.serving.config import ServeConfig
from lentigo.serving.problems import KINDS, Problem
from lentigo.serving.routes import predict
from lentigo.serving.service import Service

Test = Callable[[httpx.AsyncClient, Service], Coroutine[Any, Any, None]]
IMAGE = jpeg(blob_image(1, 120, 90))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle without class-activation maps."""
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "plain", name="plain", cam=False, classes=3, size=32).path


@pytest.fixture
def served(bundle: Path) -> Callable[..., None]:
    """Run a test against the application."""

    def run(test: Test, **settings: Any) -> None:
        async def go() -> None:
            async with application(**{"models": (str(bundle),), **settings}) as (client, service):
                await test(client, service)

        asyncio.run(go())

    return run


Run = Callable[..., None]


def raw(
    client: httpx.AsyncClient, content: bytes = IMAGE, kind: str = "image/jpeg", query: str = "", **headers: str
) -> Any:
    return client.post(f"/v1/predict{query}", content=content, headers={"Content-Type": kind, **headers})


def form(client: httpx.AsyncClient, *images: bytes, query: str = "", name: str = "image.jpg") -> Any:
    return client.post(f"/v1/predict{query}", files=[("image", (name, one, "image/jpeg")) for one in images])


def test_a_raw_body_gets_the_answer_of_the_library(served: Run, bundle: Path) -> None:
    expected = lentigo.load(bundle).predict(IMAGE)

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        response = await raw(client)
        assert response.status_code == 200
        reply = response.json()
        (found,) = reply["predictions"]
        assert found["label"] == expected.label
        assert (found["width"], found["height"]) == (120, 90)
        for code, p in zip(expected.labels.codes, expected.probabilities, strict=True):
            assert found["probabilities"][code] == pytest.approx(p, abs=1e-6)
        assert list(found["probabilities"].values()) == sorted(found["probabilities"].values(), reverse=True)
        assert found["malignant"] == pytest.approx(expected.malignant, abs=1e-6)
        assert reply["model"] == {
            "name": "tiny",
            "version": "1",
            "sha256": hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest(),
        }
        assert reply["request_id"] == response.headers["x-request-id"]
        assert "not a medical device" in reply["notice"]

    served(test)


def test_concurrent_requests_share_batches_and_each_gets_its_own_answer(served: Run, bundle: Path) -> None:
    images = [jpeg(blob_image(seed, 70 + seed, 60)) for seed in range(24)]
    expected = lentigo.load(bundle).predict(images)

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        replies = await asyncio.gather(*(raw(client, image) for image in images))
        for reply, wanted in zip(replies, expected, strict=True):
            found = reply.json()["predictions"][0]
            assert found["width"] == wanted.extent[0]
            assert found["probabilities"][wanted.label] == pytest.approx(wanted.confidence, abs=1e-6)
        text = (await client.get("/metrics")).text
        calls = float(
            next(line for line in text.splitlines() if line.startswith("lentigo_batch_images_count")).split()[1]
        )
        assert calls < len(images), "no batch held more than one image"
        assert "lentigo_batch_images_sum 24" in text

    served(test, max_delay_ms=200)


def test_several_images_are_answered_each_by_itself(served: Run) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        response = await form(client, IMAGE, b"no image at all", IMAGE[:500], png_bytes(blob_image(2)))
        assert response.status_code == 200
        found = response.json()["predictions"]
        assert [one["index"] for one in found] == [0, 1, 2, 3]
        assert found[0]["label"]
        assert found[3]["label"]
        assert (found[1]["error"]["status"], found[2]["error"]["status"]) == (415, 422)
        nothing = await form(client, b"no image", b"")
        assert [e["index"] for e in problem_of(nothing)["errors"]] == [0, 1]

    served(test)


def lesions(client: httpx.AsyncClient, names: list[str | bytes], *images: bytes, query: str = "") -> Any:
    fields = [("lesion", (None, name)) for name in names]
    return client.post(
        f"/v1/predict{query}", files=[*fields, *(("image", ("x.jpg", one, "image/jpeg")) for one in images)]
    )


def test_a_lesion_gets_the_answer_that_the_command_gives(served: Run, bundle: Path, tmp_path: Path) -> None:
    images = [jpeg(blob_image(seed, 90 + seed, 80)) for seed in range(5)]
    names = ["arm", "leg", "arm", "", "leg"]
    for i, (name, image) in enumerate(zip(names, images, strict=True)):
        (tmp_path / f"{name or 'alone'}_{i}.jpg").write_bytes(image)
    rows: list[Row] = []
    predict_paths(lentigo.load(bundle), [str(tmp_path)], on_row=rows.append)
    key = group_key(r"^([a-z]+)_", [])
    expected = {row.path: row for row in merge_rows(rows, key, lentigo.load(bundle).spec)}

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        reply = (await lesions(client, list(names), *images)).json()
        assert [one["index"] for one in reply["predictions"]] == list(range(5))
        found = reply["lesions"]
        assert [(one["lesion"], one["images"]) for one in found] == [("arm", [0, 2]), ("leg", [1, 4]), (None, [3])]
        for one in found:
            wanted = expected[one["lesion"] or "alone"]
            assert one["label"] == wanted.label
            assert (tuple(one["hints"]), tuple(one["reasons"])) == (wanted.hints, wanted.reasons)
            assert one["malignant"] == pytest.approx(wanted.malignant_share, abs=1e-6)
            assert tuple(name for name, reached in one["operating_points"].items() if reached) == wanted.flagged
            assert (one["prediction_set"] and tuple(one["prediction_set"])) == wanted.prediction_set
            assert list(one["probabilities"].values()) == sorted(one["probabilities"].values(), reverse=True)
            for code, p in zip(service.manager.get(None).classifier.labels.codes, wanted.probabilities, strict=True):
                assert one["probabilities"][code] == pytest.approx(p, abs=1e-6)
        (one,) = (await lesions(client, ["arm"], *images[:3], query="?top_k=2")).json()["lesions"]
        assert one["images"] == [0, 1, 2]
        assert len(one["probabilities"]) == 2
        assert "lesions" not in (await form(client, *images)).json()
        broken = (await lesions(client, ["arm", "arm", "leg"], IMAGE, b"no image", b"no image")).json()["lesions"]
        assert "1 cannot be read" in " ".join(broken[0]["hints"])
        assert broken[1]["error"]["status"] == 415

    served(test)


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"], ["x" * 65], [b"\xff\xfe"]])
def test_lesions_that_do_not_fit_the_images_are_refused(served: Run, names: list[str | bytes]) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        document = problem_of(await lesions(client, names, IMAGE, IMAGE, IMAGE))
        assert (document["status"], document["detail"][:7]) == (422, "lesion:")
        full = await lesions(client, [f"{i}" for i in range(16)], *[IMAGE] * 16)
        assert len(full.json()["lesions"]) == 16

    served(test)


@pytest.mark.parametrize("name", ["", " ", "null", "None", "unknown"])
def test_images_of_no_known_lesion_stand_alone(name: str) -> None:
    for given in ([name, "arm", name], [name]):
        fields = [("lesion", None, None, text.encode()) for text in given]
        found = read_parts(*fields, *[("image", "a.jpg", None, IMAGE)] * 3)
        assert found.lesions == (["", "arm", ""] if len(given) > 1 else [""] * 3)


@pytest.mark.parametrize(
    ("filename", "kind"), [("a.jpg", None), ("", None), (None, "application/json"), (None, "image/jpeg")]
)
def test_a_lesion_is_named_by_plain_text(filename: str | None, kind: str | None) -> None:
    with pytest.raises(Problem, match="lesion: it is plain text"):
        read_parts(("lesion", filename, kind, b"arm"), ("image", "a.jpg", None, IMAGE))
    assert read_parts(
        ("lesion", None, "text/plain; charset=utf-8", b"arm"), ("image", "a.jpg", None, IMAGE)
    ).lesions == ["arm"]


def test_age_and_site_count_where_the_model_knows_them(
    served: Run, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ratios = Metadata(log_ratios={"age": {"80": (2.0, *[0.0] * 6)}, "site": {"nose": (0.0,) * 7}}, groups={})
    told = tiny_bundle(tmp_path_factory.mktemp("bundle") / "told", name="told", metadata=ratios).path
    expected = lentigo.load(told).predict(IMAGE, {"age": 84})

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        def ask(query: str = "", images: int = 2, **fields: list[str]) -> Any:
            texts = [(name, (None, value)) for name, values in fields.items() for value in values]
            files = [*texts, *[("image", ("x.jpg", IMAGE, "image/jpeg"))] * images]
            return client.post(f"/v1/predict{query}", files=files)

        reply = (await ask(age=["84", "unknown"], sex=["male"], lesion=["a", "b"])).json()
        assert reply["metadata"] == ["age"]
        first, second = reply["predictions"]
        for code, p in zip(expected.labels.codes, expected.probabilities, strict=True):
            assert first["probabilities"][code] == pytest.approx(p, abs=1e-6)
        assert first["malignant"] == pytest.approx(expected.malignant, abs=1e-6)
        assert reply["lesions"][0]["malignant"] == pytest.approx(expected.malignant, abs=1e-6)
        alone = (await raw(client)).json()
        assert "metadata" not in alone
        assert second["probabilities"] == alone["predictions"][0]["probabilities"]
        for field, value, said in (("age", "old", "age: years, from 0"), ("site", "heel", "site: one of nose")):
            problem = problem_of(await ask(**{field: [value]}))
            assert (problem["status"], problem["detail"][: len(said)]) == (422, said)
            assert value not in problem["detail"]
        assert "3 for 2 images" in problem_of(await ask(age=["1", "2", "3"]))["detail"]
        assert "takes no age" in problem_of(await ask("?model=tiny", age=["84"]))["detail"]
        listed = {one["name"]: one["metadata"] for one in (await client.get("/v1/models")).json()["models"]}
        assert listed == {"told": {"age": ["80"], "site": ["nose"]}, "tiny": {}}
        full = await ask(images=16, age=["84"] * 16, sex=["male"] * 16, site=["nose"] * 16, lesion=["a"] * 16)
        assert len(full.json()["predictions"]) == 16

    served(test, models=(str(told), str(bundle)))


@pytest.mark.parametrize("content", [b"null", b"", b"no image"])
def test_each_field_called_image_has_an_answer(content: bytes) -> None:
    image = ("image", "a.jpg", None, IMAGE)
    assert read_parts(image, ("image", None, None, content), image).images == [IMAGE, content, IMAGE]
    assert read_parts(image, ("note", None, None, content), ("image", "", None, b"")).images == [IMAGE]


def read_parts(*parts: tuple[str, str | None, str | None, bytes]) -> limits.Body:
    """What a multipart body holds; a part is (name, file name, media type, content)."""
    found = limits._Parts(b"b", ServeConfig())
    for name, filename, kind, content in parts:
        head = f'Content-Disposition: form-data; name="{name}"'
        head += "" if filename is None else f'; filename="{filename}"'
        head += "" if kind is None else f"\r\nContent-Type: {kind}"
        found.write(b"--b\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n")
    found.write(b"--b--\r\n")
    return found.finish()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_the_content_decides_not_the_name_or_type(served: Run, kind: str) -> None:
    buffer = BytesIO()
    blob_image(3).save(buffer, kind)

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        for response in (
            await raw(client, buffer.getvalue(), "image/jpeg"),
            await raw(client, buffer.getvalue(), "application/octet-stream"),
            await form(client, buffer.getvalue(), name="../../etc/passwd.exe"),
            await client.post("/v1/predict", content=buffer.getvalue()),
        ):
            assert response.status_code == 200, response.text

    served(test)


def test_top_k_and_model(served: Run, bundle: Path, plain: Path) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        assert len((await raw(client, query="?top_k=2")).json()["predictions"][0]["probabilities"]) == 2
        assert len((await raw(client, query="?top_k=99")).json()["predictions"][0]["probabilities"]) == 7
        assert (await raw(client, query="?model=plain")).json()["model"]["name"] == "plain"
        unknown = problem_of(await raw(client, query="?model=plane"))
        assert unknown["status"] == 404
        assert "plain" in unknown["detail"]

    served(test, models=(str(bundle), str(plain)))


def test_heat_maps_as_numbers_and_as_a_picture(served: Run, bundle: Path, plain: Path) -> None:
    expected = lentigo.load(bundle).predict(IMAGE)
    assert expected.cam is not None

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        numbers = (await raw(client, query="?heatmap=array")).json()["predictions"][0]["heatmap"]
        cam = expected.cam[expected.index]
        assert numbers["code"] == expected.label
        assert np.array(numbers["values"]) == pytest.approx(cam / cam.max(), abs=1e-4)
        drawn = (await raw(client, query="?heatmap=png")).json()["predictions"][0]["heatmap"]
        picture = Image.open(BytesIO(base64.b64decode(drawn["data"])))
        assert picture.format == "PNG"
        assert picture.size == (drawn["width"], drawn["height"]) == (120, 90)
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(expected.overlay())).max() <= 1
        assert "heatmap" not in (await raw(client)).json()["predictions"][0]
        assert problem_of(await raw(client, query="?heatmap=png&model=plain"))["type"].endswith("no-heatmap")

    served(test, models=(str(bundle), str(plain)))


def test_predictive_values_at_a_stated_prevalence(served: Run, bundle: Path, tmp_path: Path) -> None:
    point = OperatingPoint(name="sensitivity_90", threshold=0.2, sensitivity=0.9, specificity=0.6)
    measured = tiny_bundle(tmp_path / "measured", name="measured", operating_points=(point,)).path
    spec = json.loads((measured / "spec.json").read_text())
    rates = {"sensitivity": {"value": 0.9, "low": 0.8, "high": 1.0}, "specificity": {"value": 0.7}}
    spec["metrics"]["test at sensitivity_90"] = rates
    (measured / "spec.json").write_text(json.dumps(spec))

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        (found,) = (await raw(client, query="?prevalence=0.02")).json()["predictions"]
        values = found["predictive_values"]
        assert values["prevalence"] == 0.02
        assert values["points"]["sensitivity_90"]["ppv"] == {
            "value": pytest.approx(180 / 3120),
            "low": None,
            "high": None,
        }
        assert values["points"]["sensitivity_90"]["npv"]["value"] == pytest.approx(6860 / 6880)
        assert "predictive_values" not in (await raw(client)).json()["predictions"][0]
        reply = (await lesions(client, ["arm"], IMAGE, b"no image", query="?prevalence=0.02")).json()
        assert reply["lesions"][0]["predictive_values"] == values
        assert "predictive_values" not in reply["predictions"][1]
        blank = jpeg(Image.new("RGB", (64, 64)))  # too dark to tell anything of
        (abstained,) = (await raw(client, blank, query="?prevalence=0.02")).json()["predictions"]
        assert (abstained["abstained"], abstained["predictive_values"]) == (True, None)
        (bare,) = (await raw(client, query="?prevalence=0.02&model=tiny")).json()["predictions"]
        assert bare["predictive_values"] is None

    served(test, models=(str(measured), str(bundle)))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?heatmap=jpg", "heatmap"),
        ("?top_k=0", "top_k"),
        ("?top_k=x", "top_k"),
        ("?prevalence=0", "prevalence"),
        ("?prevalence=2", "prevalence"),
        ("?prevalence=nan", "prevalence"),
        ("?prevalence=1_0e-3", "prevalence: not a number"),
        ("?prevalence=", "prevalence: not a number"),
        ("?top_k=1_0", "top_k: not a number"),
        ("?top_k=%203", "top_k: not a number"),
        ("?top_k=null", "top_k: not a number"),
        ("?top_k=1&top_k=2", "more than once"),
        ("?model=tiny&model=plain", "more than once"),
        ("?heatmp=png", "did you mean 'heatmap'"),
        ("?model=", "model: "),
    ],
)
def test_options_that_are_not_valid(query: str, words: str) -> None:
    (route,) = predict.router.routes
    assert isinstance(route, predict.DirectRoute)
    request = Request({"type": "http", "query_string": query[1:].encode(), "headers": []})
    with pytest.raises(Problem) as caught:
        asyncio.run(route.get_route_handler()(request))
    assert (caught.value.kind, words in caught.value.detail) == ("invalid-options", True)


def test_models_and_cards(served: Run, bundle: Path, plain: Path) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        reply = (await client.get("/v1/models")).json()
        assert reply["default"] == "tiny"
        assert [m["name"] for m in reply["models"]] == ["tiny", "plain"]
        assert reply["models"][0]["classes"][4] == {
            "code": "mel",
            "en": "melanoma",
            "zh": "黑色素瘤",
            "malignant": True,
            "names": {},
        }
        assert [m["heatmaps"] for m in reply["models"]] == [True, False]
        card = await client.get("/v1/models/tiny/card")
        assert card.text == (bundle / "MODEL_CARD.md").read_text()
        assert card.headers["content-type"] == "text/markdown; charset=utf-8"
        for path in ("/v1/models/..%2f..%2fetc%2fpasswd/card", "/v1/models/none/card"):
            assert problem_of(await client.get(path))["status"] == 404

    served(test, models=(str(bundle), str(plain)))


def test_health_readiness_and_loading(bundle: Path) -> None:
    async def go() -> None:
        service = Service(ServeConfig(models=(str(bundle),), deadline_s=120))  # a loaded machine takes its time to load
        transport = httpx.ASGITransport(app=create_app(service.config, service))
        async with service.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/healthz")).json()["status"] == "alive"
            early = await client.get("/readyz")
            assert problem_of(early)["type"].endswith("not-ready")
            assert early.headers["retry-after"] == "1"
            assert (await client.get("/v1/models")).status_code == 503
            waited = await raw(client)  # a request waits for the model within its deadline
            assert waited.status_code == 200
            assert (await client.get("/readyz")).json() == {"status": "ready", "version": lentigo.__version__}
            service.draining = True
            assert (await client.get("/readyz")).status_code == 503
            last = await raw(client)
            assert (last.status_code, last.headers["connection"]) == (200, "close")

    asyncio.run(go())


def test_a_service_without_a_model_that_can_be_loaded_says_so(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bad").path

    async def go() -> None:
        service = Service(ServeConfig(models=(str(bundle),)))
        (bundle / "model.onnx").write_bytes(b"not a graph")
        async with service.running():
            for _ in range(5000):
                await asyncio.sleep(0.02)
                if service.failure:
                    break
        assert "damaged" in str(service.failure)

    asyncio.run(go())


def test_a_failing_network_is_a_500_without_details(
    served: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("a secret of the request")

        service.manager.get(None).classifier.run = fail  # type: ignore[method-assign,assignment]
        document = problem_of(await raw(client))
        assert document["status"] == 500
        assert "secret" not in json.dumps(document)
        assert (await client.get("/healthz")).status_code == 200

    served(test)


def test_metrics_count_what_happened(served: Run) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        await form(client, IMAGE, b"x")
        await raw(client, b"text")
        response = await client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = dict(line.rsplit(" ", 1) for line in response.text.splitlines() if not line.startswith("#"))
        assert lines['lentigo_requests_total{route="/v1/predict",status="200"}'] == "1"
        assert lines['lentigo_requests_total{route="/v1/predict",status="415"}'] == "1"
        assert lines['lentigo_images_total{outcome="answered"}'] == "1"
        assert lines['lentigo_images_total{outcome="refused"}'] == "2"
        assert lines['lentigo_problems_total{kind="not-an-image"}'] == "1"
        assert lines['lentigo_request_seconds_bucket{le="+Inf"}'] == lines["lentigo_request_seconds_count"] == "2"
        assert lines["lentigo_requests_open"] == "1"  # the scrape itself
        assert float(lines["lentigo_received_bytes_total"]) > len(IMAGE)
        names = [line.split()[2] for line in response.text.splitlines() if line.startswith("# TYPE")]
        assert len(names) == len(set(names))

    served(test)


def test_the_description_is_complete(served: Run) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        schema = (await client.get("/openapi.json")).json()
        assert set(schema["paths"]) == {
            "/v1/predict",
            "/v1/models",
            "/v1/models/{name}/card",
            "/healthz",
            "/readyz",
            "/metrics",
        }
        predict = schema["paths"]["/v1/predict"]["post"]
        assert {"image/jpeg", "multipart/form-data", "application/octet-stream"} <= set(
            predict["requestBody"]["content"]
        )
        assert {p["name"] for p in predict["parameters"]} == {"heatmap", "top_k", "model", "prevalence"}
        assert {
            "200",
            "400",
            "401",
            "404",
            "408",
            "413",
            "415",
            "421",
            "422",
            "429",
            "431",
            "500",
            "503",
            "504",
        } <= set(predict["responses"])
        assert predict["responses"]["200"]["content"]["application/json"]["example"]["predictions"]
        for status, response in predict["responses"].items():
            if status != "200":
                examples = response["content"]["application/problem+json"]["examples"]
                assert all(e["value"]["status"] == int(status) for e in examples.values())
        assert "ProblemDocument" in schema["components"]["schemas"]

    served(test)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/predict", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/nothing", 404),
        ("POST", "/", 405),
        ("TRACE", "/healthz", 405),
    ],
)
def test_wrong_methods_and_addresses(served: Run, method: str, path: str, status: int) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        response = await client.request(method, path)
        assert problem_of(response)["status"] == status
        assert ("allow" in response.headers) == (status == 405)

    served(test)


# --- safety ---------------------------------------------------------------------------------------------------------


def test_every_answer_has_the_security_headers(served: Run) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        for response in (
            await raw(client),
            await raw(client, b"x"),
            await client.get("/nothing"),
            await client.get("/"),
        ):
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["x-frame-options"] == "DENY"
            assert response.headers["referrer-policy"] == "no-referrer"
            assert response.headers["cross-origin-resource-policy"] == "same-origin"
            assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
            assert "server" not in response.headers
        assert (await raw(client)).headers["cache-control"] == "no-store"
        assert (await raw(client)).headers["content-security-policy"].startswith("default-src 'none'")

    served(test)


def test_cors_is_off_unless_an_origin_is_allowed(served: Run) -> None:
    ask = {"Origin": "https://viewer.example.org", "Access-Control-Request-Method": "POST"}

    async def closed(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.options("/v1/predict", headers=ask)).status_code == 405
        answer = await raw(client, Origin="https://viewer.example.org")
        assert not [name for name in answer.headers if name.startswith("access-control")]

    async def opened(client: httpx.AsyncClient, service: Service) -> None:
        allowed = await client.options("/v1/predict", headers=ask)
        assert allowed.headers["access-control-allow-origin"] == "https://viewer.example.org"
        refused = [await raw(client, b"no image", Origin=ask["Origin"]), await client.get("/none", headers=ask)]
        refused.append(await client.get("/v1/predict", headers=ask))
        assert [answer.status_code for answer in refused] == [415, 404, 405]
        for answer in refused:  # a page may read what was wrong
            assert answer.headers["access-control-allow-origin"] == "https://viewer.example.org"
        other = await raw(client, Origin="https://evil.example")
        assert "access-control-allow-origin" not in other.headers

    served(closed)
    served(opened, cors_origins=("https://viewer.example.org",))
    with pytest.raises(ServiceError, match="cors_origins"):
        ServeConfig(cors_origins=("*",))


def test_other_host_names_are_refused_on_loopback(served: Run) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        for host in ("localhost:8000", "127.0.0.1", "[::1]:80"):
            assert (await client.get("/v1/models", headers={"Host": host})).status_code == 200
        rebound = await client.get("/v1/models", headers={"Host": "rebound.example:8000"})
        assert problem_of(rebound)["status"] == 421
        for probe in ("/healthz", "/readyz"):  # of a container, whose address is its host name
            assert (await client.get(probe, headers={"Host": "10.1.2.3:8000"})).status_code == 200

    async def named(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.get("/v1/models", headers={"Host": "Skin.Example.org"})).status_code == 200
        assert (await client.get("/v1/models")).status_code == 421

    served(test)
    served(named, allowed_hosts=("skin.example.org",))
    assert ServeConfig().loopback
    assert ServeConfig(host="0.0.0.0").hosts is None


def test_the_service_binds_to_loopback_unless_told() -> None:
    assert ServeConfig().host == "127.0.0.1"
    for host in ("::1", "localhost", "127.1", "::ffff:127.0.0.1"):  # however it is written
        assert ServeConfig(host=host).loopback
        assert ServeConfig(host=host).hosts == {"localhost", "127.0.0.1", "::1", host}
    for host in ("0.0.0.0", "::", "10.1.2.3", "no.such.name.invalid"):
        assert not ServeConfig(host=host).loopback


def test_keys_are_needed_where_there_are_any(served: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, entry = create_key("gateway")
    other, other_entry = create_key("lab")
    file = tmp_path / "keys"
    file.write_text(f"# who may ask\n{entry}\n")
    monkeypatch.setenv("LENTIGO_API_KEYS", f"{other_entry}:5")

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        for path in ("/v1/models", "/v1/models/tiny/card", "/metrics"):
            refused = await client.get(path)
            assert problem_of(refused)["status"] == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert (await client.get(path, headers={"X-API-Key": key})).status_code == 200
        unread = await raw(client)
        assert (unread.status_code, unread.headers["connection"]) == (401, "close")  # its body is not read
        assert (await raw(client, Authorization="Bearer wrong")).status_code == 401
        # The hash is no key.
        assert (await raw(client, Authorization=f"Bearer {entry.split(':')[1]}")).status_code == 401
        assert (await raw(client, Authorization=f"bearer {key}")).status_code == 200
        assert (await raw(client, **{"X-API-Key": other})).status_code == 200
        for path in ("/healthz", "/readyz", "/", "/openapi.json"):
            assert (await client.get(path)).status_code == 200

    served(test, keys_file=file)


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(a: str, b: str) -> bool:
        compared.append(b)
        return a == b

    monkeypatch.setattr("lentigo.serving.auth.hmac.compare_digest", compare)
    keys = [Key(str(i), hashlib.sha256(str(i).encode()).hexdigest()) for i in range(5)]
    ring = Keyring(keys, [0.0] * 4096, None, 1)
    found = ring.identify([(b"x-api-key", b"0")])
    assert found == keys[0]
    assert sorted(compared) == sorted(k.digest for k in keys)  # all of them, wherever the match is


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gateway", "line 1"),
        ("a:12", "line 1"),
        ("a b:" + "0" * 64, "line 1"),
        ("\na:" + "0" * 64 + ":0", "rate of 0"),
        ("a:" + "0" * 64 + ",b:" + "0" * 64, "twice"),
    ],
)
def test_key_entries_that_are_not_valid(text: str, words: str) -> None:
    with pytest.raises(ServiceError, match=words) as error:
        parse_keys(text, "keys")
    assert "0" * 64 not in str(error.value)


def test_an_empty_key_file_does_not_open_the_service(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# nobody\n")
    with pytest.raises(ServiceError, match="no key"):
        Service(ServeConfig(keys_file=file))
    with pytest.raises(ServiceError, match="cannot be read"):
        Service(ServeConfig(keys_file=tmp_path / "none"))


def test_each_key_has_its_own_rate_limit(served: Run, tmp_path: Path) -> None:
    (slow, slow_entry), (fast, fast_entry) = create_key("slow"), create_key("fast")
    file = tmp_path / "keys"
    file.write_text(f"{slow_entry}:6\n{fast_entry}\n")

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        statuses = [(await raw(client, **{"X-API-Key": slow})).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        refused = await raw(client, **{"X-API-Key": slow})
        assert problem_of(refused)["type"].endswith("rate-limit")
        assert 1 <= int(refused.headers["retry-after"]) <= 10
        assert (await raw(client, **{"X-API-Key": fast})).status_code == 200

    served(test, keys_file=file, burst=3)


def test_the_rate_limit_lets_through_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("lentigo.serving.auth.time.monotonic", lambda: now[0])
    ring = Keyring([key := Key("a", "0" * 64)], [0.0] * 4096, 60.0, 10)

    def admitted(seconds: float) -> int:
        count = 0
        for _ in range(int(seconds * 20)):
            now[0] += 0.05
            try:
                ring.charge(key, 1)
                count += 1
            except Problem:
                pass
        return count

    assert admitted(30) == 10 + 30 - 1  # the burst, then one a second
    now[0] += 5
    for _ in range(3):
        # As many images as there is no allowance for are refused together, and cost nothing.
        with pytest.raises(Problem):
            ring.charge(key, 8)
    assert admitted(4) == 5 + 4


def test_keys_are_taken_up_when_the_file_changes(served: Run, tmp_path: Path) -> None:
    (first, first_entry), (second, second_entry) = create_key("first"), create_key("second")
    file = tmp_path / "keys"
    file.write_text(first_entry)

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.get("/v1/models", headers={"X-API-Key": second})).status_code == 401
        file.write_text(f"{second_entry}\n\n")
        for _ in range(100):
            await asyncio.sleep(0.02)
            if (await client.get("/v1/models", headers={"X-API-Key": second})).status_code == 200:
                break
        assert (await client.get("/v1/models", headers={"X-API-Key": first})).status_code == 401
        file.write_text("broken")
        await service.reload()
        assert (await client.get("/v1/models", headers={"X-API-Key": second})).status_code == 200

    served(test, keys_file=file, reload_s=0.05)


def test_the_audit_log_names_model_and_result_but_holds_neither_image_nor_answer(
    served: Run, tmp_path: Path, bundle: Path
) -> None:
    key, entry = create_key("ward")
    (tmp_path / "keys").write_text(entry)
    log = tmp_path / "audit.jsonl"

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        response = await client.post(
            "/v1/predict", files=[("image", ("Jane Doe.jpg", IMAGE, "image/jpeg"))] * 2, headers={"X-API-Key": key}
        )
        await raw(client, b"text", **{"X-API-Key": key})
        (line,) = [json.loads(text) for text in log.read_text().splitlines()]
        reply = response.json()
        assert line["request_id"] == reply["request_id"]
        assert line["model"] == reply["model"]
        assert line["key"] == "ward"
        assert line["results"] == [
            hashlib.sha256(json.dumps(p, ensure_ascii=False).encode()).hexdigest() for p in reply["predictions"]
        ]
        assert "Jane" not in log.read_text()
        log.unlink()
        log.mkdir()  # from now on it cannot be written
        refused = await raw(client, **{"X-API-Key": key})
        assert problem_of(refused)["type"].endswith("audit-failed")

    served(test, audit_log=log, keys_file=tmp_path / "keys")
    with pytest.raises(ServiceError, match="audit log"):
        Service(ServeConfig(models=(str(bundle),), audit_log=tmp_path / "none" / "audit"))


def test_logs_hold_ids_and_figures_but_nothing_personal(served: Run, caplog: pytest.LogCaptureFixture) -> None:
    from lentigo.serving.logs import JsonFormatter, TextFormatter

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        await client.post(
            "/v1/predict?top_k=3",
            files={"Jane": ("Jane Doe 1970.jpg", IMAGE, "image/jpeg")},
            headers={"X-Request-ID": "ward-7.00042"},
        )
        await client.get("/patients/Jane-Doe?name=Jane", headers={"X-Request-ID": "Jane Doe, with spaces"})

    logging.getLogger("lentigo.serving").propagate = True
    with caplog.at_level("INFO", logger="lentigo.serving"):
        served(test)
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert not any("Jane" in line or "Doe" in line or "127.0.0.1" in line for line in lines)
    requests = [json.loads(line) for line in lines if '"event": "request"' in line]
    # Another test's server may still log in this process.
    first = next(one for one in requests if one["request_id"] == "ward-7.00042")
    second = next(one for one in requests if one["route"] == "other")
    assert (first["route"], first["status"], first["images"]) == ("/v1/predict", 200, 1)
    assert len(second["request_id"]) == 16
    assert all("request_id=" in TextFormatter().format(r) for r in caplog.records if r.getMessage() == "request")


def test_images_never_reach_the_disk(served: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), dtype=np.uint8)
    large = png_bytes(Image.fromarray(noise))
    assert len(large) > 2_000_000  # far above the size at which form parsers turn to temporary files
    written: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3:
            written.append(str(arguments[0]))

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        nonlocal watching
        watching = True
        assert (await form(client, large, large)).status_code == 200
        assert (await raw(client, large)).status_code == 200
        watching = False

    watching = False
    sys.addaudithook(watch)
    served(test)
    assert written == []


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    for settings, words in (
        ({"port": 70000}, "port"),
        ({"workers": 0}, "workers"),
        ({"workers": 100_000}, "workers must be at most"),
        ({"decoders": 100_000}, "decoders must be at most"),
        ({"allowed_hosts": ("https://a.example",)}, "allowed_hosts takes names"),
        ({"allowed_hosts": ("*", "::1", "a.example", "a.example:80")}, "not 'a.example:80'"),
        ({"deadline_s": -1.0}, "deadline_s"),
        ({"max_files": 300}, "max_files"),
        ({"log_level": "infos"}, "did you mean 'info'"),
    ):
        with pytest.raises(ServiceError, match=words):
            ServeConfig(**settings)  # type: ignore[arg-type]


def test_two_models_of_one_name_are_refused(bundle: Path, tmp_path: Path) -> None:
    twin = tiny_bundle(tmp_path / "twin").path

    async def go() -> None:
        service = Service(ServeConfig(models=(str(bundle), str(twin))))
        async with service.running():
            async with asyncio.timeout(120):
                while service.failure is None:
                    await asyncio.sleep(0.02)
        assert "second model named 'tiny'" in str(service.failure)

    asyncio.run(go())


def test_every_problem_has_a_status_and_a_title() -> None:
    for kind, (status, title) in KINDS.items():
        document = Problem(kind, "x").document("id")
        assert 400 <= status < 600
        assert document == {
            "type": f"urn:lentigo:problem:{kind}",
            "title": title,
            "status": status,
            "detail": "x",
            "request_id": "id",
        }


# --- the phone app --------------------------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>app</title>")
    (folder / "sw.js").write_text("// worker")
    (folder / "assets" / "index-Bx81_k2a.js").write_text("plain")
    (folder / "assets" / "index-Bx81_k2a.js.br").write_bytes(b"brotli")
    (folder / "assets" / "index-Bx81_k2a.js.gz").write_bytes(b"gzip")
    (folder / "assets" / "ort-AbCdEf12.wasm").write_bytes(bytes(200_000))
    (folder / "manifest.webmanifest").write_text("{}")
    (folder / ".hidden").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    return folder


def test_the_app_is_handed_out(served: Run, built: Path) -> None:
    script = "/assets/index-Bx81_k2a.js"

    async def test(client: httpx.AsyncClient, service: Service) -> None:
        page = await client.get("/")
        assert page.text.startswith("<!doctype html><title>app")
        assert page.headers["cache-control"] == "no-cache"
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "script-src 'self' 'wasm-unsafe-eval'" in policy
        assert "unsafe-inline" not in policy
        assert "worker-src 'self' blob:" in policy
        assert page.headers["cross-origin-opener-policy"] == "same-origin"
        assert page.headers["cross-origin-embedder-policy"] == "require-corp"
        kept = await client.get(script, headers={"Accept-Encoding": "identity"})
        assert kept.text == "plain"
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert kept.headers["content-type"].startswith("text/javascript")
        for accepted, encoding in (
            ("gzip, deflate, br", "br"),
            ("gzip", "gzip"),
            ("br;q=0, gzip;q=0.5", "gzip"),
            ("deflate", ""),
        ):
            async with client.stream("GET", script, headers={"Accept-Encoding": accepted}) as packed:
                body = b"".join([piece async for piece in packed.aiter_raw()])
            assert packed.headers.get("content-encoding", "") == encoding
            assert body == {"br": b"brotli", "gzip": b"gzip", "": b"plain"}[encoding]
            assert packed.headers["vary"] == "Accept-Encoding"
        again = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        wasm = await client.get("/assets/ort-AbCdEf12.wasm")
        assert (len(wasm.content), wasm.headers["content-type"]) == (200_000, "application/wasm")
        head = await client.head("/assets/ort-AbCdEf12.wasm")
        assert (head.headers["content-length"], head.content) == ("200000", b"")
        assert (
            (await client.get("/manifest.webmanifest")).headers["content-type"].startswith("application/manifest+json")
        )
        assert (await client.get("/sw.js")).headers["cache-control"] == "no-cache"

    served(test, static=built)


@pytest.mark.parametrize(
    "path",
    ["/../outside.txt", "/%2e%2e/outside.txt", "/..%2foutside.txt", "/assets/../../outside.txt", "/link.txt",
     "/.hidden", "//etc/passwd",
     "/assets", "/assets/", "/index.html/", "/index.html%00", "/%5c..%5coutside.txt", "/assets/index-Bx81_k2a.js.br"],
)  # fmt: skip
def test_no_path_leads_out_of_the_app(served: Run, built: Path, path: str) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        response = await client.get(httpx.URL("http://localhost").copy_with(raw_path=path.encode()))
        assert response.status_code == 404
        assert "secret" not in response.text

    served(test, static=built)


def test_without_a_built_app_a_page_says_how_to_build_it(served: Run, tmp_path: Path) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        page = await client.get("/")
        assert page.status_code == 200
        assert "make app" in page.text
        assert (await client.get("/assets/x.js")).status_code == 404

    served(test, static=tmp_path / "none")


def test_the_app_alone_without_a_model(served: Run, built: Path) -> None:
    async def test(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        assert problem_of(await raw(client))["type"].endswith("unknown-model")

    served(test, static=built, models=())
