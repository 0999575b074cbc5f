"""A bundle of a tiny network made without torch: what the tests of the use wing run on.

The graph has the shape of the real ones: convolution, global pooling, two linear layers, and the
closed form of Grad-CAM. Its weights are random but seeded; its answers depend on colour and texture.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lentigo.bundle import (
    MODALITIES,
    MODALITY,
    Abstention,
    Bundle,
    Conformal,
    InputSpec,
    Metadata,
    NetworkSpec,
    OperatingPoint,
    OutputSpec,
    Provenance,
    Spec,
    write_bundle,
)
from lentigo.estimate import Estimate
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD, normalise
from lentigo.inference.quality import measure_quality
from lentigo.labels import HAM10000, LabelSet
from lentigo.resampler import resize

CHANNELS, EMBEDDING, PATCH = 8, 12, 8


def tiny_bundle(
    folder: Path,
    classes: int = 7,
    size: int = 64,
    *,
    seed: int = 0,
    name: str = "tiny",
    labels: LabelSet | None = None,
    temperature: float = 1.5,
    cam: bool = True,
    poison: float | None = None,
    abstention: Abstention | None = None,
    modality: bool = False,
    conformal: Conformal | None = None,
    operating_points: tuple[OperatingPoint, ...] = (),
    metadata: Metadata | None = None,
    files: dict[str, bytes] | None = None,
) -> Bundle:
    """Write a tiny bundle and open it.

    Args:
        folder: the bundle's folder, written anew.
        classes: how many classes; 7 gives those of HAM10000.
        size: input side in pixels, a multiple of 8.
        seed: of the weights.
        name: the bundle's name.
        labels: the classes themselves, in the place of ``classes``.
        temperature: of the softmax.
        cam: False for a network without a pooled head: the graph then has no ``cam``.
        poison: a value (NaN, infinity) to put into the last bias, for tests of bad models.
        abstention: passed on to the spec, as are the next two; with one, the graph has an ``atypicality``: the free
            energy.
        modality: give the graph a ``modality``: red images are dermoscopy, green ones plain photographs, blue ones
            other pictures.
        conformal: see `abstention`.
        operating_points: see `abstention`.
        files: further files for the bundle.
    """
    if labels is None:
        labels = HAM10000 if classes == 7 else LabelSet.of("own", [f"class_{i}" for i in range(classes)])
    model = _graph(len(labels), size, seed, cam, poison, abstention is not None, modality)
    content = model.SerializeToString()
    spec = Spec(
        name=name,
        title="Tiny test network",
        domain="phantom",
        classes=labels.classes,
        input=InputSpec(size=size, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        outputs=OutputSpec(
            embedding=EMBEDDING, cam=(size // PATCH, size // PATCH) if cam else None, atypicality=abstention is not None
        ),
        network=NetworkSpec(name="tiny", parameters=sum(int(np.prod(t.dims)) for t in model.graph.initializer)),
        temperature=temperature,
        abstention=abstention,
        conformal=conformal,
        metadata=metadata,
        operating_points=operating_points,
        metrics={"test": {"accuracy": Estimate(value=1 / len(labels))}},
        provenance=Provenance(
            command="tests/tiny_bundle.py",
            recipe={},
            data="none",
            fingerprint="0",
            protocol="none",
            split_seed=0,
            seed=seed,
            hardware="none",
            wall_seconds=0.0,
            created="2024-01-01T00:00:00+00:00",
            lentigo="0",
        ),
        licence="Apache-2.0",
        data_licence="none",
    )
    golden = (
        _golden(content, spec)
        if poison is None
        else {"format": 1, "tolerance": {"pixels": 1, "probabilities": 1e-3}, "cases": []}
    )
    card = b"# Tiny test network\n\nRandom weights. Research use, not a medical device.\n"
    return write_bundle(
        folder,
        spec,
        {"model.onnx": content, "MODEL_CARD.md": card, "golden.json": json.dumps(golden).encode(), **(files or {})},
    )


def blob_image(seed: int, width: int = 80, height: int = 60) -> Image.Image:
    """A seeded picture: a coloured blob on a skin-like ground, with some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    centre, radius = rng.uniform(0.35, 0.65, 2) * (width, height), rng.uniform(0.15, 0.35) * min(width, height)
    inside = 1 / (1 + np.exp((np.hypot(x - centre[0], y - centre[1]) - radius) / 2))[..., None]  # (H, W, 1)
    ground, blob = rng.uniform((170, 120, 90), (240, 200, 180)), rng.uniform(20, 160, 3)
    pixels = ground * (1 - inside) + blob * inside + rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def png_bytes(image: Image.Image) -> bytes:
    """An image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _graph(
    classes: int, size: int, seed: int, cam: bool, poison: float | None, atypicality: bool, modality: bool
) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    grid = size // PATCH
    bias = rng.normal(0, 0.3, classes).astype(np.float32)
    if poison is not None:
        bias[-1] = poison
    constants: dict[str, np.ndarray[Any, Any]] = {
        "conv.weight": rng.normal(0, 0.12, (CHANNELS, 3, PATCH, PATCH)).astype(np.float32),
        "conv.bias": rng.normal(0.3, 0.2, CHANNELS).astype(np.float32),
        "w1": rng.normal(0, 0.5, (EMBEDDING, CHANNELS)).astype(np.float32),
        "b1": rng.normal(0.2, 0.2, EMBEDDING).astype(np.float32),
        "w2": rng.normal(0, 0.6, (classes, EMBEDDING)).astype(np.float32),
        "b2": bias,
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["conv"], strides=[PATCH, PATCH]),
        helper.make_node("Relu", ["conv"], ["maps"]),  # A: (N, C, h, w)
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled4"]),
        helper.make_node("Flatten", ["pooled4"], ["pooled"]),
        helper.make_node("Gemm", ["pooled", "w1", "b1"], ["z"], transB=1),
        helper.make_node("Relu", ["z"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "w2", "b2"], ["logits"], transB=1),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", EMBEDDING]),
    ]
    if cam:
        constants |= {
            "zero": np.zeros((), np.float32),
            "one": np.array([1], np.int64),
            "area": np.array(grid * grid, np.float32),
            "flat": np.array([0, CHANNELS, -1], np.int64),
            "square": np.array([0, classes, grid, grid], np.int64),
        }
        nodes += [
            helper.make_node("Greater", ["z", "zero"], ["open"]),
            helper.make_node("Cast", ["open"], ["slope"], to=TensorProto.FLOAT),  # act'(z): (N, M)
            helper.make_node("Unsqueeze", ["slope", "one"], ["slope3"]),  # (N, 1, M)
            helper.make_node("Mul", ["slope3", "w2"], ["gated"]),  # (N, K, M)
            helper.make_node("MatMul", ["gated", "w1"], ["weights"]),  # (N, K, C)
            helper.make_node("Div", ["weights", "area"], ["alpha"]),
            helper.make_node("Reshape", ["maps", "flat"], ["maps3"]),  # (N, C, h w)
            helper.make_node("MatMul", ["alpha", "maps3"], ["raw"]),  # (N, K, h w)
            helper.make_node("Relu", ["raw"], ["cam3"]),
            helper.make_node("Reshape", ["cam3", "square"], ["cam"]),
        ]
        outputs.append(helper.make_tensor_value_info("cam", TensorProto.FLOAT, ["N", classes, grid, grid]))
    if atypicality:
        constants["classes_axis"] = np.array([1], np.int64)
        nodes += [
            helper.make_node("ReduceLogSumExp", ["logits", "classes_axis"], ["evidence"], keepdims=0),
            helper.make_node("Neg", ["evidence"], ["atypicality"]),
        ]
        outputs.append(helper.make_tensor_value_info("atypicality", TensorProto.FLOAT, ["N"]))
    if modality:
        colours = {"dermoscopy": 0, "clinical": 1, "other": 2}
        constants["colours"] = np.eye(3, dtype=np.float32)[:, [colours[kind] for kind in MODALITIES]]
        nodes += [
            helper.make_node("GlobalAveragePool", ["image"], ["mean4"]),
            helper.make_node("Flatten", ["mean4"], ["mean"]),
            helper.make_node("MatMul", ["mean", "colours"], [MODALITY]),
        ]
        outputs.append(helper.make_tensor_value_info(MODALITY, TensorProto.FLOAT, ["N", len(MODALITIES)]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, size, size])],
        outputs,
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _golden(content: bytes, spec: Spec) -> dict[str, Any]:
    images = [blob_image(seed) for seed in (100, 101)]
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    pixels = np.stack([resize(image, spec.input.size) for image in images])  # by the reference, as an export does
    arrays = dict(
        zip(names, session.run(names, {"image": normalise(pixels, spec.input.mean, spec.input.std)}), strict=True)
    )
    scaled = arrays["logits"].astype(np.float64) / spec.temperature
    scaled = np.exp(scaled - scaled.max(1, keepdims=True))
    probabilities = scaled / scaled.sum(1, keepdims=True)
    cases = []
    for i, image in enumerate(images):
        cam, atypicality, modality = arrays.get("cam"), arrays.get("atypicality"), arrays.get(MODALITY)
        cases.append(
            {
                "name": f"blob-{i}",
                "png": base64.b64encode(png_bytes(image)).decode(),
                "width": image.width,
                "height": image.height,
                "pixels": {"stride": 16, "values": pixels[i, ::16, ::16].ravel().tolist()},
                "logits": arrays["logits"][i].tolist(),
                "probabilities": probabilities[i].tolist(),
                "embedding": arrays["embedding"][i].tolist(),
                "atypicality": None if atypicality is None else float(atypicality[i]),
                "modality": None if modality is None else modality[i].tolist(),
                "quality": measure_quality(pixels[i]).to_dict(),
                "cam": None if cam is None else {"shape": list(cam[i].shape), "values": cam[i].ravel().tolist()},
            }
        )
    return {"format": 1, "tolerance": {"pixels": 1, "probabilities": 1e-3}, "cases": cases}
