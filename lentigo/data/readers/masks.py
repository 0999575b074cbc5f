"""Masks, heat maps and thumbnails, which are no pictures of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_FOLDER = re.compile(
    r"(.+ )?(masks?|segmentations?( masks?| lesion.*)?|segmentation(class|object)|ground ?truths?( v\d)?|superpixels?"
    r"|heat ?maps?|grad ?cams?|saliency( maps?)?)|overlays?|annotations?|thumbs?|thumbnails?|previews?",
    re.IGNORECASE,
)
_KIND = (
    r"(masks?|segmentation|seg|superpixels?|ground ?truth|gt|lesion[ _]mask|heat[ _]?map|grad[ _-]?cam|cam|saliency"
    r"|overlay|contours?|outline|annotated|attribute_\w+|expert|thumb|thumbnail|preview)"
)
_FILE = re.compile(rf"(.+?)[\s_\-.]+{_KIND}[\s_\-]?\d*|{_KIND}[\s_\-.]+(.+)", re.IGNORECASE)
_PH2 = re.compile(r"(.+)_(lesion|roi)")


def masks(images: Iterable[str]) -> dict[str, str]:
    """Images that are masks or maps of others, and why: ``x_mask.png`` beside ``x.jpg``, ``masks`` beside folders.

    Args:
        images: relative paths, with ``/``.
    """
    listed = list(images)
    stems = {image.rpartition(".")[0].lower() for image in listed}
    beside: dict[str, set[str]] = {}
    for image in listed:
        parts = image.split("/")[:-1]
        for level, name in enumerate((*parts, "")):  # the image itself beside folders
            beside.setdefault("/".join(parts[:level]), set()).add(name)
    found = {}
    for image in listed:
        parts = image.split("/")[:-1]
        match = _FILE.fullmatch(PurePosixPath(image).stem)
        if match and "/".join((*parts, match[1] or match[4])).lower() in stems:
            found[image] = "a mask, heat map or thumbnail beside its image, no picture"
            continue
        for level, name in enumerate(parts):
            others = beside["/".join(parts[:level])]
            ph2 = _PH2.fullmatch(name)
            if ph2 and f"{ph2[1]}_Dermoscopic_Image" in others:
                found[image] = "a mask of PH2, no picture"
            elif _is_mask(name) and not all(map(_is_mask, others)):
                found[image] = f"lies in {name!r}: masks or thumbnails, no pictures"
    return found


def _is_mask(folder: str) -> bool:
    return _FOLDER.fullmatch(re.sub(r"[\s_\-]+", " ", folder)) is not None
