"""What FastAPI cannot generate of the description: problems have a media type of their own, and bodies are no JSON."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from lentigo import NOTICE
from lentigo.serving.limits import TEXT_LENGTH
from lentigo.serving.problems import KINDS, MEDIA_TYPE, Problem
from lentigo.serving.schemas import ProblemDocument

DESCRIPTION = f"Classifies skin-lesion images. {NOTICE} Errors are problem documents (RFC 9457)."
OPEN: dict[str, Any] = {"security": [{}]}
"""Beside the ways to send a key: none, where the service has no keys."""
_RAW = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif", "application/octet-stream")
ALWAYS = ("bad-request", "too-slow", "misdirected", "head-too-large", "internal", "too-many-connections")
PREDICT_PROBLEMS = (
    *ALWAYS, "bad-multipart", "incomplete-body", "unauthorised", "unknown-model", "body-too-large", "image-too-large",
    "too-many-files",
    "unsupported-type", "not-an-image", "invalid-options", "no-image", "damaged-image", "no-heatmap", "rate-limit",
    "queue-full",
    "not-ready", "audit-failed", "deadline",
)  # fmt: skip


def responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The problems that a route can answer with, for OpenAPI."""
    by_status: dict[int, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind][0], []).append(kind)
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    found: dict[int | str, dict[str, Any]] = {}
    for status, names in sorted(by_status.items()):
        examples = {
            name: {"value": Problem(name, KINDS[name][1].lower()).document("5f0c7c3a9b1de824")} for name in names
        }
        content = {MEDIA_TYPE: {"schema": schema, "examples": examples}}
        found[status] = {"description": "; ".join(KINDS[name][1] for name in names), "content": content}
        if status in (429, 503, 504):
            found[status]["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            }
    return found


def predict_body() -> dict[str, Any]:
    """The body of a predict request, for OpenAPI."""
    binary = {"type": "string", "format": "binary"}
    content: dict[str, Any] = {media: {"schema": {**binary, "description": "One encoded image."}} for media in _RAW}
    form = {
        "type": "object",
        "properties": {
            "image": {"type": "array", "items": binary, "minItems": 1, "description": "One part an image."},
            "lesion": {
                "type": ["string", "null"],
                "maxLength": TEXT_LENGTH,
                "description": (
                    "Name of the lesion that the images show; repeated, one for each image in their order. "
                    "`lesions` in the reply then holds one answer a lesion. An image whose name is empty, or says that "
                    "none is known (null, none, unknown, ...), stands alone."
                ),
            },
        },
        "required": ["image"],
    }
    content["multipart/form-data"] = {"schema": form, "encoding": {"image": {"contentType": ", ".join(_RAW)}}}
    return {"requestBody": {"required": True, "content": content}, **OPEN}


_made: dict[str, Any] = {}


def describe_problems(app: FastAPI) -> None:
    """Add the schema of a problem document, which the responses refer to.

    The description is the same for all applications of a process and made once, which takes 0.3 s.
    """
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if not _made:
            problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            description = made()
            description.setdefault("components", {}).setdefault("schemas", {}).setdefault("ProblemDocument", problem)
            _made.update(description)
        return _made

    app.openapi = openapi  # type: ignore[method-assign]
