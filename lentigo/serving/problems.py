"""Typed errors over HTTP: RFC 9457 problem details, every kind in one table."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:lentigo:problem:"

KINDS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request is not valid HTTP"),
    "bad-multipart": (400, "The multipart body is malformed"),
    "incomplete-body": (400, "The body ended early"),
    "unauthorised": (401, "An API key is needed"),
    "not-found": (404, "Nothing is here"),
    "unknown-model": (404, "No such model"),
    "method-not-allowed": (405, "This address takes other methods"),
    "too-slow": (408, "The request did not arrive in time"),
    "body-too-large": (413, "The body is too large"),
    "image-too-large": (413, "The image costs too much to decode"),
    "too-many-files": (413, "Too many images in one request"),
    "unsupported-type": (415, "This content type is not taken"),
    "not-an-image": (415, "The content is not an image of a known format"),
    "misdirected": (421, "This host name is not served"),
    "invalid-options": (422, "The options are not valid"),
    "no-image": (422, "The request holds no image"),
    "damaged-image": (422, "The image is damaged"),
    "no-heatmap": (422, "The model has no heat maps"),
    "rate-limit": (429, "This key sends too much"),
    "queue-full": (429, "The service is busy"),
    "head-too-large": (431, "The request head is too large"),
    "internal": (500, "The service failed"),
    "not-ready": (503, "The model is not loaded yet"),
    "too-many-connections": (503, "Too many connections are open"),
    "audit-failed": (503, "The audit log cannot be written"),
    "deadline": (504, "The answer took too long"),
}


class Problem(Exception):  # noqa: N818  (the RFC's own word)
    """An error that becomes a problem document.

    Args:
        kind: a key of `KINDS`.
        detail: what was wrong and what would be right; never repeats content of the request.
        headers: further response headers.
        extra: further members of the document.
    """

    def __init__(
        self, kind: str, detail: str, *, headers: dict[str, str] | None = None, extra: dict[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = KINDS[kind]
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra or {}

    def document(self, request_id: str | None = None) -> dict[str, Any]:
        """The members of RFC 9457, plus the request's id and what the kind adds."""
        members = {"type": PREFIX + self.kind, "title": self.title, "status": self.status, "detail": self.detail}
        if request_id is not None:
            members["request_id"] = request_id
        return members | self.extra

    def response(self, request_id: str | None = None) -> Response:
        """The HTTP response."""
        content = json.dumps(self.document(request_id), ensure_ascii=False).encode()
        return Response(content, self.status, headers=self.headers, media_type=MEDIA_TYPE)

    def wire(self, request_id: str | None = None) -> bytes:
        """A whole HTTP/1.1 response as bytes, for where no application answers."""
        content = json.dumps(self.document(request_id)).encode()
        head = (
            f"HTTP/1.1 {self.status} {self.title}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
            "x-content-type-options: nosniff\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        return head.encode("ascii") + content
