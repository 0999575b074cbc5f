from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lentigo.data import read_samples, split_samples
from lentigo.errors import DataError, OutputError
from lentigo.labels import HAM10000, HYPO
from lentigo.synthetic import add_hair, render_phantom, write_phantoms
from lentigo.synthetic.canvas import Canvas
from lentigo.synthetic.phantom import KINDS

EVERY = (*KINDS["ham10000"], *KINDS["hypo"])


def pixels(code: str, seed: int, size: int = 48, view: int = 0) -> NDArray[np.int16]:
    return np.asarray(render_phantom(code, seed, size, view=view), dtype=np.int16)


def test_every_class_has_a_recipe() -> None:
    assert KINDS["ham10000"] == HAM10000.codes
    assert KINDS["hypo"] == HYPO.codes


@pytest.mark.parametrize("code", EVERY)
def test_the_seed_makes_the_picture(code: str) -> None:
    first = pixels(code, 3)
    assert first.shape == (48, 48, 3)
    np.testing.assert_array_equal(pixels(code, 3), first)
    assert np.abs(pixels(code, 4) - first).mean() > 5
    assert first.std() > 8  # not an empty picture


@pytest.mark.parametrize("size", [16, 47, 300])
def test_any_size(size: int) -> None:
    for code in ("mel", "piebaldism"):
        assert render_phantom(code, 0, size).size == (size, size)


def test_many_seeds_render() -> None:
    for code in EVERY:
        for seed in range(100, 120):
            render_phantom(code, seed, 16)


def test_another_view_is_the_same_lesion_seen_otherwise() -> None:
    """Colours of two views of a lesion lie nearer than those of two lesions, though no pixel need agree."""
    within, between = [], []
    for seed in range(12):
        for code in ("nv", "vasc", "mel"):
            first, second = pixels(code, seed), pixels(code, seed, view=1)
            assert np.abs(first - second).mean() > 2
            within.append(np.abs(first.mean((0, 1)) - second.mean((0, 1))).mean())
            between.append(np.abs(first.mean((0, 1)) - pixels(code, seed + 50).mean((0, 1))).mean())
    assert np.mean(within) < np.mean(between)


def test_views_never_reach_over_the_canvas() -> None:
    from lentigo.synthetic.phantom import _view

    canvas = np.ones((83, 83, 3), np.float32)
    for seed in range(200):
        assert _view(canvas, np.random.default_rng(seed), 64).min() == 255


def test_bad_arguments() -> None:
    with pytest.raises(DataError, match="no phantom for class 'vitilgo'; did you mean 'vitiligo'"):
        render_phantom("vitilgo", 0, 64)
    for seed, size, view in [(-1, 64, 0), (0, 8, 0), (0, 64, -1), (0, 10_000, 0)]:
        with pytest.raises(DataError, match="a phantom needs"):
            render_phantom("nv", seed, size, view=view)


