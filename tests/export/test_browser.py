"""The browser's side of the parity gate: with the real Chromium where there is one, and with programs that stand in for
it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from tiny_bundle import tiny_bundle

from lentigo.bundle import Bundle
from lentigo.errors import BundleError
from lentigo.export import check_parity
from lentigo.export.browser import CHROMIUM, QUANTITIES, BrowserCase, BrowserUnavailableError, run_browser
from lentigo.serving.config import STATIC

PROGRAM = """#!{python}
import json, re, sys, urllib.request
url = sys.argv[-1]
def get(name):
    return urllib.request.urlopen(url + name).read().decode()
script = get("page.js")
assert "page.js" in get("")
spec = json.loads(get("bundle/spec.json"))
worker = re.search(r'assets/(worker-[^"]*)', script)[1]
assert get("assets/" + worker) == "worker"
{answer}
"""
ANSWER = """
found = {found}
urllib.request.urlopen(urllib.request.Request(url + "result", data=json.dumps(found).encode()))
import time; time.sleep(60)
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "tiny", size=32)


@pytest.fixture
def static(tmp_path: Path) -> Path:
    (tmp_path / "static/assets").mkdir(parents=True)
    (tmp_path / "static/assets/worker-abc.js").write_text("worker")
    return tmp_path / "static"


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    program = folder / "browser"
    program.write_text(PROGRAM.format(python=sys.executable, answer=answer))
    program.chmod(0o755)
    monkeypatch.setenv(CHROMIUM, str(program))


def test_the_answers_of_the_page_come_back(
    tmp_path: Path, bundle: Bundle, static: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = {"name": "blob", **dict.fromkeys(QUANTITIES, 0.25), "cam": None, "passed": False}
    stand_in(
        tmp_path,
        monkeypatch,
        ANSWER.format(found=f"json.loads({json.dumps({'id': 1, 'ok': True, 'value': [case]})!r})"),
    )
    (found,) = run_browser(bundle, static=static)
    assert found.name == "blob"
    assert found.differences == {**dict.fromkeys(QUANTITIES, 0.25), "cam": float("inf")}  # JSON has no infinity


@pytest.mark.parametrize(
    ("key", "is_the_bundles_fault"),
    [("modelUnloadable", True), ("goldenInvalid", True), ("wasmBlocked", False), ("bundleNewer", False)],
)
def test_a_bundle_that_the_browser_cannot_open(
    tmp_path: Path, bundle: Bundle, static: Path, monkeypatch: pytest.MonkeyPatch, key: str, is_the_bundles_fault: bool
) -> None:
    stand_in(
        tmp_path,
        monkeypatch,
        ANSWER.format(found={"ok": False, "error": {"key": key, "params": {"detail": "because"}}}),
    )
    if is_the_bundles_fault:
        (found,) = run_browser(bundle, static=static)
        assert found.differences == {"answer": float("inf")}
        assert "because" in found.name
    else:
        with pytest.raises(BrowserUnavailableError, match="because"):
            run_browser(bundle, static=static)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("sys.exit('no display')", r"ended at once \(no display\)"),
        ("import time; time.sleep(60)", "no answer from Chromium within 2 s"),
    ],
)
def test_a_browser_that_does_not_answer(
    tmp_path: Path, bundle: Bundle, static: Path, monkeypatch: pytest.MonkeyPatch, answer: str, says: str
) -> None:
    stand_in(tmp_path, monkeypatch, answer)
    with pytest.raises(BrowserUnavailableError, match=says):
        run_browser(bundle, static=static, seconds=2.0)


def test_no_browser_is_said_or_refused(
    bundle: Bundle, static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHROMIUM, str(tmp_path / "nothing"))
    report = check_parity(bundle)
    assert report.passed
    assert "no Chromium at" in report.skipped["browser"]
    assert "browser      not checked: no Chromium at" in str(report)
    with pytest.raises(BundleError, match="cannot be checked in a browser: no Chromium at"):
        check_parity(bundle, browser=True)
    assert check_parity(bundle, browser=False).skipped["browser"] == "not asked for"
    monkeypatch.setenv(CHROMIUM, sys.executable)
    (static / "assets/worker-abc.js").unlink()
    with pytest.raises(BrowserUnavailableError, match="no built app"):
        run_browser(bundle, static=static)


def test_a_browser_that_differs_fails_the_gate(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from lentigo.export import parity

    case = BrowserCase("blob", {"pixels": 1.0, "logits": 2e-3})
    monkeypatch.setattr(parity, "run_browser", lambda _: [case])
    report = check_parity(bundle)
    assert [(d.runtime, d.case, d.quantity) for d in report.failures] == [("browser", "blob", "logits")]


def test_the_built_app_in_chromium_gives_the_golden_answers(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.environ.get(CHROMIUM) == "none":
        monkeypatch.delenv(CHROMIUM)
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))) or not list(
        STATIC.glob("assets/worker-*.js")
    ):
        pytest.skip("no Chromium here, or the app is not built (make app)")
    cases = run_browser(bundle)
    assert [case.name for case in cases] == [case["name"] for case in bundle.golden["cases"]]
    for case in cases:
        assert case.differences["pixels"] <= 1
        assert all(value < 1e-3 for quantity, value in case.differences.items() if quantity != "pixels")
    assert check_parity(bundle, browser=True).passed
