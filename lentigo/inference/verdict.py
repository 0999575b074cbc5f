"""What is to be said of one answer besides its probabilities: whether it stands, how sure it is, and what it is above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lentigo.bundle import Spec
from lentigo.inference.quality import Faults

UNLIKE = "the image is unlike those the model was trained on"


@dataclass(frozen=True, slots=True)
class Verdict:
    """See `Prediction` for the meaning of each.

    Attributes:
        reasons: why the answer is "can't tell", in words; empty where it stands.
        hints: what could be better about the image, in words.
        atypicality: how unlike the training images it is; None where the model has no such score.
        prediction_set: codes of the classes in the conformal set, the likeliest first; None where the model has none.
        malignant: summed probability of the malignant classes; None where that is not known of every class.
        operating_points: name -> whether that sum reaches the threshold.
    """

    reasons: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    atypicality: float | None = None
    prediction_set: tuple[str, ...] | None = None
    malignant: float | None = None
    operating_points: tuple[tuple[str, bool], ...] = ()


def judge(spec: Spec, probabilities: Sequence[float], atypicality: float | None, faults: Faults) -> Verdict:
    """Judge one answer by the bundle's thresholds and the quality of the image.

    Args:
        spec: the bundle's specification.
        probabilities: (K,) calibrated.
        atypicality: what the graph says; None where it has no such output.
        faults: what `lentigo.inference.quality.judge_quality` says of what the network saw.
    """
    reasons, hints = faults
    if spec.abstention is not None and atypicality is not None and atypicality > spec.abstention.threshold:
        reasons += (UNLIKE,)
    malignant = None
    if all(c.malignant is not None for c in spec.classes):
        malignant = sum(p for c, p in zip(spec.classes, probabilities, strict=True) if c.malignant)
    points = () if malignant is None else tuple((p.name, malignant >= p.threshold) for p in spec.operating_points)
    return Verdict(reasons, hints, atypicality, _prediction_set(spec, probabilities), malignant, points)


def _prediction_set(spec: Spec, probabilities: Sequence[float]) -> tuple[str, ...] | None:
    if spec.conformal is None:
        return None
    quantiles = spec.conformal.quantiles
    order = sorted(range(len(probabilities)), key=lambda k: -probabilities[k])
    return tuple(spec.codes[k] for k in order if probabilities[k] >= 1 - quantiles.get(spec.codes[k], 1.0))
