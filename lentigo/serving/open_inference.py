"""The documents of the Open Inference Protocol (version 2, REST), as KServe, Triton and MLServer speak it.

One input tensor, ``image`` of type BYTES and shape (N,): the encoded images in base64. What comes back are tensors with
one row an image; the notice and the names of the classes are parameters.
https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from lentigo import NOTICE
from lentigo.errors import did_you_mean
from lentigo.inference import Prediction
from lentigo.serving.config import ServeConfig
from lentigo.serving.model_manager import Loaded
from lentigo.serving.problems import Problem

_DATATYPES = {"probabilities": "FP64", "label": "BYTES", "confidence": "FP64", "abstained": "BOOL", "reasons": "BYTES"}
_MARKS = 256
"""Brackets and commas that a request may have beside those of its images; what JSON costs goes with them."""


class _Input(BaseModel):
    name: Literal["image"]
    datatype: Literal["BYTES"]
    shape: list[int] = Field(min_length=1, max_length=2)
    data: list[str] | list[list[str]]


class _Output(BaseModel):
    name: str


class InferRequest(BaseModel):
    """An inference request; what else it holds is not looked at."""

    id: str | None = Field(None, max_length=256)
    inputs: list[_Input] = Field(min_length=1, max_length=1)
    outputs: list[_Output] = []

    @property
    def names(self) -> list[str]:
        """The output tensors that are asked for."""
        return [output.name for output in self.outputs] or list(_DATATYPES)


def read_request(content: bytes, config: ServeConfig) -> tuple[InferRequest, list[bytes]]:
    """Read an inference request.

    Returns:
        The request, and its encoded images.

    Raises:
        Problem: no such request, or too many images.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > _MARKS + 4 * config.max_files:
        raise Problem("too-many-files", f"one request may hold {config.max_files} images, and little else")
    try:
        asked = InferRequest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise Problem(
            "invalid-options", f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}"[:200]
        ) from None
    tensor = asked.inputs[0]
    texts = [text for row in tensor.data for text in ([row] if isinstance(row, str) else row)]
    if [size for size in tensor.shape if size != 1] != [size for size in (len(texts),) if size != 1]:
        raise Problem("invalid-options", f"image: the shape must be [{len(texts)}], the number of its strings")
    if len(texts) > config.max_files:
        raise Problem("too-many-files", f"one request may hold {config.max_files} images")
    if not texts:
        raise Problem("no-image", "the tensor holds no image")
    if unknown := set(asked.names).difference(_DATATYPES):
        raise Problem("invalid-options", f"outputs: no such tensor{did_you_mean(min(unknown)[:80], _DATATYPES)}")
    try:
        return asked, [binascii.a2b_base64(text, strict_mode=True) for text in texts]
    except ValueError:
        raise Problem("invalid-options", "image: each string must be an encoded image in base64") from None


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


def write_reply(loaded: Loaded, request: str, asked: InferRequest, outputs: Sequence[bytes]) -> bytes:
    """The reply around the encoded output tensors."""
    parameters = {
        "notice": NOTICE,
        "classes": ",".join(loaded.classifier.spec.codes),
        "request_id": request,
        "sha256": loaded.identity["sha256"],
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
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": name, "datatype": kind, "shape": _shape(name, -1, classes)} for name, kind in _DATATYPES.items()
        ],
    }


def _shape(name: str, images: int, classes: int) -> list[int]:
    return [images, classes] if name == "probabilities" else [images]
