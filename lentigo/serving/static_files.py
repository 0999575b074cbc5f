"""Hands out the built phone app with the models in service, and nothing else that lies on the disk.

The files are listed once; a request is answered from that list or not at all, so no path can lead outside the folder.
``app.js`` beside ``app.js.br`` or ``app.js.gz`` is sent in the smallest form that the browser takes.
The models in service take the place of packaged ones of their names (`lentigo.serving.app_models`).
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import mimetypes
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import Response

from lentigo.bundle import Bundle
from lentigo.errors import BundleError
from lentigo.serving.app_models import overlay
from lentigo.serving.problems import Problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ENCODINGS = ((".br", b"br"), (".gz", b"gzip"))  # the smaller first
APP_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; style-src 'self'; font-src 'self'; manifest-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Threads in WebAssembly need a page that is isolated from other origins.
APP_HEADERS = (
    (b"content-security-policy", APP_POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=(), payment=(), usb=()"),
)
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".onnx": "application/octet-stream",
    ".woff2": "font/woff2",
    ".map": "application/json",
}
_HASHED = re.compile(r"[.-][A-Za-z0-9_-]{8,}\.[a-z0-9]+$")  # as Vite names what never changes
_CHUNK = 64 * 1024
_FOREVER, _CHECK = b"public, max-age=31536000, immutable", b"no-cache"

MISSING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>lentigo</title>
<meta name="viewport" content="width=device-width"></head>
<body><h1>lentigo</h1><p>The service is running, but the phone app has not been built. In the repository, run:</p>
<pre>make app</pre>
<p>The API is described at <a href="/openapi.json">/openapi.json</a>;
<a href="/readyz">/readyz</a> says whether the model is loaded.</p>
<p>Research use only, not a medical device.</p></body></html>
"""


@dataclass(slots=True)
class _Asset:
    path: Path | bytes  # or the content itself
    media: bytes
    cache: bytes
    forms: dict[bytes, Path] = field(default_factory=dict)
    tags: dict[bytes, bytes] = field(default_factory=dict)


class AppFiles:
    """The ASGI application behind every address that is not the API's.

    Args:
        folder: the built app; a page that says how to build it stands in where there is none.
        bundles: gives the models in service, the default first, as soon as they are loaded.
    """

    def __init__(self, folder: Path, bundles: Callable[[], Awaitable[Sequence[Bundle]]]) -> None:
        self._folder = folder
        self._assets = _list(folder)
        self._bundles = bundles
        self._shown: Sequence[Bundle] = ()
        self._models: Mapping[str, _Asset] = {}
        self._changing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or raise the problem that it is."""
        path = scope["path"]
        asset = self._assets.get("/index.html" if path == "/" else path)
        if self._assets and (path.startswith("/bundles/") or path == "/sw.js"):
            asset = await self._find_model(path, scope["query_string"]) or asset
        if asset is None and not (path == "/" and not self._assets):
            raise Problem("not-found", "nothing is at this address; the API is described at /openapi.json")
        scope["lentigo.route"] = "app"
        if scope["method"] != "GET":
            raise Problem("method-not-allowed", "use GET", headers={"Allow": "GET, HEAD"})
        if asset is None:
            missing = Response(MISSING, headers={"Cache-Control": "no-cache"}, media_type="text/html")
            missing.raw_headers += APP_HEADERS
            await missing(scope, receive, send)
            return
        await self._send(asset, scope, send)

    async def _find_model(self, path: str, query: bytes) -> _Asset | None:
        """A file that the models in service bring or change; None for one of the app as it was built."""
        bundles = await self._bundles()
        async with self._changing:
            if bundles != self._shown:
                try:
                    files = await asyncio.to_thread(overlay, self._folder, bundles)
                except BundleError:  # being replaced: the files in use stay until the new ones are in service
                    if not self._shown:
                        raise Problem(
                            "not-ready", "the model is being replaced", headers={"Retry-After": "1"}
                        ) from None
                else:
                    self._models = {
                        url: _Asset(data, _media(Path(url)), _CHECK, tags={b"": _tag(data)})
                        for url, data in files.items()
                    }
                    self._shown = bundles
        asset = self._models.get(path)
        if asset is None:
            return None
        digits = parse_qs(query.decode("latin-1")).get("v", [""])[0]  # the first of a checksum in the app's list
        if not asset.tags[b""].decode().startswith(f'"{digits}'):
            raise Problem("not-found", "the model has been replaced; load the page again")
        return asset

    async def _send(self, asset: _Asset, scope: Scope, send: Send) -> None:
        headers = dict(scope["headers"])
        encoding = _choose(asset, headers.get(b"accept-encoding", b""))
        path = asset.forms[encoding] if encoding else asset.path
        if encoding not in asset.tags:
            asset.tags[encoding] = await asyncio.to_thread(_tag, path)
        tag = asset.tags[encoding]
        common = [(b"etag", tag), (b"cache-control", asset.cache), (b"vary", b"Accept-Encoding"), *APP_HEADERS]
        if tag in [t.strip().removeprefix(b"W/") for t in headers.get(b"if-none-match", b"").split(b",")]:
            await send({"type": "http.response.start", "status": 304, "headers": common})
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            file = await asyncio.to_thread(_open, path)
        except OSError:
            raise Problem("not-found", "the app has been built anew; restart the service") from None
        with file:
            left = file.seek(0, io.SEEK_END)
            file.seek(0)
            start = [*common, (b"content-type", asset.media), (b"content-length", str(left).encode())]
            if encoding:
                start.append((b"content-encoding", encoding))
            await send({"type": "http.response.start", "status": 200, "headers": start})
            while left > _CHUNK:
                chunk = await asyncio.to_thread(file.read, _CHUNK)
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": await asyncio.to_thread(file.read, left)})


def _list(folder: Path) -> dict[str, _Asset]:
    if not (folder / "index.html").is_file():
        return {}
    files = {p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and not p.name.startswith(".")}
    assets: dict[str, _Asset] = {}
    for path in sorted(files):
        if path.suffix in dict(ENCODINGS) and path.with_suffix("") in files:
            continue
        url = "/" + path.relative_to(folder).as_posix()
        cache = _FOREVER if "assets" in path.relative_to(folder).parts[:-1] and _HASHED.search(path.name) else _CHECK
        asset = _Asset(path, _media(path), cache)
        for suffix, name in ENCODINGS:
            packed = path.with_name(path.name + suffix)
            if packed in files:
                asset.forms[name] = packed
        assets[url] = asset
    return assets


def _media(path: Path) -> bytes:
    media = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if media.startswith("text/") or media in ("application/json", "application/manifest+json", "image/svg+xml"):
        media += "; charset=utf-8"
    return media.encode()


def _choose(asset: _Asset, accepted: bytes) -> bytes:
    """The first packed form that the client takes; empty for the plain file."""
    if not asset.forms:
        return b""
    taken = set(_accepted(accepted))
    return next((name for _, name in ENCODINGS if name in asset.forms and name in taken), b"")


def _accepted(header: bytes) -> Iterable[bytes]:
    for entry in header.lower().split(b","):
        name, _, weight = entry.partition(b";")
        if weight.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"):
            yield name.strip()


def _open(path: Path | bytes) -> io.BufferedReader | io.BytesIO:
    return io.BytesIO(path) if isinstance(path, bytes) else path.open("rb")


def _tag(path: Path | bytes) -> bytes:
    with _open(path) as file:
        return b'"' + hashlib.file_digest(file, "sha256").hexdigest()[:32].encode() + b'"'
