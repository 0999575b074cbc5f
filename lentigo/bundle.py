"""The bundle: a trained model as a folder of plain files, the interface between training and inference.

A bundle contains ``spec.json`` (specification of the model and its input), ``model.onnx`` (one file),
``MODEL_CARD.md`` and ``golden.json`` (inputs and outputs that every runtime must reproduce).
Opening a bundle checks all files against the SHA-256 in the specification. Bundles contain no
pickles.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lentigo.errors import BundleError, DataError, OutputError
from lentigo.estimate import Estimate, PredictiveValues
from lentigo.files import CARD as CARD
from lentigo.files import GOLDEN as GOLDEN
from lentigo.files import MAX_MODEL as MAX_MODEL
from lentigo.files import MAX_TEXT as MAX_TEXT
from lentigo.files import MODEL as MODEL
from lentigo.files import SPEC as SPEC
from lentigo.files import read_regular, sync
from lentigo.labels import ClassLabel, Code, LabelSet, Line
from lentigo.tables import MetadataField, is_unknown
from lentigo.text import one_line

MODALITY = "modality"
"""Name of the optional output of the graph that names the kind of picture: (N, 3), the logits of `MODALITIES`."""
FORMAT = 3
"""Newest format. Format 1 has no ``atypicality`` and no abstention; format 3 is written only with ``metadata``."""
TEST_AT = "test at "
"""Prefix of an operating point's name in ``metrics``, for its sensitivity and specificity on the test part."""
Domain = Literal["dermoscopy", "clinical", "phantom", "other", "not stated"]
"""Kind of images a model is made for; for a user's data, as given by the user."""
MODALITIES: tuple[Domain, ...] = ("dermoscopy", "other", "clinical")
"""Kinds of pictures, in the order of the columns of the output `MODALITY`."""
_MAX_DEPTH = 32
RESERVED = frozenset(
    ("path", "label", "malignant_share", "flagged", "prediction_set", "atypicality", "reasons", "hints", "error")
)
"""Columns of result tables, not allowed as class codes."""


Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=2**53)]  # exact in JavaScript
Seed = Annotated[int, Field(gt=-(2**53), lt=2**53)]
Side = Annotated[int, Field(ge=1, le=4096)]
Mean = Annotated[float, Field(ge=-100, le=100)]
Deviation = Annotated[float, Field(ge=1e-3, le=100)]


class _Model(BaseModel):
    # Unknown keys are errors; a newer writer must raise FORMAT.
    # defer_build: parts of a specification are validated with it and need no separate validator.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class InputSpec(_Model):
    """Preprocessing for the graph's input ``image``, float32 (N, 3, size, size), RGB.

    Pixels are scaled to [0, 1], then ``(x - mean) / std`` per channel.
    """

    size: int = Field(ge=16, le=4096)
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Deviation, Deviation, Deviation]
    resample: Literal["bilinear"] = "bilinear"


class OutputSpec(_Model):
    """The graph's outputs: ``logits`` (N, K), ``embedding`` (N, D) and, optionally, ``cam`` and ``atypicality``.

    ``cam`` is (N, K, h, w), ``atypicality`` (N,). A graph may also have `MODALITY`, which no key declares.
    """

    embedding: Annotated[int, Field(ge=1, le=2**20)]
    cam: tuple[Side, Side] | None = None
    atypicality: bool = False


class NetworkSpec(_Model):
    """The network: registry name, options, trainable parameters and multiply-accumulates."""

    name: Line
    options: dict[str, Any] = {}
    parameters: Count
    macs: Count | None = None


class Separation(_Model):
    """Separation of a set of OOD images from in-distribution images by a score.

    Attributes:
        images: number of OOD images.
        auroc: ROC AUC of OOD against in-distribution images, 0 to 1; 0.5 is chance.
        fpr: fraction of OOD images below the threshold that accepts 95 % of the others (FPR at 95 % TPR).
    """

    images: Count
    auroc: Fraction
    fpr: Fraction


