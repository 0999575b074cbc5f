"""Bundles on the hub: pushed and loaded through a local server that speaks its API, damaged, moved, offline and
refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

pytest.importorskip("huggingface_hub")

import huggingface_hub.constants
import yaml
from tiny_bundle import tiny_bundle

import lentigo
from lentigo.bundle import SPEC, Bundle
from lentigo.cli import main
from lentigo.errors import BundleError, MissingExtraError, OutputError
from lentigo.inference import fetch_bundle, find_bundle, push_bundle
from lentigo.inference.hub import ADDRESS

EMPTY = "0" * 40


class Hub(ThreadingHTTPServer):
    """The part of the hub's API that models need: repositories, commits with LFS files, revisions, files."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.commits: dict[str, dict[str, bytes]] = {EMPTY: {}}
        self.refs: dict[str, dict[str, str]] = {}  # of each repository
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.refusal: tuple[int, str] | None = None
        self.after_info: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, repo: str, files: dict[str, bytes], ref: str = "main") -> str:
        parent = self.commits.get(self.refs[repo].get(ref, ""), {})
        merged = {**parent, **files}
        digest = hashlib.sha1(
            json.dumps({k: hashlib.sha1(v).hexdigest() for k, v in merged.items()}).encode()
        ).hexdigest()
        self.commits[digest] = merged
        self.refs[repo][ref] = digest
        return digest


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes | dict[str, Any], **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that a revision stands for, and its files; None after an answer that says no."""
        if self.server.refusal:
            status, code = self.server.refusal
            self.answer(status, {"error": code}, X_Error_Code=code)
        elif repo not in self.server.refs:
            self.answer(404, {"error": "no"}, X_Error_Code="RepoNotFound")
        else:
            sha = self.server.refs[repo].get(revision, revision)
            if sha in self.server.commits:
                return sha, self.server.commits[sha]
            self.answer(404, {"error": "no"}, X_Error_Code="RevisionNotFound")
        return None

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            repo, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
            found = self.files(repo, revision)
            if found:
                siblings = [{"rfilename": name, "size": len(content)} for name, content in found[1].items()]
                # Before the answer is sent: whoever has it may already be asking for the files.
                self.server.after_info()
                self.answer(200, {"id": repo, "modelId": repo, "sha": found[0], "siblings": siblings, "private": False})
            return
        if "resolve" not in parts:
            self.answer(404, {"error": "not spoken here"})
            return
        repo, revision, name = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        found = self.files(repo, revision)
        if found and name in found[1]:
            content = found[1][name]
            self.answer(200, content, X_Repo_Commit=found[0], ETag=f'"{hashlib.sha256(content).hexdigest()}"')
        elif found:
            self.answer(404, {"error": "no"}, X_Error_Code="EntryNotFound", X_Repo_Commit=found[0])

    def do_PUT(self) -> None:
        self.server.objects[self.path.rsplit("/", 1)[1]] = self.body()
        self.answer(200, {})

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self.body()
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if self.server.refusal:
            self.answer(self.server.refusal[0], {"error": self.server.refusal[1]})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            there = repo in self.server.refs
            self.server.refs.setdefault(repo, {"main": EMPTY})
            self.answer(409 if there else 200, {"url": f"{self.server.url}/{repo}"})
        elif path == "/api/validate-yaml":
            self.answer(200, {"warnings": [], "errors": []})
        elif "branch" in parts:
            refs = self.server.refs["/".join(parts[2:4])]
            refs.setdefault(parts[-1], refs["main"])
            self.answer(200, {})
        elif "preupload" in parts:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [
                {"uploadMode": "lfs" if name.endswith(".onnx") else "regular", "shouldIgnore": False} for name in names
            ]
            self.answer(200, {"files": [{"path": name, **mode} for name, mode in zip(names, modes, strict=True)]})
        elif path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            objects = [{**o, "actions": {"upload": {"href": f"{self.server.url}/lfs/{o['oid']}"}}} for o in wanted]
            self.answer(200, {"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json")
        else:
            self.take_commit("/".join(parts[2:4]), parts[-1], [json.loads(line) for line in body.splitlines()])

    def take_commit(self, repo: str, ref: str, lines: list[dict[str, Any]]) -> None:
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        files |= {
            line["value"]["path"]: self.server.objects[line["value"]["oid"]]
            for line in lines
            if line["key"] == "lfsFile"
        }
        sha = self.server.commit(repo, files, ref)
        self.answer(200, {"success": True, "commitOid": sha, "commitUrl": f"{self.server.url}/{repo}/commit/{sha}"})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A running server, with this process's library sent to it and given a cache of its own."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        server.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)  # another protocol, on another host
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")


def close(hub: Hub) -> None:
    """Nobody answers at the hub's address from now on."""
    hub.shutdown()
    hub.server_close()


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    return int(done.value.code or 0)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_bundle_comes_back_as_it_was_pushed(hub: Hub, bundle: Bundle) -> None:
    address = push_bundle(bundle, "someone/tiny")
    (sha,) = set(hub.refs["someone/tiny"].values())
    assert address == f"hf://someone/tiny@{sha}"
    assert {name: content for name, content in hub.commits[sha].items() if name != "README.md"} == files_of(bundle.path)

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = lentigo.load(bundle.path).predict(pixels).probabilities.tolist()
    for name in ("hf://someone/tiny", address, "hf:/someone/tiny"):  # the last as a path writes it
        assert lentigo.load(name).predict(pixels).probabilities.tolist() == expected


