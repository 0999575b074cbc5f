"""The models in service, as files of the phone app: it lists them before the packaged ones and opens with the first.

Their list (``bundles/index.json``) and the service worker are made anew, and their files are held in memory as they
were verified: a bundle that is replaced on the disk changes nothing for a page until the service has taken it up.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lentigo.bundle import GOLDEN, MAX_TEXT, SPEC, Bundle, Spec
from lentigo.errors import BundleError
from lentigo.files import read_regular

INDEX = "bundles/index.json"
_PRECACHE = re.compile(r"\Aconst PRECACHE = (\{.*\});$", re.MULTILINE)  # as app/build/service_worker.mjs writes it


def overlay(static: Path, bundles: Sequence[Bundle]) -> dict[str, bytes]:
    """The files that differ from those of the built app, by their addresses.

    Args:
        static: the built app.
        bundles: the models in service, the default first; one of a packaged model's name takes its place.

    Raises:
        BundleError: a bundle is being replaced.
    """
    try:
        index = json.loads((static / INDEX).read_bytes())
    except FileNotFoundError:
        return {}
    packaged = {entry["name"]: entry for entry in index["bundles"]}
    entries: dict[str, dict[str, Any]] = {}
    files: dict[str, bytes] = {}
    for bundle in bundles:
        content = _read(bundle)
        entry = _entry(bundle.spec, content)
        name = entry["name"]
        if packaged.get(name, {}).get("specDigest") == entry["specDigest"]:
            entries[name] = packaged[name]
            continue
        entries[name] = entry
        files |= {f"/bundles/{name}/{file}": data for file, data in content.items()}
    first = next(iter(entries.values()), None)
    if first is None or (not files and first["name"] == index["default"]):
        return {}
    listed = {"default": first["name"], "chosen": True, "bundles": list({**entries, **packaged, **entries}.values())}
    files[f"/{INDEX}"] = json.dumps(listed, ensure_ascii=False, indent=1).encode()
    worker = static / "sw.js"
    if worker.is_file():
        files["/sw.js"] = _service_worker(worker.read_text(encoding="utf-8"), first, files[f"/{INDEX}"]).encode()
    return files


def _read(bundle: Bundle) -> dict[str, bytes]:
    try:
        text = read_regular(bundle.path / SPEC, MAX_TEXT)
        if Spec.model_validate_json(text) != bundle.spec:
            raise BundleError(f"{bundle.path}: has been replaced")
    except (OSError, ValueError):
        raise BundleError(f"{bundle.path}: is being replaced") from None
    return {SPEC: text, **{name: bundle.read(name) for name in bundle.spec.files}}


def _entry(spec: Spec, content: Mapping[str, bytes]) -> dict[str, Any]:
    """What the list holds of a bundle; see app/build/bundles.mjs."""
    labels = json.loads(content[SPEC])["classes"]  # as written: a name that is not there stays away
    return {
        "name": spec.name,
        "title": spec.title,
        "version": spec.version,
        "domain": spec.domain,
        "weights": spec.weights,
        "classes": [{key: label[key] for key in ("en", "zh", "names") if key in label} for label in labels],
        "bytes": sum(len(data) for name, data in content.items() if name != SPEC),
        "specDigest": hashlib.sha256(content[SPEC]).hexdigest(),
        "files": spec.files,
        "own": True,
    }


def _service_worker(code: str, first: Mapping[str, Any], index: bytes) -> str:
    """The service worker that keeps the first model for use without a network, in the place of the packaged default."""
    found = _PRECACHE.match(code)
    if found is None:
        return code
    kept = json.loads(found[1])
    digests = {SPEC: first["specDigest"], **first["files"]}
    kept["files"] = [
        file for file in kept["files"] if file["url"] == INDEX or not file["url"].startswith("bundles/")
    ] + [
        {"url": f"bundles/{first['name']}/{name}?v={digest[:12]}", "pinned": True}
        for name, digest in digests.items()
        if name != GOLDEN
    ]
    kept["version"] = hashlib.sha256(kept["version"].encode() + index).hexdigest()[:16]
    return f"const PRECACHE = {json.dumps(kept)};{code[found.end() :]}"
