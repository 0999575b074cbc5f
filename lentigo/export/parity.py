"""The parity gate: compare a bundle with its golden vectors in every available runtime.

ONNX Runtime is checked through ``Classifier``, which includes decoding, resizing, normalisation and the temperature.
torch is checked if the trained network is available, LiteRT and ExecuTorch if the bundle has their files and the
runtime is installed, and the phone app's worker if the built app and Chromium are available.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lentigo.bundle import Bundle
from lentigo.errors import BundleError
from lentigo.export.browser import BrowserUnavailableError, run_browser
from lentigo.export.golden import FORMAT
from lentigo.export.graph import OUTPUTS, DeployedNetwork
from lentigo.export.mobile import FILES, Runner, runner
from lentigo.export.session import FloatArray
from lentigo.imaging import load, normalise, open_image
from lentigo.inference import Classifier, softmax
from lentigo.inference.quality import measure_quality
from lentigo.networks import Network
from lentigo.resampler import resize
from lentigo.training import load_run

Array = np.ndarray[Any, Any]
Outputs = dict[str, Array | None]

# Float16 storage has a relative rounding error of up to 2^-11 per weight, which accumulates to a few thousandths; the
# accuracy gate checks its effect.
_FLOAT16_FACTOR = 20.0
_FLOAT16_MAPS = 50.0  # of maps, whose sums suffer from cancellation

_MISSING = {
    "torch": "the trained network is not available (give the run folder)",
    "litert": "the runtime is not installed: pip install 'lentigo[litert]'",
    "executorch": "the runtime is not installed: pip install 'lentigo[executorch]'",
    "coreml": "runs on Apple's systems only",
}

QUALITY_TOLERANCE = 1e-2
"""Tolerance of quality measures, from pixels that differ by one level."""


@dataclass(frozen=True)
class Difference:
    """One quantity of one case in one runtime.

    Attributes:
        runtime: ``onnxruntime``, ``torch``, ``litert``, ``executorch`` or ``browser``.
        case: the golden case's name.
        quantity: ``pixels`` (levels of 255), ``probabilities`` (absolute), or ``logits``, ``embedding`` and ``cam``
            (relative to the largest golden value), or ``answer`` for a bundle that the browser cannot open.
        difference: the largest difference; infinite for another shape or an output that is not finite.
        tolerance: the largest difference allowed.
    """

    runtime: str
    case: str
    quantity: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class ParityReport:
    """The differences of each runtime from the golden vectors; prints as a table.

    Attributes:
        bundle: the bundle's name.
        differences: every quantity of every case in every checked runtime.
        skipped: reason by runtime that was not checked.
    """

    bundle: str
    differences: tuple[Difference, ...]
    skipped: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether every difference is within its tolerance."""
        return all(d.passed for d in self.differences)

    @property
    def failures(self) -> tuple[Difference, ...]:
        """The differences above their tolerance."""
        return tuple(d for d in self.differences if not d.passed)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON; None for an infinite difference."""
        rows = [
            {**asdict(d), "difference": d.difference if np.isfinite(d.difference) else None, "passed": d.passed}
            for d in self.differences
        ]
        return {"bundle": self.bundle, "passed": self.passed, "differences": rows, "skipped": self.skipped}

    def __str__(self) -> str:
        lines = [f"{'runtime':<12} {'case':<28} {'quantity':<14} {'difference':>11} {'allowed':>9}"]
        for d in self.differences:
            mark = "" if d.passed else "  FAILS"
            lines.append(
                f"{d.runtime:<12} {d.case:<28} {d.quantity:<14} {d.difference:>11.3g} {d.tolerance:>9.3g}{mark}"
            )
        lines += [f"{runtime:<12} not checked: {why}" for runtime, why in self.skipped.items()]
        verdict = (
            "gives its golden answers"
            if self.passed
            else f"differs from its golden answers in {len(self.failures)} places"
        )
        return "\n".join([*lines, f"{self.bundle} {verdict}"])


def check_parity(
    bundle: Bundle | str | Path, network: Network | None = None, *, browser: bool | None = None
) -> ParityReport:
    """Compare a bundle with its golden vectors in ONNX Runtime and every other available runtime.

    Args:
        bundle: a bundle, its folder, or a run folder, which includes the trained network.
        network: the trained network that the bundle was made from; None for that of the run folder.
        browser: whether to check the built app in Chromium; None to check it if both are available.

    Returns:
        Every difference; ``passed`` says whether all are within their tolerances.

    Raises:
        BundleError: the bundle is missing or damaged, its golden vectors have another format, or a required browser is
            not available.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    if network is None and not isinstance(bundle, Bundle) and (Path(bundle) / "checkpoints" / "best.ckpt").is_file():
        network = load_run(bundle).network()
    cases, pixel_tolerance, tolerance = _golden(opened)
    size = opened.spec.input.size
    images = np.stack(
        [resize(open_image(base64.b64decode(case["png"])), size) for case in cases]
    )  # as the golden vectors' pixels
    differences = _in_onnxruntime(opened, cases, images, pixel_tolerance, tolerance)
    skipped: dict[str, str] = {}
    # Other runtimes use the trained network in float32, whatever the graph stores.
    others: dict[str, Runner | None] = {
        form: runner(form, opened.read(file)) for form, file in FILES.items() if file in opened.spec.files
    }
    others["torch"] = None if network is None else _torch_runner(network)
    factor, map_factor = (_FLOAT16_FACTOR, _FLOAT16_MAPS) if opened.spec.weights == "fp16" else (1.0, 1.0)
    normalised = normalise(images, opened.spec.input.mean, opened.spec.input.std)  # (N, 3, S, S)
    for runtime, run in others.items():
        if run is None:
            skipped[runtime] = _MISSING[runtime]
        elif opened.spec.weights == "int8":
            skipped[runtime] = "int8 arithmetic is not the trained network's; the accuracy gate evaluates it"
        else:
            for row, case in enumerate(cases):
                found = _answer(run(normalised[row : row + 1]), opened.spec.temperature)
                differences += _compare(runtime, case, found, factor * tolerance, map_factor * tolerance)
    if browser is False:
        skipped["browser"] = "not asked for"
    else:
        tolerances = {"pixels": pixel_tolerance, "quality": QUALITY_TOLERANCE}
        try:
            differences += [
                Difference("browser", answer.name, quantity, difference, tolerances.get(quantity, tolerance))
                for answer in run_browser(opened)
                for quantity, difference in answer.differences.items()
            ]
        except BrowserUnavailableError as error:
            if browser:
                raise BundleError(f"{opened.path}: cannot be checked in a browser: {error}") from None
            skipped["browser"] = str(error)
    return ParityReport(opened.spec.name, tuple(differences), skipped)


