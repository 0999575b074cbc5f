"""Formats for phones: each file answers as the network does, in its own runtime where that runs here.

``tiny.tflite`` is :func:`network` converted by litert-torch 0.10 (``PYTHONPATH=tests python`` and this file), so that
LiteRT itself is asked where only its runtime is installed.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import tiny_export, tiny_run
from torch import Tensor, nn

from lentigo.bundle import Bundle, write_bundle
from lentigo.errors import BundleError, MissingExtraError
from lentigo.export import check_parity, mobile, parity
from lentigo.export.card import _mobile
from lentigo.export.mobile import FILES, Runner, check_formats, convert, runner
from lentigo.export.session import FloatArray
from lentigo.networks import Network, PooledHead
from lentigo.networks.attention import CaCo
from lentigo.training import load_run

SIZE = 32
TINY = Path(__file__).with_name("tiny.tflite")


class Tiny(Network):
    """A convolution, the paper's attention and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=4, padding=1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(), CaCo(16)
        )
        self.head = PooledHead(16, 3, hidden=8, activation=nn.Hardswish())

    def forward_features(self, x: Tensor) -> Tensor:
        return self.features(x)

    def forward_head(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        logits, embedding = self.head(maps)
        return logits, embedding


def network() -> Network:
    """The network with weights that no random generator decides."""
    made = Tiny()
    for tensor in [*made.parameters(), *(one for one in made.buffers() if one.is_floating_point())]:
        phase = torch.arange(tensor.numel(), dtype=torch.float64) * 2.4
        tensor.data = (1.0 + 0.5 * phase.sin()).reshape(tensor.shape).float()
        if tensor.dim() > 1:
            tensor.data = phase.sin().reshape(tensor.shape).float()
    return made.eval()


def image() -> FloatArray:
    return np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)


def expected() -> dict[str, FloatArray]:
    return parity._torch_runner(network())(image())


def assert_answers(run: Runner | None) -> None:
    assert run is not None
    found = run(image())
    assert list(found) == ["logits", "embedding", "cam"]
    for name, values in expected().items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4 * np.abs(values).max())


def test_litert_runs_a_file_as_torch_runs_the_network() -> None:
    pytest.importorskip("ai_edge_litert")
    assert_answers(runner("litert", TINY.read_bytes()))


@pytest.mark.slow
@pytest.mark.parametrize(("form", "module"), [("litert", "litert_torch"), ("executorch", "executorch")])
def test_a_converted_network_answers_as_torch_does(form: mobile.Format, module: str) -> None:
    pytest.importorskip(module, reason=f"pip install 'lentigo[{form}]' in an environment of its own")
    made = convert(network(), SIZE, form)
    assert made.latency_ms is not None
    assert made.latency_ms > 0
    assert_answers(runner(form, made.content))


def test_core_ml_names_its_input_and_outputs() -> None:
    coremltools = pytest.importorskip("coremltools")
    made = convert(network(), SIZE, "coreml")
    assert made.latency_ms is None  # runs on Apple's systems only
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        [model] = [name for name in archive.namelist() if name.endswith(".mlmodel")]
        description = coremltools.proto.Model_pb2.Model.FromString(archive.read(model)).description
    assert [(one.name, list(one.type.multiArrayType.shape)) for one in description.input] == [
        ("image", [1, 3, SIZE, SIZE])
    ]
    assert [one.name for one in description.output] == ["logits", "embedding", "cam"]


def test_an_unknown_format_is_named_with_the_nearest() -> None:
    with pytest.raises(BundleError, match=r"unknown format 'lite-rt'.*litert"):
        check_formats(["lite-rt"])


def test_a_missing_converter_is_named_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mobile, "find_spec", lambda name: None if name == "executorch" else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"export for executorch .*lentigo\[executorch\]"):
        check_formats(["executorch"])


def test_what_a_converter_cannot_express_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("Invalid partition,\nfound dependency cycles")

    monkeypatch.setitem(mobile._WRITERS, "litert", refuse)
    with pytest.raises(BundleError, match=r"Tiny at 32 px cannot be converted for litert: Invalid partition,$"):
        convert(network(), SIZE, "litert")


@pytest.fixture
def with_litert(tmp_path: Path) -> Bundle:
    """The tiny run's bundle with a LiteRT file, whose content does not matter here."""
    bundle = tiny_export()
    files = {name: bundle.read(name) for name in bundle.spec.files}
    return write_bundle(tmp_path / "bundle", bundle.spec, files | {FILES["litert"]: b"TFL3"})


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_parity_asks_the_phone_runtime(with_litert: Bundle, monkeypatch: pytest.MonkeyPatch, shift: float) -> None:
    run = parity._torch_runner(load_run(tiny_run()).network())

    def shifted(image: FloatArray) -> dict[str, FloatArray]:
        answer = run(image)
        return answer | {"logits": answer["logits"] + shift * np.arange(answer["logits"].shape[1], dtype=np.float32)}

    monkeypatch.setattr(parity, "runner", lambda form, content: shifted)
    report = check_parity(with_litert, browser=False)
    assert {one.runtime for one in report.differences} == {"onnxruntime", "litert"}
    assert report.passed is (shift == 0.0)
    assert {one.runtime for one in report.failures} <= {"litert"}


def test_parity_says_which_runtime_is_not_installed(with_litert: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "runner", lambda form, content: None)
    report = check_parity(with_litert, browser=False)
    assert report.passed
    assert "lentigo[litert]" in report.skipped["litert"]


def test_the_card_lists_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mobile.MobileModel("litert", b"x" * 2_500_000, 2.25)
    text = _mobile([made, replace(made, format="coreml", latency_ms=None)])
    assert "| litert | `model.tflite` | 2.50 MB | 2.2 ms | yes |" in text
    assert "| coreml | `model.mlpackage.zip` | 2.50 MB | not run here | no |" in text


if __name__ == "__main__":
    TINY.write_bytes(convert(network(), SIZE, "litert").content)
