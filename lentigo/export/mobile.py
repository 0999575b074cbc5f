"""The trained network in formats of native runtimes of phones: LiteRT, ExecuTorch and Core ML.

Their outputs are those of the ONNX graph without the OOD score: logits, embedding and class-activation maps of one
normalised image. Size, normalisation, classes and temperature are those of the bundle's ``spec.json``. LiteRT and
ExecuTorch are checked against the golden vectors. Core ML runs only on Apple's systems, so its file is not run here.
"""

from __future__ import annotations

import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import torch

from lentigo.errors import BundleError, MissingExtraError, did_you_mean, first_line
from lentigo.export.graph import INPUT, OUTPUTS, DeployedNetwork
from lentigo.export.session import FloatArray
from lentigo.networks import Network
from lentigo.networks.profile import median_ms

Runner = Callable[[FloatArray], dict[str, FloatArray]]
"""Map a normalised image, (1, 3, S, S) float32, to ``logits``, ``embedding`` and, if the network has it, ``cam``."""

Format = Literal["litert", "executorch", "coreml"]

FILES: dict[Format, str] = {"litert": "model.tflite", "executorch": "model.pte", "coreml": "model.mlpackage.zip"}
"""The file name of each format in a bundle; a Core ML package is a folder, stored as a ZIP archive."""

_CONVERTERS: dict[Format, str] = {"litert": "litert_torch", "executorch": "executorch", "coreml": "coremltools"}


@dataclass(frozen=True)
class MobileModel:
    """A network in the format of a native runtime.

    Attributes:
        format: name of the runtime.
        content: content of the file.
        latency_ms: median time of one image on one thread, in milliseconds; None if the runtime does not run here.
    """

    format: Format
    content: bytes
    latency_ms: float | None

    @property
    def file(self) -> str:
        """Its file name in a bundle."""
        return FILES[self.format]


def check_formats(names: Sequence[str]) -> tuple[Format, ...]:
    """Check that formats are known and their converters installed.

    Raises:
        BundleError: a format is unknown.
        MissingExtraError: a converter is not installed.
    """
    known = get_args(Format)
    for name in names:
        if name not in known:
            raise BundleError(f"unknown format {name!r}{did_you_mean(name, known)}")
        if find_spec(_CONVERTERS[name]) is None:  # type: ignore[index]
            raise MissingExtraError(f"export for {name}", name)
    return tuple(name for name in known if name in names)


def convert(network: Network, size: int, form: Format) -> MobileModel:
    """Convert a trained network for a native runtime, in float32, for one image at a time.

    Args:
        network: the trained network; it is not changed.
        size: S, side of the square input, in pixels.
        form: the runtime.

    Returns:
        The converted network. Its input is ``image``, (1, 3, S, S) float32, normalised.

    Raises:
        BundleError: the converter cannot express the network.
    """
    deployed = DeployedNetwork(network)
    example = torch.zeros(1, 3, size, size)
    try:
        with torch.no_grad(), _quiet():
            content = _WRITERS[form](deployed, example)
    except Exception as error:  # the passes of converters may raise any error
        raise BundleError(
            f"{type(network).__name__} at {size} px cannot be converted for {form}: {first_line(error)}"
        ) from error
    run = runner(form, content)
    latency = None if run is None else median_ms(lambda: run(example.numpy()), repeats=15, limit=5.0)[0]
    return MobileModel(form, content, latency)


def runner(form: Format, content: bytes) -> Runner | None:
    """Return a function that runs a file of a native runtime; None if the runtime is not available on this system."""
    open_ = _RUNNERS.get(form)
    try:
        with _quiet():
            return None if open_ is None else open_(content)
    except ImportError:
        return None


def _write_litert(deployed: DeployedNetwork, example: torch.Tensor) -> bytes:
    import litert_torch

    with tempfile.TemporaryDirectory(prefix="lentigo-") as folder:
        path = Path(folder, FILES["litert"])
        litert_torch.convert(deployed, sample_kwargs={INPUT: example}).export(str(path))
        return path.read_bytes()


def _run_litert(content: bytes) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    run = interpreter.get_signature_runner()

    def call(image: FloatArray) -> dict[str, FloatArray]:
        found = run(**{INPUT: image})  # output_0, output_1, ... in the order of the network's outputs
        return dict(zip(OUTPUTS, (found[name] for name in sorted(found)), strict=False))

    return call


def _write_executorch(deployed: DeployedNetwork, example: torch.Tensor) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(deployed, (example,))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner(per_op_mode=True)])
    return bytes(lowered.to_executorch().buffer)


def _run_executorch(content: bytes) -> Runner:
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(content).load_method("forward")

    def call(image: FloatArray) -> dict[str, FloatArray]:
        found = method.execute([torch.from_numpy(image)])
        return dict(zip(OUTPUTS, (output.numpy() for output in found), strict=False))

    return call


def _write_coreml(deployed: DeployedNetwork, example: torch.Tensor) -> bytes:
    import coremltools

    program = torch.export.export(deployed, (example,)).run_decompositions({})
    package = coremltools.convert(
        program,
        outputs=[coremltools.TensorType(name=name) for name in deployed.outputs],
        compute_precision=coremltools.precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS16,
        skip_model_load=True,
    )
    with tempfile.TemporaryDirectory(prefix="lentigo-") as folder:
        path = Path(folder, "model.mlpackage")
        package.save(str(path))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(path.rglob("*")):
                packed.write(file, file.relative_to(folder))
        return archive.getvalue()


_WRITERS: dict[Format, Callable[[DeployedNetwork, torch.Tensor], bytes]] = {
    "litert": _write_litert,
    "executorch": _write_executorch,
    "coreml": _write_coreml,
}
_RUNNERS: dict[Format, Callable[[bytes], Runner]] = {"litert": _run_litert, "executorch": _run_executorch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the converters' progress messages; errors are still raised."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
