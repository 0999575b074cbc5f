"""Assessment of a prediction: abstention, hints, prediction set and operating points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lentigo.bundle import Domain, Spec
from lentigo.inference.quality import Faults

UNLIKE = "the image is unlike those the model was trained on"
KINDS: dict[Domain, str] = {
    "dermoscopy": "dermoscopy",
    "clinical": "a plain photograph of a lesion",
    "other": "another kind of picture",
}
"""Names of the kinds of pictures that a graph tells apart."""


@dataclass(frozen=True)
class Verdict:
    """Assessment of a prediction, besides its probabilities.

    Attributes:
        reasons: why the answer is "can't tell", in words; empty without abstention.
        hints: minor faults of the image, in words.
        atypicality: OOD score; its median over the training images is 1. None if the bundle has no such score.
        modality: kind of picture that the image looks most like, ``dermoscopy``, ``clinical`` (a plain photograph of a
            lesion) or ``other``; None if the bundle does not tell.
        prediction_set: codes of the classes that contain the true one with the bundle's coverage, the most probable
            first (may be empty); None if the bundle has none.
        malignant: summed probability of the malignant classes; None if the malignancy of a class is unknown.
        operating_points: name -> whether that sum, or that of the image alone, reaches the threshold.
        image_alone: (K,) probabilities before age, sex and site; empty if these changed nothing.
    """

    reasons: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    atypicality: float | None = None
    modality: Domain | None = None
    prediction_set: tuple[str, ...] | None = None
    malignant: float | None = None
    operating_points: dict[str, bool] = field(default_factory=dict)
    image_alone: tuple[float, ...] = ()


def assess(
    spec: Spec,
    probabilities: Sequence[float],
    atypicality: float | None,
    faults: Faults,
    image_alone: Sequence[float] = (),
    modality: Domain | None = None,
) -> Verdict:
    """Evaluate one answer by the bundle's thresholds and the quality of the image.

    Thresholds are those of the image alone. Age, sex and site therefore change no prediction set, and can raise
    concern but not lower it: an operating point that the image alone reaches stays reached.

    Args:
        spec: the bundle's specification.
        probabilities: (K,) calibrated.
        atypicality: the graph's output; None if it has no such output.
        faults: result of `lentigo.inference.quality.assess_quality` on the network's input.
        image_alone: (K,) the same before age, sex and site, if these changed it.
        modality: most probable kind of picture; None if the graph does not tell.
    """
    reasons, hints = faults
    if spec.abstention is not None and atypicality is not None and atypicality > spec.abstention.threshold:
        reasons += (unlike(spec.domain, modality),)
    labels = spec.labels
    malignant = labels.malignant_probability(probabilities)
    alone = labels.malignant_probability(image_alone) if image_alone else None
    highest = max((p for p in (malignant, alone) if p is not None), default=None)
    reached = {} if highest is None else {p.name: bool(highest >= p.threshold) for p in spec.operating_points}
    return Verdict(
        reasons,
        hints,
        atypicality,
        modality,
        _prediction_set(spec, image_alone or probabilities),
        None if malignant is None else float(malignant),
        reached,
        tuple(image_alone),
    )


def unlike(domain: Domain, modality: Domain | None) -> str:
    """Describe why an OOD score is above the threshold: another kind of picture than the model's, or an unusual image.

    Args:
        domain: kind of images that the model is made for.
        modality: kind that the image looks most like, if known.
    """
    if modality is None or modality == domain or domain not in KINDS:
        return UNLIKE
    return f"the image looks like {KINDS[modality]}, not like {KINDS[domain]}"


def _prediction_set(spec: Spec, probabilities: Sequence[float]) -> tuple[str, ...] | None:
    if spec.conformal is None:
        return None
    codes = spec.codes
    inside = spec.conformal.contains(probabilities, codes)
    return tuple(codes[k] for k in np.argsort(-np.asarray(probabilities), kind="stable") if inside[k])
