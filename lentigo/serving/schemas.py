"""The documents of the API, as OpenAPI shows them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from lentigo import NOTICE

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_Absent = SkipJsonSchema[None]
"""The default of an option that is not given; a query has no null."""


class Options(BaseModel):
    """The options of a predict request: its query parameters, each at most once. Others are refused."""

    model_config = ConfigDict(extra="forbid")

    heatmap: Literal["none", "png", "array"] = Field(
        "none",
        description="Where the network looked for its answer: drawn over the image (`png`), or as numbers (`array`).",
    )
    top_k: Annotated[int, Field(ge=1, le=1000)] | _Absent = Field(
        None, description="Only the most probable classes; all by default."
    )
    model: Annotated[str, Field(min_length=1, max_length=128)] | _Absent = Field(
        None, description="A model of `/v1/models`; the first by default."
    )
    prevalence: Annotated[float, Field(gt=0, lt=1)] | _Absent = Field(
        None, description="Fraction malignant of the lesions seen, such as 0.02; adds `predictive_values`."
    )

    @field_validator("top_k", "prevalence", mode="before")
    @classmethod
    def _check_number(cls, text: object) -> object:
        """A number as JSON writes it; the usual reading takes ``1_0`` and blanks besides."""
        if isinstance(text, str) and not _NUMBER.fullmatch(text):
            raise ValueError("not a number")
        return text


class ProblemDocument(BaseModel):
    """An error, by RFC 9457; `type` is stable, `detail` is for people."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:lentigo:problem:not-an-image"])
    title: str
    status: int
    detail: str
    request_id: str | None = None


class Heatmap(BaseModel):
    """Where the network looked for one class (its Grad-CAM)."""

    code: str = Field(description="The class: the one answered.")
    format: Literal["png", "array"]
    width: int
    height: int
    data: str | None = Field(None, description="PNG of the image with the map over it, base64.")
    values: list[list[float]] | None = Field(None, description="The map itself, rows first, 1 at the hottest place.")


class EstimateDocument(BaseModel):
    """A measured value with its interval, of at least 95 %."""

    value: float | None
    low: float | None
    high: float | None


class PointValues(BaseModel):
    """Predictive values of one operating point."""

    ppv: EstimateDocument = Field(description="Fraction malignant of the lesions that reach its threshold.")
    npv: EstimateDocument = Field(description="Fraction benign of the others.")


class PredictiveValuesDocument(BaseModel):
    """Predictive values at a stated prevalence, by Bayes' rule from the model's figures on its test part."""

    prevalence: float
    points: dict[str, PointValues] = Field(description="By operating point.")


class PredictionDocument(BaseModel):
    """The prediction for one image, or an `error` in its place."""

    model_config = ConfigDict(extra="allow")

    index: int = Field(description="Which image of the request, from 0.")
    label: str | None = Field(None, description="Code of the most probable class.")
    name: str | None = Field(None, description="Its English name.")
    confidence: float | None = Field(None, description="Its calibrated probability.")
    malignant: float | None = Field(
        None, description="Summed probability of the malignant classes, where every class is known to be so or not."
    )
    abstained: bool | None = Field(None, description='Whether the answer is "can\'t tell".')
    reasons: list[str] | None = Field(None, description="Why, in words.")
    hints: list[str] | None = Field(None, description="What could be better about the image, in words.")
    atypicality: float | None = Field(
        None,
        description=(
            "How unlike the training images the image is; 1 is the middle of them. Null where the model has no such"
            " score."
        ),
    )
    modality: str | None = Field(
        None,
        description=(
            "Kind of picture that the image looks most like: `dermoscopy`, `clinical` (a plain photograph of a lesion)"
            " or `other`. Null where the model does not tell."
        ),
    )
    prediction_set: list[str] | None = Field(
        None,
        description=(
            "The classes that hold the true one with the model's coverage, the likeliest first. Null where it has none."
        ),
    )
    operating_points: dict[str, bool] | None = Field(
        None, description="Whether `malignant` reaches the threshold of each operating point of the model."
    )
    predictive_values: PredictiveValuesDocument | None = Field(
        None,
        description=(
            "With `prevalence`: what its operating points say of images like those of the model's test part. Null where"
            ' the answer is "can\'t tell" or the model has no such figures.'
        ),
    )
    probabilities: dict[str, float] | None = Field(
        None, description="Calibrated probabilities by class code, the largest first."
    )
    width: int | None = None
    height: int | None = None
    heatmap: Heatmap | None = None
    error: ProblemDocument | None = None


