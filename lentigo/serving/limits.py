"""Reading a body: every limit is applied while it arrives, and nothing ever touches the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lentigo.imaging import is_image_content
from lentigo.serving.config import ServeConfig
from lentigo.serving.problems import Problem
from lentigo.serving.protocol import PATIENCE_S, TRUNCATED
from lentigo.tables import METADATA_COLUMNS, is_unknown

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

RAW_TYPES = ("image/", "application/octet-stream", "binary/octet-stream", "application/dicom")
MULTIPART = "multipart/form-data"
_PART_HEADERS, _PART_HEADER_BYTES = 8, 1024
_OPTIONS = 16
"""Options that a media type or the disposition of a part may have; parsing goes with the square of them."""
_FIELDS = 16
"""Form fields that a multipart body may have beside its images."""
IMAGE, LESION = "image", "lesion"
"""The form fields of images, and of the names of their lesions."""
TEXTS = (LESION, *METADATA_COLUMNS)
"""The form fields that are text: one for each image, in their order, or one for all."""
TEXT_LENGTH = 64
"""Characters that such a field may have."""
_FILE_TYPES = (b"image/", b"application/octet-stream", b"application/dicom")
_SNIFFED = 512
_MARKS = 256
"""How often the boundary may appear in a body; the parser's work goes with that."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request's body holds.

    Attributes:
        images: the encoded images, in the order given; at least one.
        lesions: the lesion of each image, empty for one that stands alone; None where the body names none.
        metadata: age, sex and site of each image, as far as they are given; None where none is.
    """

    images: list[bytes]
    lesions: list[str] | None = None
    metadata: list[dict[str, str]] | None = None


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


class Budget:
    """Bytes of bodies that are held at once, over all requests of a worker.

    Attributes:
        most: how many that may be.
        held: how many it is.
        arriving: accounts whose bodies still arrive, the oldest first.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self.arriving: dict[Lease, asyncio.Timeout] = {}

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """An account for one request, closed when the request is answered."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            lease.close()


class Lease:
    """What one request holds of a `Budget`."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._began = 0.0
        self._given_up = False
        self.held = 0

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[asyncio.Timeout]:
        """While the body arrives: its time limit, which ends when others need the room more.

        Raises:
            Problem: a body that was given up.
        """
        self._began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None) as limit:
                self._budget.arriving[self] = limit
                yield limit
        except TimeoutError:
            self._check()
            raise
        finally:
            self._budget.arriving.pop(self, None)

    def _check(self) -> None:
        if self._given_up:
            raise Problem("too-slow", "other bodies need the room of one that takes so long; send it again")

    def _give_up(self, limit: asyncio.Timeout) -> None:
        self.close()
        self._given_up = True
        limit.reschedule(asyncio.get_running_loop().time())

    def take(self, count: int) -> None:
        """Hold more bytes; bodies that take long to arrive make room, the oldest first.

        Raises:
            Problem: all requests together would hold too much, or this body was given up.
        """
        self._check()
        budget = self._budget
        while budget.held + count > budget.most and budget.arriving:
            oldest, limit = next(iter(budget.arriving.items()))
            if oldest is self or asyncio.get_running_loop().time() < oldest._began + PATIENCE_S:
                break
            del budget.arriving[oldest]
            oldest._give_up(limit)
        if budget.held + count > budget.most:
            raise Problem(
                "queue-full", "too many bytes of images are being received at once", headers={"Retry-After": "1"}
            )
        budget.held += count
        self.held += count

    def close(self) -> None:
        """Hold nothing more."""
        self._budget.held -= self.held
        self.held = 0


