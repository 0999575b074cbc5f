"""The bundle: a trained model as a folder of plain files, and the only thing the two wings share.

A bundle holds ``spec.json`` (what the model is and how to feed it), ``model.onnx`` (one file),
``MODEL_CARD.md`` and ``golden.json`` (inputs and outputs that every runtime must reproduce).
Every file is checked against the SHA-256 in the spec when the bundle is opened; nothing in a
bundle is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lentigo.errors import BundleError, OutputError
from lentigo.labels import ClassLabel, LabelSet

FORMAT = 2
"""Written. Format 1 is read as well: it had no ``atypicality``, and so no abstention."""
BATCH_AXIS = "batch"
"""The name of the graph's first axis, by which a runtime may fix it."""
SPEC, MODEL, CARD, GOLDEN = "spec.json", "model.onnx", "MODEL_CARD.md", "golden.json"


class _Model(BaseModel):
    # Unknown keys are kept out loudly: a newer writer must raise FORMAT instead.
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassSpec(_Model):
    """One output class: code, plain names, and whether it is malignant (None: not known)."""

    code: str
    en: str
    zh: str
    malignant: bool | None = None


class InputSpec(_Model):
    """How an image becomes the graph's input ``image``, float32 (N, 3, size, size), RGB.

    Pixels are scaled to [0, 1], then ``(x - mean) / std`` per channel.
    """

    size: int = Field(ge=16, le=4096)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Literal["bilinear"] = "bilinear"


class OutputSpec(_Model):
    """The graph's outputs: ``logits`` (N, K); ``embedding`` (N, D); ``cam`` (N, K, h, w) and ``atypicality`` (N,) where they exist."""

    embedding: int
    cam: tuple[int, int] | None = None
    atypicality: bool = False


class NetworkSpec(_Model):
    """The network inside: registry name, options, trainable parameters and multiply-accumulates."""

    name: str
    options: dict[str, Any] = {}
    parameters: int
    macs: int | None = None


class Separation(_Model):
    """How well ``atypicality`` tells other pictures from validation images.

    ``fpr`` is the share of them that passes the threshold which lets 95 % of the validation images pass.
    """

    images: int
    auroc: float
    fpr: float


class Abstention(_Model):
    """When to answer "can't tell": where the graph's output ``atypicality`` is above the threshold.

    The score itself is nodes of the graph; its name is for people. ``accepted`` is the share of the ``images`` validation images
    that pass, ``measured`` what was found on sets of other pictures, by name.
    """

    score: str
    threshold: float
    accepted: float
    images: int
    measured: dict[str, Separation] = {}


class Conformal(_Model):
    """Split-conformal prediction sets: classes whose probability reaches ``1 - quantile`` of theirs.

    ``pooled`` names the classes with too few validation images for a quantile of their own, which share one.
    """

    coverage: float = Field(gt=0, lt=1)
    quantiles: dict[str, float]
    pooled: tuple[str, ...] = ()


class OperatingPoint(_Model):
    """A threshold on the summed malignant probability, with what it reached on validation."""

    name: str
    threshold: float
    sensitivity: float
    specificity: float


class Interval(_Model):
    """A measured value with its 95 % bootstrap interval."""

    value: float
    low: float | None = None
    high: float | None = None


class LearntToo(_Model):
    """Another data set whose images training saw.

    Attributes:
        data: its name.
        fingerprint: of the whole of it.
        images: how many of its images were learnt from: those of the recipe's ``data.extra``, but for a published test part.
    """

    data: str
    fingerprint: str
    images: int


class Taught(LearntToo):
    """A data set that only a teacher has learnt from, whose answers training saw.

    Attributes:
        teacher: name of its run.
    """

    teacher: str


class Provenance(_Model):
    """Where the model came from: enough to train it again and to judge its figures."""

    command: str
    recipe: dict[str, Any]
    data: str
    fingerprint: str
    protocol: str
    split_seed: int
    seed: int
    counts: dict[str, int] = {}
    extra: tuple[LearntToo, ...] = ()
    taught: tuple[Taught, ...] = ()
    hardware: str
    wall_seconds: float
    created: str
    lentigo: str
    notes: str = ""


