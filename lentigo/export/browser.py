"""The browser part of the parity gate: the built app's worker, in Chromium, on a bundle's golden vectors.

A page on a loopback address starts the worker as the app does. The worker opens the bundle and runs its golden vectors,
and the page posts the differences to this process. Only Chromium and the built app are needed, no Node and no driver.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

from lentigo.bundle import SPEC, Bundle
from lentigo.serving.config import STATIC

CHROMIUM = "LENTIGO_CHROMIUM"
"""Environment variable: path of Chromium, or ``none`` to skip the browser."""
QUANTITIES = ("pixels", "logits", "probabilities", "embedding", "cam", "atypicality", "modality", "quality")

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TYPES = {
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
}
_FLAGS = (
    "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--no-default-browser-check", "--mute-audio",
)  # fmt: skip
_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'"
_PAGE = (
    '<!doctype html><meta charset="utf-8"><title>lentigo parity</title><script type="module" src="page.js"></script>'
)
_SCRIPT = """
const worker = new Worker("assets/WORKER", { type: "module" });
const waiting = new Map();
const tell = (found) => fetch("result", { method: "POST", body: JSON.stringify(found) });
worker.addEventListener("error", ({ message }) =>
  tell({ ok: false, error: { key: "workerFailed", params: { detail: message } } }),
);
worker.addEventListener("message", ({ data }) => waiting.get(data.id)(data));
const call = (id, name, request) =>
  new Promise((resolve) => {
    waiting.set(id, resolve);
    worker.postMessage({ id, name, request });
  });
const base = new URL("bundle/", location.href).href;
const opened = await call(0, "open", { kind: "url", base, digests: DIGESTS });
await tell(opened.ok ? await call(1, "check", null) : opened);
"""
# Errors of this machine or of the built app, not of the bundle.
_NOT_THE_BUNDLE = {
    "wasmMissing", "wasmBlocked", "runtimeUnreachable", "canvasBlocked", "canvasUnavailable", "workerFailed",
    "workerEnded", "unexpected",
    "bundleUnreachable", "bundleNewer", "bundleInvalid",
}  # fmt: skip


class BrowserUnavailableError(Exception):
    """The browser check cannot run here; the message gives the reason."""


@dataclass(frozen=True)
class BrowserCase:
    """The largest differences of one golden case in the browser, as ``Difference`` defines them.

    Attributes:
        name: the case's name; for a bundle that the browser cannot open, the reason.
        differences: largest difference by quantity; infinite for another shape, an output that is not finite, or a
            bundle that cannot be opened.
    """

    name: str
    differences: dict[str, float]


def run_browser(bundle: Bundle, *, static: Path = STATIC, seconds: float = 120.0) -> list[BrowserCase]:
    """Check a bundle by the built app's worker in Chromium.

    Args:
        bundle: the bundle.
        static: folder of the built app.
        seconds: time limit.

    Returns:
        One item per golden case.

    Raises:
        BrowserUnavailableError: there is no Chromium or no built app, the app is too old for this bundle, or the time
            limit is exceeded.
    """
    program = _chromium()
    workers = sorted(static.glob("assets/worker-*.js"))
    if len(workers) != 1:
        raise BrowserUnavailableError("no built app (make app)")
    digests = {**bundle.spec.files, SPEC: hashlib.sha256((bundle.path / SPEC).read_bytes()).hexdigest()}
    script = _SCRIPT.replace("WORKER", workers[0].name).replace("DIGESTS", json.dumps(digests))
    pages: dict[str, bytes | Path] = {"": _PAGE.encode(), "page.js": script.encode()}
    pages |= {f"assets/{path.name}": path for path in static.glob("assets/*")}
    pages |= {f"bundle/{name}": bundle.path / name for name in (SPEC, *bundle.spec.files)}
    with _serving(pages) as (url, inbox):
        found = _visit(program, url, inbox, seconds)
    return _cases(found)


def _chromium() -> str:
    given = os.environ.get(CHROMIUM, "")
    if given == "none":
        raise BrowserUnavailableError(f"left out ({CHROMIUM}=none)")
    found = shutil.which(given) if given else next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise BrowserUnavailableError(
            f"no Chromium at {given} ({CHROMIUM})" if given else f"no Chromium ({CHROMIUM} can name one)"
        )
    return found


class _Handler(BaseHTTPRequestHandler):
    """Serve a fixed set of pages below a secret path, and receive one result."""

    def __init__(self, pages: dict[str, bytes | Path], secret: str, inbox: Queue[bytes], *rest: Any) -> None:
        self._pages, self._secret, self._inbox = pages, secret, inbox
        super().__init__(*rest)

    def do_GET(self) -> None:
        name = self._page()
        page = None if name is None else self._pages.get(name)
        if name is None or page is None:
            self.send_error(404)
            return
        content = page if isinstance(page, bytes) else page.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", _TYPES.get(Path(name or "index.html").suffix, "application/octet-stream"))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        if self._page() != "result":
            self.send_error(404)
            return
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.end_headers()
        self._inbox.put(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _page(self) -> str | None:
        path = self.path.partition("?")[0]
        start = f"/{self._secret}/"
        return path[len(start) :] if path.startswith(start) else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that the ended browser leaves open."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def _serving(pages: dict[str, bytes | Path]) -> Iterator[tuple[str, Queue[bytes]]]:
    inbox: Queue[bytes] = Queue()
    secret = secrets.token_urlsafe(16)
    server = _Server(("127.0.0.1", 0), partial(_Handler, pages, secret, inbox))
    thread = threading.Thread(target=server.serve_forever, name="parity", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{secret}/", inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _visit(program: str, url: str, inbox: Queue[bytes], seconds: float) -> dict[str, Any]:
    """Open the page until its result arrives."""
    flags = list(_FLAGS)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's sandbox does not work for root, as in most containers
    with tempfile.TemporaryDirectory(prefix="lentigo-chromium-", ignore_cleanup_errors=True) as folder:
        with Path(folder, "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [program, *flags, f"--user-data-dir={folder}/profile", url],
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
        try:
            end = time.monotonic() + seconds
            while inbox.empty():
                if process.poll() is not None:
                    said = Path(folder, "stderr").read_text(errors="replace").strip().splitlines()
                    raise BrowserUnavailableError(
                        f"Chromium ended at once ({said[-1][:200] if said else f'exit {process.returncode}'})"
                    )
                if time.monotonic() > end:
                    raise BrowserUnavailableError(f"no answer from Chromium within {seconds:g} s")
                time.sleep(0.1)
        finally:
            _end(process)
    found: dict[str, Any] = json.loads(inbox.get())
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Chromium with all its processes."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, ProcessLookupError):  # no process groups on Windows
        process.kill()
    process.wait()


def _cases(found: dict[str, Any]) -> list[BrowserCase]:
    if not found["ok"]:
        error = found["error"]
        key = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(error["key"])).lower()
        detail = ", ".join(str(value) for value in error.get("params", {}).values())
        why = f"{key} ({detail})" if detail else key
        if error["key"] in _NOT_THE_BUNDLE:
            raise BrowserUnavailableError(
                f"the built app answers: {why}; if it is older than this lentigo, build it again (make app)"
            )
        return [BrowserCase(why[:120], {"answer": float("inf")})]
    # JSON has no infinity: the worker writes null for an infinite difference.
    return [
        BrowserCase(
            str(one["name"]), {q: float("inf") if one[q] is None else float(one[q]) for q in QUANTITIES if q in one}
        )
        for one in found["value"]
    ]