class Abstention(_Model):
    """Rule for "can't tell": the graph's output ``atypicality`` is above the threshold.

    Nodes of the graph compute the score; ``score`` is its display name. ``accepted`` is the accepted fraction of the
    ``images`` validation images. ``measured`` holds the separation of OOD sets by name.
    """

    score: Line
    threshold: float
    accepted: Fraction
    images: Count
    measured: dict[Line, Separation] = {}


class Conformal(_Model):
    """Split-conformal prediction sets: all classes with a probability of at least ``1 - quantile``.

    The classes in ``pooled`` have few validation images and share one quantile.
    """

    coverage: float = Field(gt=0, lt=1)
    quantiles: dict[Code, Fraction]
    pooled: tuple[Code, ...] = ()

    def contains(self, probabilities: npt.ArrayLike, codes: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return the classes in the set of each image, (..., K) bool.

        Args:
            probabilities: (..., K), calibrated.
            codes: the K class codes.
        """
        inside: npt.NDArray[np.bool_] = np.asarray(probabilities) >= 1 - np.array(
            [self.quantiles.get(code, 1.0) for code in codes]
        )
        return inside


class OperatingPoint(_Model):
    """A threshold on the summed malignant probability, with its validation metrics."""

    name: Code
    threshold: Annotated[float, Field(ge=0, le=2)]
    sensitivity: Fraction
    specificity: Fraction


AGES = (0, 30, 40, 50, 60, 70, 80)
"""First years of the age bands."""


class Metadata(_Model):
    """Likelihood ratios of age, sex and body site, which update the image's probabilities.

    Attributes:
        log_ratios: field -> value -> log(P(value | class) / P(value)) per class, in output order. By Bayes' rule it is
            added to the log probability. The value of an age is the first year of its band.
        groups: field -> number of lesions or patients of the training part with a known value.
    """

    log_ratios: dict[MetadataField, dict[Line, tuple[Annotated[float, Field(ge=-10, le=10)], ...]]]
    groups: dict[MetadataField, Count]

    def update(
        self, probabilities: npt.NDArray[np.float64], metadata: Sequence[Mapping[str, object]], *, strict: bool = True
    ) -> npt.NDArray[np.float64]:
        """Return the probabilities updated by each image's metadata; bit-identical without known values.

        Args:
            probabilities: (N, K), calibrated.
            metadata: per image ``age`` in years (a number or text), ``sex`` and ``site``. Missing, blank and "unknown"
                values have no effect; other fields are ignored.
            strict: reject values unknown to the model; otherwise they have no effect.

        Raises:
            DataError: an invalid age, or a value unknown to the model.
        """
        result = probabilities.copy()
        for row, given in enumerate(metadata):
            if found := [ratios for name in self.log_ratios if (ratios := self._find(name, given.get(name), strict))]:
                scaled = probabilities[row] * np.exp(np.sum(found, axis=0))
                result[row] = scaled / scaled.sum()
        return result

    def check(self, metadata: Mapping[str, object]) -> None:
        """Check the age, sex and site of an image.

        Raises:
            DataError: an invalid age, or a value unknown to the model.
        """
        for name in self.log_ratios:
            self._find(name, metadata.get(name), strict=True)

    def _find(self, name: MetadataField, value: object, strict: bool) -> tuple[float, ...]:
        table, key = self.log_ratios[name], metadata_value(name, value)
        if strict and key is not None and key not in table and name != "age":
            raise DataError(f"{name} {one_line(key)!r} is not known; known: {', '.join(table)} (or leave it out)")
        return table.get(key or "", ())


def metadata_value(name: str, value: object) -> str | None:
    """Return the key of an age, sex or site in a bundle's ``metadata``; None for an unknown value.

    Raises:
        DataError: an age that is not a number from 0 to 130.
    """
    text = "" if value is None else " ".join(str(value).split()).casefold()
    if is_unknown(text):
        return None
    if name != "age":
        return text
    try:
        years = float(text.replace(",", "."))
    except ValueError:
        years = math.nan
    if not 0 <= years <= 130:
        raise DataError(f"age {one_line(str(value))!r}: give years, from 0 to 130 (or leave it out)")
    return str(max(first for first in AGES if first <= years))


class ExtraData(_Model):
    """An additional data set with images in the training.

    Attributes:
        data: name of the data set.
        fingerprint: fingerprint of the whole data set.
        images: number of its training images, from the recipe's ``data.extra`` without a published test part.
    """

    data: Line
    fingerprint: Line
    images: Count


class TeacherData(ExtraData):
    """A data set of another model's training, whose predictions or features this model's training used.

    Attributes:
        teacher: name of that model's run or bundle.
        by: predictions (``answers``) or ``features``.
    """

    teacher: Line
    by: Literal["answers", "features"] = "answers"


class Grouping(_Model):
    """Source of the lesion or patient ids; see `lentigo.data.groups.GroupSource`."""

    kind: Line
    name: Line = ""
    blank: Count = 0


class Provenance(_Model):
    """Provenance of the model: all that is needed to train it again and to interpret its metrics."""

    command: str
    recipe: dict[str, Any]
    data: Line
    fingerprint: Line
    groups: Grouping | None = None
    protocol: Line
    split_seed: Seed
    seed: Seed
    counts: dict[Line, Count] = {}
    extra: tuple[ExtraData, ...] = ()
    taught: tuple[TeacherData, ...] = ()
    hardware: Line
    wall_seconds: float
    created: Line
    lentigo: Line
    notes: str = ""


class Spec(_Model):
    """Content of ``spec.json``."""

    format: int = 2
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: Line = "1"
    title: Line
    domain: Domain = "dermoscopy"
    classes: tuple[ClassLabel, ...] = Field(min_length=2)
    input: InputSpec
    outputs: OutputSpec
    network: NetworkSpec
    weights: Literal["fp32", "fp16", "int8"] = "fp32"
    temperature: float = Field(default=1.0, ge=1e-3, le=1e3)
    abstention: Abstention | None = None
    conformal: Conformal | None = None
    operating_points: tuple[OperatingPoint, ...] = ()
    metadata: Metadata | None = None
    metrics: dict[Line, dict[Line, Estimate]] = {}
    provenance: Provenance
    licence: Line
    data_licence: Line
    files: dict[Line, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.abstention is not None and not self.outputs.atypicality:
            raise ValueError("abstention needs the graph's output atypicality")
        doubled = sorted({code for code in self.codes if self.codes.count(code) > 1})
        if doubled:
            raise ValueError(f"class {doubled[0]!r} is there twice")
        if taken := RESERVED.intersection(self.codes):
            raise ValueError(f"a class cannot be called {min(taken)!r}, which is a column of the tables of results")
        points = [point.name for point in self.operating_points]
        if len(set(points)) < len(points):
            raise ValueError("operating points need names of their own")
        if self.conformal is not None and (
            foreign := {*self.conformal.quantiles, *self.conformal.pooled}.difference(self.codes)
        ):
            raise ValueError(f"conformal names {min(foreign)!r}, which is no class")
        rows = () if self.metadata is None else [r for t in self.metadata.log_ratios.values() for r in t.values()]
        if any(len(row) != len(self.classes) for row in rows):
            raise ValueError("metadata needs one ratio a class")
        return self

    @property
    def labels(self) -> LabelSet:
        """Return the classes as a label set, in output order."""
        return LabelSet(self.name, self.classes)

    @property
    def codes(self) -> tuple[str, ...]:
        """Return the class codes, in output order."""
        return tuple(c.code for c in self.classes)

    def predictive_values(self, prevalence: float) -> dict[str, PredictiveValues]:
        """Return the predictive values of the operating points at a prevalence of malignant lesions.

        Args:
            prevalence: fraction of malignant lesions, above 0 and below 1.

        Returns:
            Operating point -> values, from its rates on the test part; points without rates are skipped.
        """
        found = {}
        for point in self.operating_points:
            rates = self.metrics.get(f"{TEST_AT}{point.name}", {})
            sensitivity, specificity = rates.get("sensitivity"), rates.get("specificity")
            if sensitivity and specificity and 0 <= sensitivity.value <= 1 and 0 <= specificity.value <= 1:
                found[point.name] = PredictiveValues.of(sensitivity, specificity, prevalence)
        return found


def as_name(text: str) -> str:
    """Convert text to a valid bundle name: lower case, ``-`` for other characters; may be empty."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle with verified files.

    Attributes:
        path: the bundle folder.
        spec: the specification.
    """

    path: Path
    spec: Spec

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle folder and verify all its files.

        Args:
            path: the bundle folder, or a run folder that has one in ``bundle/``.

        Raises:
            BundleError: no bundle, a newer format, an invalid specification, a missing file or a wrong checksum.
        """
        folder = Path(path)
        if not folder.exists():
            folder = next(iter(_set_aside(folder)), folder)
        if not (folder / SPEC).is_file() and (folder / "bundle" / SPEC).is_file():
            folder = folder / "bundle"
        spec = read_spec(folder)
        for name, expected in spec.files.items():
            _read_verified(folder / name, expected)
        return cls(folder, spec)

    @property
    def model(self) -> Path:
        """Return the path of the ONNX file."""
        return self.path / MODEL

    def read(self, name: str) -> bytes:
        """Return the content of a file after another check.

        Raises:
            BundleError: not a file of this bundle, missing, or changed since the bundle was written.
        """
        if name not in self.spec.files:
            raise BundleError(f"{self.path}: the bundle has no {name}")
        return _read_verified(self.path / name, self.spec.files[name])

    @property
    def card(self) -> str:
        """Return the model card as Markdown; invalid UTF-8 bytes are replaced."""
        return self.read(CARD).decode("utf-8", "replace")

    @property
    def golden(self) -> dict[str, Any]:
        """Return the golden vectors (format: ``lentigo.export.parity``)."""
        loaded = _load_json(self.path / GOLDEN, self.read(GOLDEN))
        if not isinstance(loaded, dict):
            raise BundleError(f"{self.path / GOLDEN}: holds no golden vectors")
        return loaded


def read_spec(folder: Path) -> Spec:
    """Read and validate ``spec.json``; the format version is checked first.

    Raises:
        BundleError: missing, not JSON, a newer format, or an invalid specification.
    """
    path = folder / SPEC
    if not path.exists():
        raise BundleError(f"{folder}: no bundle here (a bundle folder holds {SPEC} and {MODEL})")
    raw = _load_json(path, _read_regular(path))
    version = raw.get("format") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise BundleError(f"{path}: has no format number; it is not a lentigo bundle")
    if version > FORMAT:
        raise BundleError(
            f"{path}: bundle format {version} is newer than this lentigo reads ({FORMAT}); upgrade lentigo"
        )
    try:
        spec = Spec.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = one_line(".".join(str(part) for part in first["loc"])[:200])
        raise BundleError(
            f"{path}: invalid at {where or 'the top'}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    for name in (MODEL, CARD, GOLDEN):
        if name not in spec.files:
            raise BundleError(f"{path}: names no checksum for {name}")
    for name in spec.files:
        if Path(name).name != name or name == "..":  # only files inside the bundle folder
            raise BundleError(f"{path}: file name {name!r} leads outside the bundle")
    return spec


def write_bundle(folder: str | Path, spec: Spec, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle atomically.

    Args:
        folder: output folder; an existing bundle is replaced.
        spec: the specification; its ``files`` are set from ``files``.
        files: file name -> content, with ``model.onnx``, ``MODEL_CARD.md`` and ``golden.json``.

    Returns:
        The bundle, read from disk and verified.

    Raises:
        BundleError: a required file is missing, or ``folder`` exists and is not a bundle.
        OutputError: a file cannot be written.
    """
    missing = {MODEL, CARD, GOLDEN} - set(files)
    if missing:
        raise BundleError(f"a bundle needs {', '.join(sorted(missing))}")
    target = Path(folder)
    if target.exists() and not (target / SPEC).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise BundleError(f"{target}: exists and is not a bundle; choose another place")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    complete = spec.model_copy(update={"files": digests})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            for name, content in files.items():
                (staging / name).write_bytes(content)
            document = complete.model_dump(mode="json") | {"classes": [c.record for c in complete.classes]}
            if complete.metadata is None:  # readers of format 2 reject the key
                del document["metadata"]
            else:
                document["format"] = FORMAT
            text = json.dumps(document, indent=2, ensure_ascii=False)
            (staging / SPEC).write_text(text + "\n", encoding="utf-8")
            staging.chmod(0o755)
            _swap(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot write the bundle ({error.strerror or error})") from None
    return Bundle.open(target)


def _swap(staging: Path, target: Path) -> None:
    """Replace ``target`` by ``staging``, atomically if the system supports it.

    Otherwise the old folder is renamed first (`_set_aside`).
    """
    for path in (*staging.iterdir(), staging):  # a power failure must not leave empty files
        sync(path)
    if not (target.exists() and _exchange(staging, target)):
        old = target.with_name(f".{target.name}.old-{os.getpid()}")
        shutil.rmtree(old, ignore_errors=True)  # left by a process that ran out of file descriptors
        if target.exists():
            target.rename(old)
        try:
            staging.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    with suppress(OSError):  # the new bundle is complete, but may not be synced to disk
        sync(target.parent)
    for old in _set_aside(target):
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders atomically; return False if the system or file system does not support it."""
    import ctypes  # imported here, since only writing needs it

    try:
        library = ctypes.CDLL(None)
        if sys.platform == "darwin":
            return bool(library.renamex_np(os.fsencode(one), os.fsencode(other), 2) == 0)  # RENAME_SWAP
        # AT_FDCWD, RENAME_EXCHANGE.
        return bool(library.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0)
    except (AttributeError, OSError, TypeError):
        return False


def _set_aside(folder: Path) -> list[Path]:
    """Return bundles that an interrupted replacement in two steps has moved away from ``folder``."""
    return sorted(folder.parent.glob(f".{glob.escape(folder.name)}.old-*"))


def _read_verified(path: Path, expected: str) -> bytes:
    content = _read_regular(path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise BundleError(
            f"{path}: damaged (SHA-256 {found[:12]}…, {SPEC} says {expected[:12]}…); fetch or export the bundle again"
        )
    return content


def _read_regular(path: Path) -> bytes:
    limit = MAX_TEXT if path.name in (SPEC, CARD, GOLDEN) else MAX_MODEL
    try:
        return read_regular(path, limit)
    except FileNotFoundError:
        raise BundleError(f"{path}: missing from the bundle; fetch or export the bundle again") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BundleError(f"{path}: cannot be read ({why}); fetch or export the bundle again") from None


def _load_json(path: Path, content: bytes) -> Any:
    """Parse JSON with limited depth and finite numbers."""
    try:
        value = json.loads(content.decode("utf-8"), parse_float=_finite, parse_constant=_finite)
        _check_depth(value)
    except RecursionError:
        raise BundleError(f"{path}: cannot be read as JSON (nested too deeply)") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number with thousands of digits
        raise BundleError(f"{path}: cannot be read as JSON ({error})") from None
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        level = inner
        if not level:
            return
    raise ValueError(f"nested more than {_MAX_DEPTH} deep")
