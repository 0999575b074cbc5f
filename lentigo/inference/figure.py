"""The figure of one prediction, drawn with Pillow alone: image, heat map, a bar a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from lentigo import NOTICE

if TYPE_CHECKING:
    from lentigo.inference.prediction import Prediction

_PANEL, _GAP, _BARS, _ROW, _HEAD, _FOOT = 400, 24, 460, 40, 92, 44
_INK, _MUTED, _PAPER, _TRACK = (26, 28, 33), (104, 108, 118), (255, 255, 255), (233, 235, 240)
_BENIGN, _MALIGNANT, _UNKNOWN = (55, 114, 176), (190, 73, 46), (110, 110, 130)  # apart for the colour-blind too


def draw(prediction: Prediction) -> Image.Image:
    """Draw a prediction as one picture.

    Args:
        prediction: what to draw.

    Returns:
        An RGB image about 1,350 pixels wide, less without a heat map.
    """
    panels = [("image", prediction.picture())]
    if prediction.cam is not None:
        panels.append((f"evidence for {prediction.label}", prediction.overlay()))
    panels = [(title, _fit(image)) for title, image in panels]
    classes = prediction.top(12)
    tall = max(*(image.height for _, image in panels), _ROW * len(classes), 120)
    width = _GAP + len(panels) * (_PANEL + _GAP) + _BARS + _GAP
    figure = Image.new("RGB", (width, _HEAD + tall + _FOOT), _PAPER)
    pen = ImageDraw.Draw(figure)

    best = prediction.labels.classes[prediction.index]
    title = f"can't tell: {'; '.join(prediction.reasons)}" if prediction.abstained else f"{best.en}, {prediction.confidence:.1%}"
    pen.text((_GAP, 16), _clip(pen, title, 28, width - 2 * _GAP), _INK, _font(28))
    for i, (caption, image) in enumerate(panels):
        left = _GAP + i * (_PANEL + _GAP)
        pen.text((left, _HEAD - 24), _clip(pen, caption, 15, _PANEL), _MUTED, _font(15))
        figure.paste(image, (left + (_PANEL - image.width) // 2, _HEAD))

    left = _GAP + len(panels) * (_PANEL + _GAP)
    if prediction.malignant is not None:
        pen.text((left, _HEAD - 24), f"malignant classes together {prediction.malignant:.1%}", _MUTED, _font(15))
    for i, (label, p) in enumerate(classes):
        top = _HEAD + i * _ROW
        share = f"{p:.1%}"
        end = left + _BARS
        pen.text((left, top), _clip(pen, f"{label.code}  {label.en}", 15, _BARS - 70), _INK, _font(15))
        pen.text((end, top), share, _INK, _font(15), anchor="ra")
        pen.rounded_rectangle((left, top + 20, end, top + 29), 4, _TRACK)
        colour = _UNKNOWN if label.malignant is None else _MALIGNANT if label.malignant else _BENIGN
        if p * _BARS >= 1:
            pen.rounded_rectangle((left, top + 20, left + max(p * _BARS, 8), top + 29), 4, colour)
    foot = f"{prediction.model}; {NOTICE}"
    pen.text((_GAP, _HEAD + tall + 14), foot, _MUTED, _font(15))
    return figure


def _fit(image: Image.Image) -> Image.Image:
    scale = _PANEL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _clip(pen: ImageDraw.ImageDraw, text: str, size: int, room: int) -> str:
    """Shorten text with an ellipsis until it fits."""
    font = _font(size)
    if pen.textlength(text, font) <= room:
        return text
    while text and pen.textlength(text + "...", font) > room:
        text = text[:-1]
    return text + "..."
