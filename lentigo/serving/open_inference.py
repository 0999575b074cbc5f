"""The documents of the Open Inference Protocol (version 2, REST), as KServe, Triton and MLServer speak it.

The input tensor ``image`` of type BYTES and shape (N,) holds the encoded images in base64; tensors ``age``, ``sex`` and
``site`` of the same shape may say what is known of them. What comes back are tensors with one row an image; the notice,
the names of the classes and the fields that counted are parameters.
https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import binascii
import json
import secrets
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lentigo import NOTICE
from lentigo.errors import did_you_mean
from lentigo.inference import Prediction
from lentigo.serving.config import ServeConfig
from lentigo.serving.limits import read_texts
from lentigo.serving.model_manager import Loaded
from lentigo.serving.problems import Problem
from lentigo.tables import METADATA_COLUMNS

_DATATYPES = {"probabilities": "FP64", "label": "BYTES", "confidence": "FP64", "abstained": "BOOL", "reasons": "BYTES"}
_MOST_JSON, _MOST_JSON_AN_IMAGE = 32_768, 512
"""Bytes of JSON that a request may have beside the strings of its images, and so many more for each image."""
_SHORT = 1024
"""Bytes of a string that the JSON parser is given; it holds up all requests while it reads one."""
_MARK, _MARK_DIGITS = secrets.token_hex(8), 300
"""What stands for a longer string: longer than an id may be."""
_PIECE = 2**20
_ESCAPES = {
    b"\\/": b"/",
    **{f"\\u{ord(c):04{case}}".encode(): c.encode() for c in "+/=" for case in "xX"},
}
"""How JSON may write the characters of base64: .NET escapes ``+``, Gson ``=``, PHP ``/``."""
_LONGEST_ESCAPE = 6


_Cell = str | float
_CELL_TYPES = ("str", "float", "list[union[str,float]]", "list[list[union[str,float]]]")
"""How the parser names a cell's possible types in the place of an error."""


class _Input(BaseModel):
    model_config = ConfigDict(strict=True)

    name: Literal["image", "age", "sex", "site"]
    datatype: Literal["BYTES", "FP64", "FP32", "INT64", "INT32"]
    shape: list[int] = Field(min_length=1, max_length=2)
    data: list[_Cell] | list[list[_Cell]]

    @property
    def cells(self) -> list[_Cell]:
        """Its elements, in order."""
        return [cell for row in self.data for cell in (row if isinstance(row, list) else [row])]


class _Output(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str


class InferRequest(BaseModel):
    """An inference request; other members are ignored."""

    model_config = ConfigDict(strict=True)

    id: str | None = Field(None, max_length=256)
    inputs: list[_Input] = Field(min_length=1, max_length=1 + len(METADATA_COLUMNS))
    outputs: list[_Output] = Field([], max_length=len(_DATATYPES))

    @property
    def names(self) -> list[str]:
        """The output tensors that are asked for."""
        return [output.name for output in self.outputs] or list(_DATATYPES)


def read_request(content: bytes, config: ServeConfig) -> tuple[InferRequest, list[bytes], list[dict[str, str]] | None]:
    """Read an inference request.

    Returns:
        The request; its images in base64, for `decode_images`; age, sex and site of each, None where none is given.

    Raises:
        Problem: no such request, or too many images.
    """
    rest, strings = _take_out(content, config)
    try:
        asked = InferRequest.model_validate_json(rest)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part not in _CELL_TYPES)
        raise Problem("invalid-options", f"{where or 'the body'}: {first['msg']}"[:200]) from None
    tensors = {tensor.name: tensor for tensor in asked.inputs}
    if "image" not in tensors or len(tensors) < len(asked.inputs):
        raise Problem("invalid-options", "inputs: one tensor image, and at most one each of age, sex and site")
    tensor = tensors.pop("image")
    texts = [cell for cell in tensor.cells if isinstance(cell, str)]
    if tensor.datatype != "BYTES" or len(texts) < len(tensor.cells):
        raise Problem("invalid-options", "image: each element must be a string, of datatype BYTES")
    for one in (tensor, *tensors.values()):
        if [size for size in one.shape if size != 1] != [size for size in (len(one.cells),) if size != 1]:
            raise Problem("invalid-options", f"{one.name}: the shape must be [{len(one.cells)}], that of its data")
    if len(texts) > config.max_files:
        raise _too_many(config)
    if not texts:
        raise Problem("no-image", "the tensor holds no image")
    if unknown := set(asked.names).difference(_DATATYPES):
        raise Problem("invalid-options", f"outputs: no such tensor{did_you_mean(min(unknown)[:80], _DATATYPES)}")
    columns = {
        name: read_texts(name, [bytearray(str(cell), "utf-8", "replace") for cell in one.cells], len(texts))
        for name, one in tensors.items()
    }
    metadata = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] or None
    images = [strings[int(text[-_MARK_DIGITS:])] if text.startswith(_MARK) else text.encode() for text in texts]
    return asked, images, metadata


