"""A client of the service, with nothing but the standard library.

    from lentigo.client import Client

    with Client("http://127.0.0.1:8000") as client:
        print(client.predict("photo.jpg")["label"])

One client holds one connection and is used by one thread; make one for each.
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, overload
from urllib.parse import quote, urlencode, urlsplit

from lentigo.errors import ImageError, ServiceError
from lentigo.tables import METADATA_COLUMNS

Source = str | Path | bytes | BinaryIO
"""What can be sent: a path, encoded bytes, or a binary file."""

Document = dict[str, Any]
"""A JSON document of the API, as /openapi.json describes it."""

_CHUNK = 16  # images a request, the service's own default
_RAW = "application/octet-stream"


class ProblemError(ServiceError):
    """The service refused a request, or failed.

    Attributes:
        status: the HTTP status.
        kind: which problem, such as ``not-an-image``; empty where something else than the service answered.
        document: the whole problem document (RFC 9457).
    """

    def __init__(self, status: int, document: Document) -> None:
        self.status = status
        self.kind = str(document.get("type", "")).rpartition(":")[2]
        self.document = document
        super().__init__(
            f"the service answered {status}: {document.get('detail') or document.get('title') or 'no reason given'}"
        )


class Client:
    """Talks to one service.

    Args:
        url: where it is, such as ``https://gateway.example.org/lentigo``.
        api_key: sent as a bearer token.
        timeout: seconds that a connection and each answer may take.
        retries: number of retries after 429 or 503, each after the wait that the service gives; 0 for none.

    Raises:
        ServiceError: an address that is not http or https.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None, timeout: float = 30.0, retries: int = 3
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServiceError(f"{url!r} is not the address of a service; give one such as http://127.0.0.1:8000")
        self.url = url.rstrip("/")
        self._base = parts.path.rstrip("/")
        self._retries = retries
        self._headers = {"Accept": "application/json", "User-Agent": "lentigo-client"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a sequence of str
        self,
        source: Source,
        *,
        heatmap: Literal["none", "png", "array"] = ...,
        top_k: int | None = ...,
        model: str | None = ...,
        prevalence: float | None = ...,
        metadata: Mapping[str, object] | None = ...,
    ) -> Document: ...
    @overload
    def predict(
        self,
        source: Sequence[Source],
        *,
        heatmap: Literal["none", "png", "array"] = ...,
        top_k: int | None = ...,
        model: str | None = ...,
        prevalence: float | None = ...,
        metadata: Mapping[str, object] | None = ...,
    ) -> list[Document]: ...

    def predict(
        self,
        source: Source | Sequence[Source],
        *,
        heatmap: Literal["none", "png", "array"] = "none",
        top_k: int | None = None,
        model: str | None = None,
        prevalence: float | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Document | list[Document]:
        """Classify one image, or several.

        Args:
            source: an image, or a list or tuple of images; long lists are sent in several requests.
            heatmap: also where the network looked: drawn over the image, or as numbers.
            top_k: only the most probable classes.
            model: one of `models`; the service's default otherwise.
            prevalence: fraction of malignant lesions among those seen, such as 0.02; adds ``predictive_values``.
            metadata: ``age``, ``sex`` and ``site``, as far as they are known, of what all these images show; for models
                whose entry in `models` has them in ``metadata``.

        Returns:
            The prediction of one image; or a list in the order given, in which an image that cannot be read has an
            ``error``.

        Raises:
            ImageError: a file that cannot be read here.
            ProblemError: the one image was refused, or the service answers with a problem.
            ServiceError: other metadata, or the service cannot be reached.
        """
        address = _address(
            heatmap=heatmap if heatmap != "none" else None, top_k=top_k, model=model, prevalence=prevalence
        )
        if strange := set(metadata or ()).difference(METADATA_COLUMNS):
            raise ServiceError(f"metadata are {', '.join(METADATA_COLUMNS)}, not {min(strange)!r}")
        fields = [(name, str(value)) for name, value in (metadata or {}).items() if value is not None]
        if not isinstance(source, list | tuple):
            image = _read(source)  # type: ignore[arg-type]
            reply = self._json("POST", address, *(_form([image], fields) if fields else (image, _RAW)))
            document: Document = reply["predictions"][0]
            return document
        found: list[Document] = []
        for start in range(0, len(source), _CHUNK):
            images = [_read(one) for one in source[start : start + _CHUNK]]
            part = self._predict_list(address, images, fields)["predictions"]
            found += [{**document, "index": start + i} for i, document in enumerate(part)]
        return found

    def predict_lesions(
        self,
        lesions: Mapping[str, Sequence[Source]],
        *,
        top_k: int | None = None,
        model: str | None = None,
        prevalence: float | None = None,
    ) -> list[Document]:
        """Classify lesions of several images each: one answer a lesion, as ``lentigo predict --group-by`` gives it.

        Args:
            lesions: the images of each lesion by its name; many lesions are sent in several requests, one lesion always
                in one.
            top_k: only the most probable classes.
            model: one of `models`; the service's default otherwise.
            prevalence: fraction of malignant lesions among those seen, such as 0.02; adds ``predictive_values``.

        Returns:
            One document a lesion in the order given, with the answers of its images in ``predictions``. A lesion of
            which no image can be read has an ``error``.

        Raises:
            ImageError: a file that cannot be read here.
            ProblemError: the service answers with a problem.
            ServiceError: a lesion without a name or without images, or the service cannot be reached.
        """
        for name, sources in lesions.items():
            if not name.strip() or not sources:
                raise ServiceError(f"lesion {name!r}: give a name and at least one image")
        requests: list[list[str]] = []
        room = 0
        for name, sources in lesions.items():
            if len(sources) > room:
                requests.append([])
                room = _CHUNK
            requests[-1].append(name)
            room -= len(sources)
        address = _address(top_k=top_k, model=model, prevalence=prevalence)
        return [
            document
            for names in requests
            for document in self._lesions(address, {name: lesions[name] for name in names})
        ]

    def models(self) -> list[Document]:
        """The models that are served, the default first."""
        found: list[Document] = self._json("GET", "/v1/models")["models"]
        return found

    def card(self, name: str) -> str:
        """A model's card, Markdown."""
        return self._call("GET", f"/v1/models/{quote(name, safe='')}/card").decode()

    def metrics(self) -> str:
        """The service's metrics in the Prometheus text format."""
        return self._call("GET", "/metrics").decode()

    def ready(self) -> bool:
        """Whether the service is there and its models are loaded."""
        try:
            self._call("GET", "/readyz", patient=False)
        except ServiceError:
            return False
        return True

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until the service is ready.

        Raises:
            ServiceError: it is not after ``seconds``.
        """
        end = time.monotonic() + seconds
        while not self.ready():
            if time.monotonic() > end:
                raise ServiceError(f"{self.url} is not ready after {seconds:g} s")
            time.sleep(0.1)

    def _lesions(self, address: str, lesions: Mapping[str, Sequence[Source]]) -> list[Document]:
        """The lesions of one request."""
        images = [_read(source) for sources in lesions.values() for source in sources]
        # Numbers for names: any two names differ, and none says "unknown".
        numbers = [("lesion", str(i)) for i, sources in enumerate(lesions.values()) for _ in sources]
        reply = self._predict_list(address, images, numbers)
        predictions = iter(reply["predictions"])
        members = {name: [next(predictions) for _ in sources] for name, sources in lesions.items()}
        answers = reply.get("lesions") or [{"error": found[0]["error"]} for found in members.values()]
        documents = [
            {**answer, "lesion": name, "predictions": members[name]}
            for name, answer in zip(lesions, answers, strict=True)
        ]
        for document in documents:
            document.pop("images", None)  # positions in the request, which the caller does not know
        return documents

    def _predict_list(self, address: str, images: list[bytes], fields: Sequence[tuple[str, str]] = ()) -> Document:
        try:
            reply = self._json("POST", address, *_form(images, fields))
        except ProblemError as problem:
            # Where no image at all can be read, the service refuses the request as a whole.
            listed = problem.document.get("errors")
            if (
                listed is None
                and len(images) == 1
                and problem.kind in ("not-an-image", "damaged-image", "image-too-large", "no-image")
            ):
                listed = [problem.document]
            if listed is None:
                raise
            return {"predictions": [{"index": i, "error": error} for i, error in enumerate(listed)]}
        return reply

    def _json(self, method: str, address: str, body: bytes | None = None, media: str | None = None) -> Document:
        found: Document = json.loads(self._call(method, address, body, media))
        return found

    def _call(
        self, method: str, address: str, body: bytes | None = None, media: str | None = None, *, patient: bool = True
    ) -> bytes:
        headers = self._headers | ({"Content-Type": media} if media else {})
        for left in range(self._retries if patient else 0, -1, -1):
            status, wait, content = self._exchange(method, self._base + address, body, headers)
            if status < 400:
                return content
            if status not in (429, 503) or not left:
                break
            time.sleep(min(wait, 30.0))
        try:
            document = json.loads(content)
        except ValueError:
            document = {}
        raise ProblemError(status, document if isinstance(document, dict) else {})

    def _exchange(
        self, method: str, address: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, float, bytes]:
        kept = self._connection.sock is not None
        try:
            return self._once(method, address, body, headers)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            if not kept or isinstance(error, TimeoutError):
                raise ServiceError(f"{self.url} cannot be reached ({error or type(error).__name__})") from None
        # The connection had been kept from an earlier call, and the service has closed it since: asking again changes
        # nothing there.
        try:
            return self._once(method, address, body, headers)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise ServiceError(f"{self.url} cannot be reached ({error or type(error).__name__})") from None

    def _once(self, method: str, address: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, float, bytes]:
        connection = self._connection
        # A body that is too large is refused before it has been sent; the answer can be read all the same.
        with suppress(BrokenPipeError):
            connection.request(method, address, body, headers)
        response = connection.getresponse()
        content = response.read()
        after = response.headers.get("Retry-After", "")
        return response.status, float(after) if after.isdigit() else 1.0, content


def _address(**options: object) -> str:
    query = urlencode({name: value for name, value in options.items() if value is not None})
    return f"/v1/predict?{query}" if query else "/v1/predict"


def _form(images: Sequence[bytes], fields: Sequence[tuple[str, str]]) -> tuple[bytes, str]:
    """A multipart body and its media type."""
    boundary = secrets.token_hex(16)
    head = b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    body = b"".join(head % (boundary.encode(), name.encode(), text.encode()) for name, text in fields)
    body += b"".join(head % (boundary.encode(), b'image"; filename="image', image) for image in images)
    return body + b"--%b--\r\n" % boundary.encode(), f"multipart/form-data; boundary={boundary}"


def _read(source: Source) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | Path):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise ImageError(f"{source}: cannot be read ({error.strerror or error})") from None
    if not hasattr(source, "read"):
        raise ImageError(f"cannot send {type(source).__name__}; give a path, encoded bytes or a binary file")
    content = source.read()
    if not isinstance(content, bytes):
        raise ImageError("a text stream cannot be sent; open the file in binary mode")
    return content