async def read_body(scope: MutableMapping[str, Any], receive: Receive, config: ServeConfig, lease: Lease) -> Body:
    """Read a request's body into the encoded images that it holds, and the lesions that they show.

    A raw body is one image. In a multipart body every file is one, whatever its name and type, and so is every field
    called ``image``. Fields ``lesion`` name the lesions, ``age``, ``sex`` and ``site`` say what is known of them: one
    for each image, in their order, or one for all. Other form fields are left out.

    Args:
        scope: the request's ASGI scope.
        receive: its ASGI channel.
        config: the limits.
        lease: where the bytes are booked.

    Raises:
        Problem: a content type that is not taken, a limit that is passed, a body that ends early, no image, texts
            that do not fit the images.
        ClientGoneError: the connection is gone.
    """
    kind, boundary = _content_type(scope["headers"])
    if kind == MULTIPART:
        parts = _Parts(boundary, config)
        await _receive(scope, receive, config, lease, parts.write)
        return parts.finish()
    chunks: list[bytes] = []
    if await _receive(scope, receive, config, lease, chunks.append) == 0:
        raise Problem("no-image", "the body is empty; send one image, or several as multipart/form-data")
    return Body([chunks[0] if len(chunks) == 1 else b"".join(chunks)])


async def read_json(scope: MutableMapping[str, Any], receive: Receive, config: ServeConfig, lease: Lease) -> bytes:
    """Read a request's body of JSON; arguments and errors as `read_body`."""
    media, _ = _media_type(scope["headers"])
    if media != "application/json":
        raise Problem("unsupported-type", "send JSON (Content-Type: application/json)")
    chunks: list[bytes] = []
    await _receive(scope, receive, config, lease, chunks.append)
    return b"".join(chunks)


async def _receive(
    scope: MutableMapping[str, Any], receive: Receive, config: ServeConfig, lease: Lease, take: Callable[[bytes], None]
) -> int:
    """Take a body in pieces as it arrives, within its limits; how many bytes it had."""
    _check_length(scope["headers"], config)
    size = 0
    loop = asyncio.get_running_loop()
    end = loop.time() + config.body_timeout_s
    try:
        async with lease.arriving() as limit:
            while True:
                limit.reschedule(min(end, loop.time() + config.idle_timeout_s))
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > config.max_body_bytes:
                    raise _too_large(config)
                if chunk:
                    lease.take(len(chunk))
                    take(chunk)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise Problem(
            "too-slow",
            f"the body must arrive within {config.body_timeout_s:g} s, without a pause of {config.idle_timeout_s:g} s",
        ) from None
    if scope.get(TRUNCATED):
        raise Problem("incomplete-body", f"the connection was closed for sending after {size:,} bytes of body")
    return size


@dataclass(slots=True)
class _Part:
    """One part of a multipart body."""

    content: bytearray = field(default_factory=bytearray)
    headers: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def options(self) -> dict[bytes, bytes]:
        """The options of its Content-Disposition: ``name``, and ``filename`` of a file."""
        disposition = self.headers.get(b"content-disposition", b"")
        if disposition.count(b";") > _OPTIONS:
            raise Problem("bad-multipart", "the disposition of a part has too many options")
        return parse_options_header(disposition)[1]

    @property
    def text(self) -> str:
        """Which of ``TEXTS`` it is; empty where it is none.

        Raises:
            Problem: it is one, and no plain text.
        """
        options = self.options
        name = options.get(b"name", b"").decode("latin-1")
        if name not in TEXTS:
            return ""
        kind = self.headers.get(b"content-type", b"text/plain").strip().lower()
        if b"filename" in options or not kind.startswith(b"text/plain"):
            raise Problem("invalid-options", f"{name}: it is plain text, not a file or JSON")
        return name

    @property
    def is_image(self) -> bool:
        """Whether it was sent as a file or as an image, or is one; an empty file field of a web page is none."""
        options = self.options
        named = options.get(b"filename")
        if named == b"" and not self.content:
            return False
        return (
            bool(named)
            or options.get(b"name") == IMAGE.encode()
            or self.headers.get(b"content-type", b"").strip().lower().startswith(_FILE_TYPES)
            or is_image_content(bytes(self.content[:_SNIFFED]))
        )