def _in_onnxruntime(
    bundle: Bundle, cases: list[dict[str, Any]], images: Array, pixel_tolerance: float, tolerance: float
) -> list[Difference]:
    """Check single images and a batch, because a graph whose batch axis is not free runs single images only."""
    classifier = Classifier(bundle)
    differences: list[Difference] = []
    for case, image in zip(cases, images, strict=True):
        pixels = load(base64.b64decode(case["png"]), bundle.spec.input.size)  # (S, S, 3), as in prediction
        stride = int(case["pixels"]["stride"])
        difference = _largest(pixels[::stride, ::stride].ravel().astype(np.int64), case["pixels"]["values"])
        differences.append(Difference("onnxruntime", case["name"], "pixels", difference, pixel_tolerance))
        answer = classifier.run(image[None])
        names = ("logits", "probabilities", "embedding", "cam", "atypicality", "modality")
        found: Outputs = {name: None if (batch := getattr(answer, name)) is None else batch[0] for name in names}
        differences += _compare("onnxruntime", case, found, tolerance, tolerance)
        if "quality" in case:  # bundles of format 1 have none
            value = _quality_difference(measure_quality(pixels).to_dict(), case["quality"])
            differences.append(Difference("onnxruntime", case["name"], "quality", value, QUALITY_TOLERANCE))
    for case, probabilities in zip(cases, classifier.run(images).probabilities, strict=True):
        value = _largest(probabilities, case["probabilities"])
        differences.append(Difference("onnxruntime", f"{case['name']} (batch)", "probabilities", value, tolerance))
    return differences


def _golden(bundle: Bundle) -> tuple[list[dict[str, Any]], float, float]:
    """Return the cases, the tolerance of pixels (levels), and the tolerance of all other quantities."""
    golden = bundle.golden
    try:
        if golden["format"] != FORMAT:
            raise BundleError(
                f"{bundle.path}: golden vectors of format {golden['format']}; this lentigo reads {FORMAT}"
            )
        cases = list(golden["cases"])
        tolerances = float(golden["tolerance"]["pixels"]), float(golden["tolerance"]["probabilities"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{bundle.path}: golden.json is not in the form of docs/bundle.md ({error})") from None
    if not cases:
        raise BundleError(f"{bundle.path}: golden.json has no cases; export the bundle again")
    return cases, *tolerances


def _answer(outputs: Mapping[str, FloatArray], temperature: float) -> Outputs:
    """Return the first image's outputs and probabilities."""
    found: Outputs = {name: outputs[name][0] if name in outputs else None for name in OUTPUTS}
    return found | {"probabilities": softmax(outputs["logits"], temperature)[0]}


def _torch_runner(network: Network) -> Runner:
    deployed = DeployedNetwork(network, attention=False)

    def call(image: FloatArray) -> dict[str, FloatArray]:
        with torch.inference_mode():
            return dict(zip(OUTPUTS, (output.numpy() for output in deployed(torch.from_numpy(image))), strict=False))

    return call


def _compare(
    runtime: str, case: dict[str, Any], found: Outputs, tolerance: float, map_tolerance: float
) -> list[Difference]:
    rows = []
    for quantity, value in found.items():
        allowed = map_tolerance if quantity == "cam" else tolerance
        expected = case.get(quantity)
        if quantity == "cam" and expected is not None:
            expected = np.asarray(expected["values"]).reshape(expected["shape"])
        if expected is None and value is None:
            continue
        if expected is None or value is None:
            rows.append(Difference(runtime, case["name"], quantity, float("inf"), allowed))
            continue
        largest = float(np.max(np.abs(expected), initial=0.0))
        scale = 1.0 if quantity == "probabilities" or largest == 0.0 else largest
        rows.append(Difference(runtime, case["name"], quantity, _largest(value, expected) / scale, allowed))
    return rows


_FORMER_KEYS = {"burnt": "overexposed"}  # of bundles of the previous release


def _quality_difference(found: dict[str, float], expected: dict[str, float]) -> float:
    """Return the largest difference of a measure, relative to golden values above 1."""
    expected = {_FORMER_KEYS.get(name, name): value for name, value in expected.items()}
    if set(found) != set(expected):
        return float("inf")
    return max(abs(value - expected[name]) / max(abs(expected[name]), 1.0) for name, value in found.items())


def _largest(found: Array, expected: Any) -> float:
    wanted = np.asarray(expected)
    if found.shape != wanted.shape or not np.all(np.isfinite(found)):
        return float("inf")
    return float(np.max(np.abs(found.astype(np.float64) - wanted), initial=0.0))
