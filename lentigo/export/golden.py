"""Golden vectors: inputs and outputs that every runtime of a bundle must reproduce.

docs/bundle.md, "Golden vectors", describes the format. The images are rendered phantoms as PNG, which every decoder
decodes identically, so the vectors test resizing, normalisation, the graph and the temperature.
"""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from lentigo.bundle import MODALITY, Spec
from lentigo.export.ood_score import OUTPUT
from lentigo.export.session import Session
from lentigo.imaging import normalise, open_image
from lentigo.inference import softmax
from lentigo.inference.quality import measure_quality
from lentigo.resampler import resize
from lentigo.synthetic.phantom import render_phantom

FORMAT = 1
STRIDE = 16
PIXEL_TOLERANCE = 1
PROBABILITY_TOLERANCE = {"fp32": 1e-3, "fp16": 1e-3, "int8": 2e-2}
"""By stored weights; in int8, on another processor, a last-bit difference of a scale can change a whole level."""

# Name, class of the phantom, width and height in units of the input's side. The cases reduce both axes, enlarge both,
# mix the two, and reduce strongly, where resamplers differ most.
_CASES = (
    ("landscape", "nv", 1.5, 1.125),
    ("portrait", "mel", 1.125, 1.5),
    ("smaller-than-input", "vasc", 0.45, 0.35),
    ("narrow", "bkl", 0.6, 1.4),
    ("large", "bcc", 2.7, 2.0),
)


def make_golden(content: bytes, spec: Spec) -> bytes:
    """Run a graph on the golden images and record inputs and outputs.

    Args:
        content: the serialised model of the bundle.
        spec: its input, its temperature, and its stored weights, which set the tolerance.

    Returns:
        The content of ``golden.json``.
    """
    session, size = Session(content, threads=1), spec.input.size
    cases: list[dict[str, Any]] = []
    for seed, (name, code, across, down) in enumerate(_CASES):
        png, width, height = _render(code, seed, round(across * size), round(down * size))
        pixels = resize(open_image(png), size)  # (S, S, 3)
        outputs = session(normalise(pixels[None], spec.input.mean, spec.input.std))
        cam, atypicality, modality = outputs.get("cam"), outputs.get(OUTPUT), outputs.get(MODALITY)
        cases.append(
            {
                "name": name,
                "png": base64.b64encode(png).decode("ascii"),
                "width": width,
                "height": height,
                "pixels": {"stride": STRIDE, "values": pixels[::STRIDE, ::STRIDE].ravel().tolist()},
                "logits": _numbers(outputs["logits"][0]),
                "probabilities": _numbers(softmax(outputs["logits"], spec.temperature)[0]),
                "embedding": _numbers(outputs["embedding"][0]),
                "atypicality": None if atypicality is None else _numbers(atypicality)[0],
                "modality": None if modality is None else _numbers(modality[0]),
                "quality": {name: _number(value) for name, value in measure_quality(pixels).to_dict().items()},
                "cam": None if cam is None else {"shape": list(cam[0].shape), "values": _numbers(cam[0])},
            }
        )
    tolerance = {"pixels": PIXEL_TOLERANCE, "probabilities": PROBABILITY_TOLERANCE[spec.weights]}
    return (json.dumps({"format": FORMAT, "tolerance": tolerance, "cases": cases}) + "\n").encode("utf-8")


def _render(code: str, seed: int, width: int, height: int) -> tuple[bytes, int, int]:
    phantom = render_phantom(code, seed, max(width, height, 16))  # a network of 32 px has golden images of less than 16
    image = phantom.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    image = ImageOps.posterize(image, 4)  # removing the noise of the last bits reduces the size to a third
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue(), width, height


def _numbers(values: np.ndarray[Any, Any]) -> list[float]:
    """Convert to plain numbers of nine digits, which preserve float32."""
    return [_number(value) for value in values.ravel().tolist()]


def _number(value: float) -> float:
    return float(f"{value:.9g}")