class LesionDocument(BaseModel):
    """The prediction for one lesion: the mean over its images that the model can assess."""

    model_config = ConfigDict(extra="allow")

    lesion: str | None = Field(description="Its name, as it was sent; null for an image that stands alone.")
    images: list[int] = Field(description="Its images: their `index` in `predictions`.")
    label: str | None = Field(None, description="Code of the most probable class.")
    name: str | None = Field(None, description="Its English name.")
    confidence: float | None = Field(None, description="Its mean calibrated probability.")
    malignant: float | None = Field(None, description="As in `predictions`, of the mean probabilities.")
    abstained: bool | None = Field(None, description="Whether the model can assess none of the images.")
    reasons: list[str] | None = Field(None, description="Why, in words.")
    hints: list[str] | None = Field(
        None, description="How many images were averaged or left out, and whether they disagree, in words."
    )
    prediction_set: list[str] | None = Field(None, description="As in `predictions`, of the mean probabilities.")
    operating_points: dict[str, bool] | None = Field(
        None, description="As in `predictions`, of the mean probabilities."
    )
    predictive_values: PredictiveValuesDocument | None = Field(None, description="As in `predictions`.")
    probabilities: dict[str, float] | None = Field(
        None, description="Mean calibrated probabilities by class code, the largest first."
    )
    error: ProblemDocument | None = None


class ModelIdentity(BaseModel):
    """The very model that answered."""

    name: str
    version: str
    sha256: str = Field(description="SHA-256 of its model.onnx.")


class PredictReply(BaseModel):
    """The answer to a predict request: one item an image, in the order given."""

    request_id: str
    model: ModelIdentity
    predictions: list[PredictionDocument]
    lesions: list[LesionDocument] | None = Field(
        None, description="Only where the request names lesions: one item a lesion."
    )
    metadata: list[str] | None = Field(
        None, description="Only where the request has `age`, `sex` or `site`: which of them the model took."
    )
    notice: str = NOTICE


class ClassDocument(BaseModel):
    """One class of a model."""

    code: str
    en: str
    zh: str
    malignant: bool | None
    names: dict[str, str] = Field({}, description="Names in other languages, by language code.")


class ModelDocument(ModelIdentity):
    """One model that is served."""

    title: str
    domain: str
    classes: list[ClassDocument]
    input_size: int = Field(description="Side of the square that images are resized to, in pixels.")
    network: str
    parameters: int
    weights: str
    heatmaps: bool = Field(description="Whether it can say where it looked.")
    metadata: dict[str, list[str]] = Field(
        description="Inputs that it takes beside an image, and their values; an age is any number of years."
    )
    licence: str
    data_licence: str


class ModelsReply(BaseModel):
    """The models that are served."""

    default: str
    models: list[ModelDocument]


class State(BaseModel):
    """Whether the service is alive, or ready."""

    status: Literal["alive", "ready"]
    version: str


EXAMPLE: dict[str, Any] = {
    "request_id": "5f0c7c3a9b1de824",
    "model": {
        "name": "dermoscopy-7",
        "version": "1",
        "sha256": "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c",
    },
    "predictions": [
        {
            "index": 0,
            "label": "nv",
            "name": "melanocytic nevus",
            "confidence": 0.912,
            "malignant": 0.041,
            "abstained": False,
            "reasons": [],
            "hints": [],
            "atypicality": 0.94,
            "modality": "dermoscopy",
            "prediction_set": ["nv"],
            "operating_points": {"sensitivity_90": False, "sensitivity_95": False},
            "probabilities": {"nv": 0.912, "bkl": 0.047, "mel": 0.033},
            "width": 600,
            "height": 450,
        }
    ],
    "notice": NOTICE,
}
