"""One answer about one image: it prints, plots, saves and serialises itself."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lentigo import NOTICE
from lentigo.errors import BundleError, ImageError, OutputError
from lentigo.files import write_text
from lentigo.imaging import Floats, ImageSource, Pixels, open_image
from lentigo.inference import heatmap as maps
from lentigo.inference.verdict import Verdict
from lentigo.labels import ClassLabel, LabelSet

_DISPLAY = 512  # longest side, in pixels, of the picture that is drawn on


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Prediction(Verdict):
    """The prediction for one image.

    Attributes:
        path: the image's path, None where it did not come from one.
        model: the bundle's name.
        labels: the classes, in output order.
        probabilities: (K,) float64, calibrated, summing to 1.
        logits: (K,) float32.
        embedding: (D,) float32.
        cam: (K, h, w) float32, non-negative: the Grad-CAM of every class; None where the network exports none.
        pixels: (S, S, 3) uint8, what the network saw.
        extent: the image's (width, height), upright.
        source: where the image came from, to draw on the original.
    """

    path: str | None
    model: str
    labels: LabelSet
    probabilities: NDArray[np.float64]
    logits: Floats
    embedding: Floats
    cam: Floats | None
    pixels: Pixels
    extent: tuple[int, int]
    source: ImageSource | None = field(default=None, compare=False)

    @cached_property
    def index(self) -> int:
        """Position of the most probable class."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """Code of the most probable class."""
        return self.labels.classes[self.index].code

    @property
    def confidence(self) -> float:
        """Probability of the most probable class."""
        return float(self.probabilities[self.index])

    @property
    def abstained(self) -> bool:
        """Whether the answer is "can't tell"; `reasons` says why."""
        return bool(self.reasons)

    def top(self, k: int = 3) -> list[tuple[ClassLabel, float]]:
        """The ``k`` most probable classes with their probabilities, the first first."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.labels.classes[i], float(self.probabilities[i])) for i in order]

    def heatmap(self, code: str | None = None, size: int | tuple[int, int] | None = None) -> Floats:
        """Return the Grad-CAM of a class, enlarged.

        Args:
            code: the class; None takes the most probable.
            size: side, or (width, height), in pixels; None takes the image's own.

        Returns:
            (height, width) float32 in [0, 1], 1 at the hottest place; all zero where nothing speaks for the class.

        Raises:
            BundleError: the network exports no maps.
            DataError: no such class.
        """
        return maps.upsample(self._map(code), size or self.extent)

    def overlay(self, code: str | None = None, alpha: float = maps.ALPHA) -> Image.Image:
        """The image with the class's heat map drawn over it, at most 512 pixels long.

        Args:
            code: the class; None takes the most probable.
            alpha: how much of the image the hottest place hides, in [0, 1].

        Raises:
            BundleError: the network exports no maps.
            DataError: no such class.
        """
        cam = self._map(code)
        return Image.fromarray(maps.overlay(np.asarray(self.picture()), cam, alpha))

    def _repr_html_(self) -> str:
        """The answer in a notebook: picture, heat map where there is one, and classes with their probabilities."""
        from html import escape

        pictures = [self.picture(), *([self.overlay()] if self.cam is not None else [])]
        images = "".join(
            f'<img alt="" style="height:200px;margin-right:8px" src="{_data_uri(image)}">' for image in pictures
        )
        rows = "".join(
            f"<tr><td>{escape(c.en)}</td><td>{100 * p:.1f} %</td></tr>" for c, p in self.top(len(self.labels))
        )
        said = f"<p>can't tell: {escape('; '.join(self.reasons))}</p>" if self.reasons else ""
        return f"<div>{images}{said}<table>{rows}</table><p>{escape(self.model)}. {escape(NOTICE)}</p></div>"

    def picture(self) -> Image.Image:
        """The image in its own proportions, at most 512 pixels long.

        The original is opened again where it is still to be had; otherwise what the network saw is stretched back.
        """
        width, height = self.extent
        scale = min(1.0, _DISPLAY / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = Image.fromarray(self.pixels)
        if self.source is not None:
            try:
                image = open_image(self.source)
            except (ImageError, OSError, ValueError):
                image = Image.fromarray(self.pixels)
        return image.resize(size, Image.Resampling.BILINEAR)

    def plot(self, path: str | Path | None = None) -> Image.Image:
        """Draw the image, the heat map and a bar a class.

        Args:
            path: also written here (.png, .jpg, ...).

        Raises:
            OutputError: an unknown suffix, or the disk refuses.
        """
        from lentigo.inference.figure import draw  # here, since few predictions are drawn

        best = self.labels.classes[self.index]
        title = f"can't tell: {'; '.join(self.reasons)}" if self.abstained else f"{best.en}, {self.confidence:.1%}"
        panels = [("image", self.picture())]
        if self.cam is not None:
            panels.append((f"evidence for {self.label}", self.overlay()))
        note = "" if self.malignant is None else f"malignant classes together {self.malignant:.1%}"
        figure = draw(title, panels, note, self.top(12), f"{self.model}; {NOTICE}")
        if path is not None:
            maps.save_image(path, figure)
        return figure

    def to_dict(self, *, arrays: bool = False) -> dict[str, Any]:
        """Everything as plain values that JSON can hold.

        Args:
            arrays: also the embedding and the maps, as nested lists.
        """
        best = self.labels.classes[self.index]
        plain: dict[str, Any] = {
            "path": self.path,
            "model": self.model,
            "label": best.code,
            "name": best.en,
            "confidence": self.confidence,
            "malignant": self.malignant,
            "abstained": self.abstained,
            "reasons": list(self.reasons),
            "hints": list(self.hints),
            "atypicality": self.atypicality,
            "modality": self.modality,
            "prediction_set": None if self.prediction_set is None else list(self.prediction_set),
            "operating_points": dict(self.operating_points),
            "probabilities": dict(zip(self.labels.codes, self.probabilities.tolist(), strict=True)),
            "logits": dict(zip(self.labels.codes, self.logits.tolist(), strict=True)),
            "width": self.extent[0],
            "height": self.extent[1],
            "notice": NOTICE,
        }
        if arrays:
            plain["embedding"] = self.embedding.tolist()
            plain["cam"] = None if self.cam is None else self.cam.tolist()
        return plain

    def to_json(self, *, indent: int | None = None, arrays: bool = False) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(arrays=arrays), indent=indent, ensure_ascii=False, allow_nan=False)

    def save(self, path: str | Path) -> Path:
        """Write the answer: ``.json`` holds the values, ``.png`` (or .jpg) the figure of `plot`.

        Raises:
            OutputError: another suffix, or the disk refuses.
        """
        target = Path(path)
        if target.suffix.lower() == ".json":
            write_text(target, self.to_json(indent=2) + "\n")
        elif target.suffix.lower() in {".png", ".jpg", ".jpeg"}:
            self.plot(target)
        else:
            raise OutputError(f"{target}: a prediction is saved as .json (values) or .png (figure)")
        return target

    def __str__(self) -> str:
        best = self.labels.classes[self.index]
        name = f"{self.path or 'image'}: "
        head = name + (
            f"can't tell: {'; '.join(self.reasons)}"
            if self.abstained
            else f"{best.en} ({best.code}) {self.confidence:.1%}"
        )
        lines = [head]
        if self.malignant is not None:
            above = [name.replace("_", " ") + " %" for name, reached in self.operating_points.items() if reached]
            lines.append(
                f"  malignant classes together {self.malignant:.1%}" + (f", above {', '.join(above)}" if above else "")
            )
        if self.prediction_set is not None and not self.abstained:
            lines.append(f"  prediction set: {', '.join(self.prediction_set) or 'empty, no class is likely enough'}")
        lines += [f"  hint: {hint}" for hint in self.hints]
        width = max(len(code) for code in self.labels.codes)
        for label, p in self.top(len(self.labels)):
            lines.append(f"  {label.code:<{width}} {p:6.1%} {'█' * round(30 * p):<30} {label.en}".rstrip())
        lines.append(f"  {NOTICE}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        abstained = "can't tell, " if self.abstained else ""
        return f"Prediction({self.path or 'image'}: {abstained}{self.label} {self.confidence:.3f})"

    def _map(self, code: str | None) -> Floats:
        if self.cam is None:
            raise BundleError(
                f"model {self.model} exports no class-activation maps: its network has no pooled linear head"
            )
        chosen: Floats = self.cam[self.index if code is None else self.labels.index(code)]
        return chosen


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