class _Parts:
    """The parts of a multipart body, collected in memory as they arrive."""

    def __init__(self, boundary: bytes, config: ServeConfig) -> None:
        self._config = config
        self._parts: list[_Part] = []
        self._header = (b"", b"")
        self._complete = False
        self._mark, self._marks = b"--" + boundary, 0
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._name,
                    "on_header_value": self._value,
                    "on_header_end": self._header_end,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
                max_header_count=_PART_HEADERS,
                max_header_size=_PART_HEADER_BYTES,
            )
        except FormParserError:
            raise Problem("bad-multipart", "the boundary of the multipart body is too long") from None

    def write(self, chunk: bytes) -> None:
        self._marks += chunk.count(self._mark)
        if self._marks > _MARKS + (1 + len(TEXTS)) * self._config.max_files:
            raise _too_many(self._config)
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Problem("bad-multipart", "the body does not follow the multipart format (RFC 7578)") from None

    def finish(self) -> Body:
        if not self._complete:
            raise Problem("bad-multipart", "the multipart body has no closing boundary")
        texts: dict[str, list[bytearray]] = {}
        images = []
        for part in self._parts:
            if name := part.text:
                texts.setdefault(name, []).append(part.content)
            elif part.is_image:
                images.append(part.content)
        if not images:
            raise Problem("no-image", "the multipart body has no images; send each image as one file")
        if len(images) > self._config.max_files:
            raise _too_many(self._config)
        columns = {name: read_texts(name, given, len(images)) for name, given in texts.items()}
        lesions = columns.pop(LESION, None)
        metadata = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return Body([bytes(image) for image in images], lesions, metadata or None)

    def _begin(self) -> None:
        if len(self._parts) >= (1 + len(TEXTS)) * self._config.max_files + _FIELDS:  # an image may have each of them
            raise _too_many(self._config)
        self._parts.append(_Part())

    def _name(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], self._header[1])

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _header_end(self) -> None:
        name, value = self._header
        self._parts[-1].headers[name.lower()] = value
        self._header = (b"", b"")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._parts[-1].content += data[start:end]

    def _end(self) -> None:
        self._complete = True


def read_texts(name: str, given: list[bytearray], images: int) -> list[str]:
    """The text of each image; empty for values such as ``unknown``.

    Raises:
        Problem: neither one for all nor one for each image, no UTF-8, or too long.
    """
    if len(given) not in (1, images):
        raise Problem(
            "invalid-options",
            f"{name}: one for each image, in their order, or one for all; not {len(given)} for {images} images",
        )
    try:
        texts = [text.decode() for text in given]
    except UnicodeDecodeError:
        raise Problem("invalid-options", f"{name}: it must be UTF-8") from None
    if max(map(len, texts)) > TEXT_LENGTH:
        raise Problem("invalid-options", f"{name}: it may have {TEXT_LENGTH} characters")
    texts = ["" if is_unknown(text) else text.strip() for text in texts]
    return texts if len(texts) == images else texts * images


def _media_type(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, dict[bytes, bytes]]:
    """The media type of the body, empty where none is given, and its options."""
    given = b""
    for name, value in headers:
        if name == b"content-type":
            given = value
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise Problem("unsupported-type", "encoded bodies are not taken; images are compressed already")
    if given.count(b";") > _OPTIONS:
        raise Problem("unsupported-type", f"a media type may have {_OPTIONS} options")
    kind, options = parse_options_header(given)
    return kind.decode("latin-1").strip().lower(), options


def _content_type(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, bytes]:
    """What the body is, and its multipart boundary."""
    media, options = _media_type(headers)
    if media == MULTIPART:
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise Problem("bad-multipart", "the content type names no boundary")
        return MULTIPART, boundary
    if any(name == b"content-type" and value for name, value in headers) and not media.startswith(RAW_TYPES):
        raise Problem(
            "unsupported-type",
            "send an image as it is (Content-Type: image/jpeg, image/png, ..., application/octet-stream) or several as"
            " multipart/form-data",
        )
    return "raw", b""


def _check_length(headers: Iterable[tuple[bytes, bytes]], config: ServeConfig) -> None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > config.max_body_bytes):
            raise _too_large(config)


def _too_many(config: ServeConfig) -> Problem:
    return Problem("too-many-files", f"one request may hold {config.max_files} images")


def _too_large(config: ServeConfig) -> Problem:
    return Problem(
        "body-too-large", f"a body may have {config.max_body_bytes:,} bytes; scale the image down or send fewer"
    )