class Spec(_Model):
    """The whole of ``spec.json``."""

    format: int = FORMAT
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: str = "1"
    title: str
    domain: Literal["dermoscopy", "clinical", "phantom"] = "dermoscopy"
    classes: tuple[ClassSpec, ...] = Field(min_length=2)
    input: InputSpec
    outputs: OutputSpec
    network: NetworkSpec
    weights: Literal["fp32", "fp16", "int8"] = "fp32"
    temperature: float = Field(default=1.0, gt=0)
    abstention: Abstention | None = None
    conformal: Conformal | None = None
    operating_points: tuple[OperatingPoint, ...] = ()
    metrics: dict[str, dict[str, Interval]] = {}
    provenance: Provenance
    licence: str
    data_licence: str
    files: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.abstention is not None and not self.outputs.atypicality:
            raise ValueError("abstention needs the graph's output atypicality")
        return self

    @property
    def labels(self) -> LabelSet:
        """The classes as a label set, in output order."""
        return LabelSet(self.name, tuple(ClassLabel(**c.model_dump()) for c in self.classes))

    @property
    def codes(self) -> tuple[str, ...]:
        """The class codes, in output order."""
        return tuple(c.code for c in self.classes)


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose files have been checked.

    Attributes:
        path: the folder.
        spec: its specification.
    """

    path: Path
    spec: Spec

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle folder and verify every file in it.

        Args:
            path: the bundle folder, or a run folder that has one in ``bundle/``.

        Raises:
            BundleError: no bundle there, a newer format, an invalid spec, a missing file or a wrong checksum.
        """
        folder = Path(path)
        if not (folder / SPEC).is_file() and (folder / "bundle" / SPEC).is_file():
            folder = folder / "bundle"
        spec = read_spec(folder)
        for name, expected in spec.files.items():
            found = _sha256(folder / name)
            if found != expected:
                raise BundleError(
                    f"{folder / name}: damaged (SHA-256 {found[:12]}…, spec.json says {expected[:12]}…); fetch or export the bundle again"
                )
        return cls(folder, spec)

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.path / MODEL

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return (self.path / CARD).read_text(encoding="utf-8")

    @property
    def golden(self) -> dict[str, Any]:
        """The golden vectors (see ``lentigo.export.parity`` for their form)."""
        loaded: dict[str, Any] = json.loads((self.path / GOLDEN).read_text(encoding="utf-8"))
        return loaded


def read_spec(folder: Path) -> Spec:
    """Read and validate ``spec.json``, checking the format version before anything else.

    Raises:
        BundleError: missing, not JSON, of a newer format, or not a valid specification.
    """
    path = folder / SPEC
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{folder}: no bundle here (a bundle folder holds {SPEC} and {MODEL})") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{path}: cannot be read as JSON ({error})") from None
    version = raw.get("format") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise BundleError(f"{path}: has no format number; it is not a lentigo bundle")
    if version > FORMAT:
        raise BundleError(f"{path}: bundle format {version} is newer than this lentigo reads ({FORMAT}); upgrade lentigo")
    try:
        spec = Spec.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: invalid at {where or 'the top'}: {first['msg']}") from None
    for name in (MODEL, CARD, GOLDEN):
        if name not in spec.files:
            raise BundleError(f"{path}: names no checksum for {name}")
    for name in spec.files:
        if Path(name).name != name:  # a bundle never reaches outside its folder
            raise BundleError(f"{path}: file name {name!r} leads outside the bundle")
    return spec


def write_bundle(folder: str | Path, spec: Spec, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle atomically: a complete folder appears, or nothing changes.

    Args:
        folder: where the bundle goes; an existing bundle there is replaced.
        spec: the specification; its ``files`` are filled from ``files``.
        files: file name -> content; must hold ``model.onnx``, ``MODEL_CARD.md`` and ``golden.json``.

    Returns:
        The bundle, opened again from disk and verified.

    Raises:
        BundleError: a required file is missing, or ``folder`` holds something that is not a bundle.
        OutputError: the disk refuses.
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
            text = json.dumps(complete.model_dump(mode="json"), indent=2, ensure_ascii=False)
            (staging / SPEC).write_text(text + "\n", encoding="utf-8")
            staging.chmod(0o755)
            _swap(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot write the bundle ({error.strerror or error})") from None
    return Bundle.open(target)


def _swap(staging: Path, target: Path) -> None:
    """Put ``staging`` where ``target`` is; the old folder is set aside first and comes back on failure."""
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    if target.exists():
        target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise BundleError(f"{path}: missing from the bundle; fetch or export the bundle again") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error})") from None