def test_the_card_has_the_metadata_block_of_the_hub(hub: Hub, bundle: Bundle) -> None:
    push_bundle(bundle, "someone/tiny")
    _, block, text = hub.commits[hub.refs["someone/tiny"]["main"]]["README.md"].decode().split("---\n", 2)
    data = yaml.safe_load(block)
    assert (data["library_name"], data["pipeline_tag"]) == ("lentigo", "image-classification")
    assert data["license"]
    assert data["model-index"][0]["name"] == "tiny"
    assert bundle.card in text
    assert 'lentigo.load("hf://someone/tiny")' in text
    assert "not a medical device" in text


def test_a_commit_is_pinned_and_a_branch_moves(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    first = push_bundle(bundle, "someone/tiny", revision="stable")
    assert fetch_bundle("hf://someone/tiny@stable").spec == bundle.spec
    newer = tiny_bundle(tmp_path / "newer", seed=1)
    second = push_bundle(newer, "someone/tiny", revision="stable")
    assert first != second
    assert fetch_bundle("hf://someone/tiny@stable").spec == newer.spec
    assert fetch_bundle(first).spec == bundle.spec
    assert fetch_bundle(second).spec == newer.spec


def test_a_revision_that_moves_while_it_is_read_is_refused(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    push_bundle(bundle, "someone/tiny")
    newer = tiny_bundle(tmp_path / "newer", seed=1)
    hub.after_info = lambda: hub.commit("someone/tiny", files_of(newer.path)) and None
    with pytest.raises(BundleError, match="changed while it was read"):
        fetch_bundle("hf://someone/tiny")
    hub.after_info = lambda: None
    assert fetch_bundle("hf://someone/tiny").spec == newer.spec


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "MODEL_CARD.md", SPEC])
def test_a_damaged_upload_is_refused_however_often_it_is_fetched(hub: Hub, bundle: Bundle, name: str) -> None:
    push_bundle(bundle, "someone/tiny")
    whole = files_of(bundle.path)[name]
    address = f"hf://someone/tiny@{hub.commit('someone/tiny', {name: whole[: len(whole) // 2]})}"
    for _ in range(2):
        with pytest.raises(BundleError, match=r"damaged|cannot be read as JSON"):
            fetch_bundle(address)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_damaged_copy_in_the_cache_is_fetched_again(hub: Hub, bundle: Bundle, pinned: bool) -> None:
    address = push_bundle(bundle, "someone/tiny")
    address = address if pinned else "hf://someone/tiny"
    copy = fetch_bundle(address)
    copy.model.resolve().write_bytes(b"torn")
    assert fetch_bundle(address).read("model.onnx") == bundle.read("model.onnx")
    close(hub)
    copy.model.resolve().write_bytes(b"torn")
    with pytest.raises(BundleError, match="damaged"), pytest.warns(UserWarning, match="cannot be reached"):
        fetch_bundle(address)


def test_what_is_in_the_cache_needs_no_hub(hub: Hub, bundle: Bundle) -> None:
    address = push_bundle(bundle, "someone/tiny")
    fetch_bundle("hf://someone/tiny")
    asked = len(hub.requests)
    assert fetch_bundle(address).spec == bundle.spec
    assert len(hub.requests) == asked, "a commit in the cache is looked up"
    close(hub)
    assert fetch_bundle(address).spec == bundle.spec
    with pytest.warns(UserWarning, match=r"cannot be reached; its copy in the cache is used, commit [0-9a-f]{12}"):
        assert fetch_bundle("hf://someone/tiny").spec == bundle.spec
    with pytest.raises(BundleError, match="cannot be reached and is not in the cache"):
        fetch_bundle("hf://someone/other")


def test_a_hub_that_says_no_is_believed(hub: Hub, bundle: Bundle) -> None:
    push_bundle(bundle, "someone/tiny")
    fetch_bundle("hf://someone/tiny")
    with pytest.raises(BundleError, match="no such repository, or it is private"):
        fetch_bundle("hf://someone/other")
    with pytest.raises(BundleError, match="no such revision"):
        fetch_bundle("hf://someone/tiny@v9")
    hub.commit("someone/tiny", {})
    hub.refs["someone/empty"] = {"main": EMPTY}
    with pytest.raises(BundleError, match="no bundle there"):
        fetch_bundle("hf://someone/empty")
    hub.refusal = (403, "GatedRepo")
    with pytest.raises(BundleError, match="access must be asked for"):
        fetch_bundle("hf://someone/tiny")
    with pytest.raises(OutputError, match="cannot be written"):
        push_bundle(bundle, "someone/tiny")


def test_a_file_that_is_too_large_is_not_fetched(hub: Hub, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    push_bundle(bundle, "someone/tiny")
    monkeypatch.setattr("lentigo.inference.hub.MAX_MODEL", 10)
    with pytest.raises(BundleError, match=r"model.onnx is larger than"):
        fetch_bundle("hf://someone/tiny")
    assert not any("/resolve/" in path for path in hub.requests)


@pytest.mark.parametrize("address", ["hf://tiny", "hf://a/b/c", "hf://a/b@", "hf://", "hf://a/b c", "hf://a/../b"])
def test_what_is_no_address_is_told(address: str) -> None:
    assert not ADDRESS.fullmatch(address)
    with pytest.raises(BundleError, match="such as hf://USER/NAME"):
        find_bundle(address)


def test_the_library_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lentigo\[hub\]'"):
        find_bundle("hf://someone/tiny")


def test_push_and_load_on_the_command_line(
    hub: Hub, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("push", "someone/tiny", str(bundle.path)) == 0
    address = capsys.readouterr().out.split()[-1]
    surroundings = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "lentigo", "card", address]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, bundle.card.strip()), done.stderr
    assert run("push", "nobody", str(bundle.path)) == 2
    assert "such as hf://USER/NAME" in capsys.readouterr().err
    assert run("card", "hf://someone/gone") == 2
    assert capsys.readouterr().err.count("\n") == 1
