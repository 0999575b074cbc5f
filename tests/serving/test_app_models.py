"""The phone app as it is handed out with models of one's own: listed first, verified, replaced while pages are open."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from serving_tools import application, running
from tiny_bundle import tiny_bundle

from lentigo.bundle import Bundle
from lentigo.serving.app_models import overlay

DIGEST = "0" * 64


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """An app as `make app` builds it, with two packaged models."""
    folder = tmp_path / "static"
    (folder / "bundles/first").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>app")
    (folder / "bundles/first/model.onnx").write_bytes(b"packaged")
    facts = {"version": "1", "domain": "dermoscopy", "weights": "fp32", "classes": [], "bytes": 1, "specDigest": DIGEST}
    entries = [{"name": name, "title": name, **facts, "files": {"model.onnx": DIGEST}} for name in ("first", "second")]
    (folder / "bundles/index.json").write_text(json.dumps({"default": "first", "bundles": entries}))
    files = [{"url": url, "pinned": False} for url in ("./", "bundles/index.json")]
    files += [{"url": f"bundles/first/model.onnx?v={DIGEST[:12]}", "pinned": True}]
    (folder / "sw.js").write_text(
        f"const PRECACHE = {json.dumps({'version': 'v1', 'files': files})};\nconst CODE = PRECACHE;\n"
    )
    return folder


def mine(folder: Path, **options: Any) -> Bundle:
    return tiny_bundle(folder, size=32, cam=False, **options)


def test_own_models_come_first_and_are_handed_out_as_verified(tmp_path: Path, static: Path) -> None:
    bundles = [
        mine(tmp_path / "a", name="mine", classes=3),
        mine(tmp_path / "b", name="second", seed=1),
    ]  # one of a packaged one's name

    async def test() -> None:
        settings = {"static": static, "models": tuple(str(bundle.path) for bundle in bundles), "reload_s": 0}
        async with application(**settings) as (client, service):
            index = (await client.get("/bundles/index.json")).json()
            assert (index["default"], index["chosen"]) == ("mine", True)
            assert [(entry["name"], entry.get("own", False)) for entry in index["bundles"]] == [
                ("mine", True), ("second", True), ("first", False)
            ]  # fmt: skip
            entry = index["bundles"][0]
            assert (entry["title"], entry["domain"], len(entry["classes"])) == ("Tiny test network", "phantom", 3)
            for name, digest in {"spec.json": entry["specDigest"], **entry["files"]}.items():
                file = await client.get(f"/bundles/mine/{name}?v={digest[:12]}")
                assert hashlib.sha256(file.content).hexdigest() == digest
                assert file.headers["cache-control"] == "no-cache"
            kept = json.loads(re.match(r"const PRECACHE = (.*);\nconst CODE", (await client.get("/sw.js")).text)[1])  # type: ignore[index]
            assert [file["url"] for file in kept["files"]] == [
                "./", "bundles/index.json", f"bundles/mine/spec.json?v={entry['specDigest'][:12]}",
                *(f"bundles/mine/{name}?v={entry['files'][name][:12]}" for name in ("MODEL_CARD.md", "model.onnx")),
            ]  # fmt: skip
            assert kept["version"] != "v1"
            assert (await client.get("/bundles/first/model.onnx")).content == b"packaged"
            for path in ("/bundles/mine/spec.json?v=0123", "/bundles/mine/weights.npz", "/bundles/mine/"):
                assert (await client.get(path)).status_code == 404

            old = await client.get("/bundles/mine/model.onnx")
            mine(bundles[0].path, name="mine", classes=3, seed=7)
            assert (await client.get("/bundles/mine/model.onnx")).content == old.content  # what the list still tells
            await service.manager.reload()
            assert (
                (await client.get("/bundles/mine/model.onnx")).content == bundles[0].model.read_bytes() != old.content
            )
            assert (await client.get("/sw.js")).text.count(
                kept["version"]
            ) == 0  # browsers fetch the new one for offline use
            assert (
                await client.get(f"/bundles/mine/model.onnx?v={entry['files']['model.onnx'][:12]}")
            ).status_code == 404

    asyncio.run(test())


def test_packaged_models_in_service_change_no_more_than_the_order(tmp_path: Path, static: Path) -> None:
    bundle = mine(tmp_path / "a", name="second")
    index = json.loads((static / "bundles/index.json").read_text())
    spec = (bundle.path / "spec.json").read_bytes()
    index["bundles"][1] |= {"specDigest": hashlib.sha256(spec).hexdigest(), "files": bundle.spec.files}
    (static / "bundles/index.json").write_text(json.dumps(index))
    changed = overlay(static, [bundle])
    assert set(changed) == {"/bundles/index.json", "/sw.js"}
    listed = json.loads(changed["/bundles/index.json"])
    assert (listed["default"], listed["bundles"]) == ("second", index["bundles"][::-1])
    assert f"bundles/second/model.onnx?v={bundle.spec.files['model.onnx'][:12]}" in changed["/sw.js"].decode()
    (static / "bundles/index.json").write_text(json.dumps(index | {"default": "second"}))
    assert overlay(static, [bundle]) == {}  # as it was built
    assert overlay(static, []) == {}


def test_a_model_that_hides_a_packaged_one_is_told(tmp_path: Path, static: Path) -> None:
    bundle = mine(tmp_path / "a", name="isic-3")
    with running(tmp_path, ready=False, static=static, models=(str(bundle.path),)) as server:
        (told,) = server.events("takes the place of the packaged model of its name")
        assert (told["level"], told["model"]) == ("warning", "isic-3")