def structure(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Spectrum, gradients and radial profile of three channels whose brightness and contrast are taken out; (N, F)."""
    size = images.shape[1]
    fy, fx = np.fft.fftfreq(size)[:, None] * size, np.fft.rfftfreq(size)[None] * size
    frequency = np.hypot(fx, fy)
    radius = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, size)] * 2))
    bands = [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 20, 24, 28, 32]
    found = []
    for channel in (images.mean(-1), images[..., 0] - images[..., 2], images[..., 0] - images[..., 1]):
        plain = channel - channel.mean((1, 2), keepdims=True)
        plain = plain / (plain.std((1, 2), keepdims=True) + 1e-3)
        power = np.abs(np.fft.rfft2(plain * np.hanning(size)[:, None] * np.hanning(size))) ** 2
        rings = [power[:, (frequency >= low) & (frequency < high)].mean(1) for low, high in pairwise(bands)]
        gradient = np.hypot(np.diff(plain, axis=2)[:, :-1], np.diff(plain, axis=1)[:, :, :-1]).reshape(len(images), -1)
        found += [
            np.log(np.stack(rings, 1) + 1e-6),
            np.quantile(gradient, [0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99], axis=1).T,
        ]
        found += [np.quantile(plain.reshape(len(images), -1), [0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99], axis=1).T]
        found += [np.stack([plain[:, (radius >= r) & (radius < r + 0.2)].mean(1) for r in (0, 0.2, 0.4, 0.6, 0.8)], 1)]
    return np.concatenate(found, 1).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_structure_tells_the_classes_apart_and_mean_colour_does_not(kind: str) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes, each = KINDS[kind], 24
    images = np.stack([pixels(code, seed, 64) for code in codes for seed in range(each)]).astype(np.float32) / 255
    targets = np.repeat(np.arange(len(codes)), each)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    colour = cross_val_score(model, images.mean((1, 2)), targets, cv=3).mean()
    shape = cross_val_score(model, structure(images), targets, cv=3).mean()
    assert colour < 0.4
    assert shape > colour + 0.25


def test_writes_ham10000s_layout_with_lesions_seen_twice(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    out = write_phantoms(tmp_path / "set", per_class=12, size=32, seed=1, progress=lambda *p: seen.append(p))
    assert out == tmp_path / "set"
    assert seen[-1] == (84, 84)
    samples = read_samples(out)
    assert samples.name == "ham10000"
    assert samples.frame["label"].value_counts().to_dict() == dict.fromkeys(HAM10000.codes, 12)
    per_lesion = samples.frame.groupby("group").size()
    assert set(per_lesion) == {1, 2}
    assert 8 < (per_lesion == 2).sum() < 35
    assert samples.frame.groupby("group")["age"].nunique().eq(1).all()
    assert samples.read(0).size == (32, 32)
    split = split_samples(samples, "lesion").frame
    assert split.groupby("group")["split"].nunique().eq(1).all()


def test_writes_a_folder_for_each_hypopigmented_class(tmp_path: Path) -> None:
    samples = read_samples(write_phantoms(tmp_path, "hypo", per_class=2, size=16))
    assert samples.name == "folder"
    assert samples.labels.codes == tuple(sorted(HYPO.codes))
    assert len(samples) == 20


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_arguments_give_the_same_set(tmp_path: Path) -> None:
    first = contents(write_phantoms(tmp_path / "a", per_class=2, size=16))
    assert contents(write_phantoms(tmp_path / "b", per_class=2, size=16)) == first
    other = contents(write_phantoms(tmp_path / "c", per_class=2, size=16, seed=1))
    assert not {v for k, v in other.items() if k.endswith(".jpg")} & set(first.values())


def test_a_set_that_is_there_is_kept_and_another_is_replaced(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "set", per_class=1, size=16)
    stamp = (tmp_path / "set" / "HAM10000_metadata.csv").stat().st_mtime_ns
    write_phantoms(tmp_path / "set", per_class=1, size=16)
    assert (tmp_path / "set" / "HAM10000_metadata.csv").stat().st_mtime_ns == stamp
    write_phantoms(tmp_path / "set", per_class=2, size=16)
    assert len(read_samples(tmp_path / "set")) == 14
    assert json.loads((tmp_path / "set" / "phantoms.json").read_text())["per_class"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no set of phantoms"):
        write_phantoms(tmp_path / "mine", per_class=1, size=16)
    assert contents(tmp_path / "mine") == {"thesis.txt": b"years of work"}
    with pytest.raises(OutputError):
        write_phantoms(tmp_path / "mine" / "thesis.txt" / "x", per_class=1, size=16)
    with pytest.raises(DataError, match="did you mean 'ham10000'"):
        write_phantoms(tmp_path / "new", "ham1000", per_class=1)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="per_class >= 1"):
        write_phantoms(tmp_path / "new", per_class=0)


def test_an_interrupted_set_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", per_class=2, size=16, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(60, 60), (40, 90), (90, 40)])
def test_hair_is_laid_over_and_the_source_is_kept(shape: tuple[int, int]) -> None:
    plain = np.full((*shape, 3), 200, np.uint8)
    hairy = add_hair(plain, seed=1, count=10)
    assert (plain == 200).all()
    assert hairy.dtype == np.uint8
    assert hairy.shape == plain.shape
    covered = (hairy < 150).any(-1).mean()
    assert 0.01 < covered < 0.6
    np.testing.assert_array_equal(add_hair(plain, seed=1, count=10), hairy)
    np.testing.assert_array_equal(add_hair(plain, seed=1, count=0), plain)


def test_colour_follows_absorption() -> None:
    """Layers multiply (Beer-Lambert): twice the pigment squares the share of light that is left."""
    canvas = Canvas(np.random.default_rng(0), 16)
    skin = np.array([0.9, 0.7, 0.6], np.float32)
    np.testing.assert_allclose(canvas.colour(skin), np.broadcast_to(skin, (16, 16, 3)))
    canvas.melanin[:] = 0.5
    once = canvas.colour(skin) / skin
    canvas.melanin[:] = 1.0
    np.testing.assert_allclose(canvas.colour(skin) / skin, once**2, rtol=1e-5)


def test_phantoms_need_numpy_and_pillow_only() -> None:
    code = (
        "import sys; from lentigo.synthetic.phantom import render_phantom; render_phantom('nv', 0, 32)\n"
        "print([m for m in ('torch', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rendered_files_are_jpeg(tmp_path: Path) -> None:
    out = write_phantoms(tmp_path / "s", per_class=1, size=16)
    for place in (out / "images").iterdir():
        with Image.open(place) as image:
            assert image.format == "JPEG"