def decode_images(texts: Sequence[bytes]) -> list[bytes]:
    r"""Images in base64, in which JSON may write ``/`` as ``\/`` or ``\u002f``, and ``+`` and ``=`` in the same way.

    Decoded in pieces, since each blocks the other threads.

    Raises:
        Problem: no base64.
    """
    try:
        return [b"".join(_decode(text)) for text in texts]
    except ValueError:
        raise Problem("invalid-options", "image: each string must be an encoded image in base64") from None


def _decode(text: bytes) -> list[bytes]:
    found, left, at = [], b"", 0
    while at < len(text):
        end = at + _PIECE
        escape = text.rfind(b"\\", end - _LONGEST_ESCAPE + 1, end)  # which may go on in the next piece
        end = escape if escape > at else end
        piece = left + _unescape(text[at:end])
        whole = len(piece) if end >= len(text) else len(piece) // 4 * 4 - 4
        left, at = piece[whole:], end
        if left and piece[:whole].endswith(b"="):
            raise ValueError("characters behind the padding")
        found.append(binascii.a2b_base64(piece[:whole], strict_mode=True))
    return found


def _unescape(text: bytes) -> bytes:
    if b"\\" in text:
        for escape, character in _ESCAPES.items():
            text = text.replace(escape, character)
    return text


def _take_out(content: bytes, config: ServeConfig) -> tuple[bytes, list[bytes]]:
    """JSON with marks in the place of its long strings, and these, as they are written.

    Raises:
        Problem: what is left is too long.
    """
    rest, strings, at = bytearray(), list[bytes](), 0
    room = _MOST_JSON + _MOST_JSON_AN_IMAGE * config.max_files
    while True:
        start = content.find(b'"', at)
        end = _end_of_string(content, start) if start >= 0 else -1
        stop = start + 1 if end >= 0 else len(content)
        if len(rest) + stop - at > room:
            raise _too_many(config)
        rest += content[at:stop]
        if end < 0:
            return bytes(rest), strings
        if end - stop > _SHORT:
            rest += f"{_MARK}{len(strings):0{_MARK_DIGITS}d}".encode()
            strings.append(content[stop:end])
        else:
            rest += content[stop:end]
        rest += b'"'
        at = end + 1


def _end_of_string(content: bytes, start: int) -> int:
    """Where the quotation mark stands that ends a string; -1 where none does."""
    end = start
    for _ in range(_SHORT):
        end = content.find(b'"', end + 1)
        before = content[max(start + 1, end - _SHORT) : end]
        if end < 0 or (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
            return end
    return -1


def _too_many(config: ServeConfig) -> Problem:
    return Problem("too-many-files", f"one request may hold {config.max_files} images, and little else")


def write_outputs(names: Sequence[str], answers: Sequence[Prediction], codes: Sequence[str]) -> list[dict[str, Any]]:
    """The output tensors of a request, one row an image."""
    rows = [answer.to_dict() for answer in answers]
    data: dict[str, list[Any]] = {
        "probabilities": [row["probabilities"][code] for row in rows for code in codes],
        "label": [row["label"] for row in rows],
        "confidence": [row["confidence"] for row in rows],
        "abstained": [row["abstained"] for row in rows],
        "reasons": ["; ".join(row["reasons"]) for row in rows],
    }
    return [
        {"name": name, "datatype": _DATATYPES[name], "shape": _shape(name, len(rows), len(codes)), "data": data[name]}
        for name in names
    ]


def write_reply(
    loaded: Loaded, request: str, asked: InferRequest, outputs: Sequence[bytes], counted: Sequence[str] | None
) -> bytes:
    """The reply around the encoded output tensors, with the fields of metadata that counted; None where none came."""
    parameters = {
        "notice": NOTICE,
        "classes": ",".join(loaded.classifier.spec.codes),
        "request_id": request,
        "sha256": loaded.identity["sha256"],
        **({} if counted is None else {"metadata": ",".join(counted)}),
    }
    head = {
        "model_name": loaded.identity["name"],
        "model_version": loaded.identity["version"],
        "parameters": parameters,
    }
    if asked.id is not None:
        head["id"] = asked.id
    return json.dumps(head, ensure_ascii=False).encode()[:-1] + b', "outputs": [' + b", ".join(outputs) + b"]}"


def describe_model(loaded: Loaded) -> dict[str, Any]:
    """The metadata of a model."""
    classes = len(loaded.classifier.spec.classes)
    return {
        "name": loaded.identity["name"],
        "versions": [loaded.identity["version"]],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in ("image", *_taken(loaded))],
        "outputs": [
            {"name": name, "datatype": kind, "shape": _shape(name, -1, classes)} for name, kind in _DATATYPES.items()
        ],
    }


def _taken(loaded: Loaded) -> Sequence[str]:
    """The fields of metadata that a model takes."""
    known = loaded.classifier.spec.metadata
    return list(known.log_ratios) if known else ()


def _shape(name: str, images: int, classes: int) -> list[int]:
    return [images, classes] if name == "probabilities" else [images]
