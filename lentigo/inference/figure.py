"""The figure of one prediction, drawn with Pillow alone: image, heat map, a bar a class."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from lentigo.labels import ClassLabel

_PANEL, _GAP, _BARS, _ROW, _HEAD, _FOOT = 400, 24, 460, 40, 92, 44
_INK, _MUTED, _PAPER, _TRACK = (26, 28, 33), (104, 108, 118), (255, 255, 255), (233, 235, 240)
_BENIGN, _MALIGNANT, _UNKNOWN = (55, 114, 176), (190, 73, 46), (110, 110, 130)  # apart for the colour-blind too


def draw(
    title: str,
    panels: Sequence[tuple[str, Image.Image]],
    note: str,
    classes: Sequence[tuple[ClassLabel, float]],
    foot: str,
) -> Image.Image:
    """Draw an answer as one picture, about 1,350 pixels wide with two panels.

    Args:
        title: the answer.
        panels: captions and images, side by side.
        note: a line above the bars; may be empty.
        classes: the bars, the most probable class first.
        foot: a line below all.
    """
    panels = [(caption, _fit(image)) for caption, image in panels]
    tall = max(*(image.height for _, image in panels), _ROW * len(classes), 120)
    width = _GAP + len(panels) * (_PANEL + _GAP) + _BARS + _GAP
    figure = Image.new("RGB", (width, _HEAD + tall + _FOOT), _PAPER)
    pen = ImageDraw.Draw(figure)

    pen.text((_GAP, 16), _clip(pen, title, 28, width - 2 * _GAP), _INK, _font(28))
    for i, (caption, image) in enumerate(panels):
        left = _GAP + i * (_PANEL + _GAP)
        pen.text((left, _HEAD - 24), _clip(pen, caption, 15, _PANEL), _MUTED, _font(15))
        figure.paste(image, (left + (_PANEL - image.width) // 2, _HEAD))

    left = _GAP + len(panels) * (_PANEL + _GAP)
    pen.text((left, _HEAD - 24), note, _MUTED, _font(15))
    for i, (label, p) in enumerate(classes):
        top = _HEAD + i * _ROW
        end = left + _BARS
        pen.text((left, top), _clip(pen, f"{label.code}  {label.en}", 15, _BARS - 70), _INK, _font(15))
        pen.text((end, top), f"{p:.1%}", _INK, _font(15), anchor="ra")
        pen.rounded_rectangle((left, top + 20, end, top + 29), 4, _TRACK)
        colour = _UNKNOWN if label.malignant is None else _MALIGNANT if label.malignant else _BENIGN
        if p * _BARS >= 1:
            pen.rounded_rectangle((left, top + 20, left + max(p * _BARS, 8), top + 29), 4, colour)
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
