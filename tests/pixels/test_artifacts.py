"""Cues beside the lesion and the lesion itself, found on drawn pictures that have or lack them; what goes with the
class."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from lentigo.data import audit_samples, read_samples
from lentigo.data.confounders import associate
from lentigo.pixels.artifacts import ARTIFACTS, detect_artifacts
from lentigo.pixels.drawing import Pixels, add_ink, add_ruler, add_vignette
from lentigo.pixels.segmentation import segment_lesion, surround
from lentigo.synthetic.phantom import add_hair


def lesion(seed: int, size: int = 224) -> tuple[Pixels, np.ndarray]:
    """A brown blob on uneven skin, and where it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    cx, cy = rng.uniform(-0.15, 0.15, 2)
    angle, radius = np.arctan2(y - cy, x - cx), rng.uniform(0.25, 0.45)
    inside = np.hypot(x - cx, y - cy) < radius * (1 + 0.15 * np.cos(3 * angle + seed))
    skin = np.array([215, 165, 150]) + rng.normal(0, 6, 3) + 4 * rng.standard_normal((size, size, 1))
    pixels = np.where(inside[..., None], skin * [0.55, 0.42, 0.35], skin)
    soft = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.2))
    return np.asarray(soft), inside


def has(pixels: Pixels) -> set[str]:
    return {name for name, score in detect_artifacts(pixels).items() if score >= ARTIFACTS[name].threshold}


@cache
def plain() -> list[Pixels]:
    return [lesion(seed)[0] for seed in range(12)]


def test_a_plain_picture_has_no_cue() -> None:
    assert [has(pixels) for pixels in plain()] == [set()] * 12


@pytest.mark.parametrize(
    ("name", "add"),
    [("vignette", add_vignette), ("ruler", add_ruler), ("ink", add_ink), ("hair", partial(add_hair, count=14))],
)
def test_a_drawn_cue_is_found_and_taken_for_no_other(name: str, add: Callable[[Pixels, int], Pixels]) -> None:
    found = [has(add(pixels, seed)) for seed, pixels in enumerate(plain())]
    assert sum(name in cues for cues in found) >= 9
    assert sum(len(cues - {name}) for cues in found) <= 1


def test_the_lesion_is_where_it_is() -> None:
    for seed in range(8):
        pixels, inside = lesion(seed)
        for changed in (pixels, add_vignette(pixels, seed), add_hair(pixels, seed, 10)):
            found = segment_lesion(changed)
            assert not found.doubt
            assert (found.mask & inside).sum() / (found.mask | inside).sum() > 0.8
        assert np.abs(segment_lesion(pixels).skin - pixels[~inside].mean(0)).max() < 6


@pytest.mark.parametrize(("shade", "why"), [(1.0, "from the skin"), (0.0, "no skin")])
def test_a_picture_without_a_lesion_is_doubted(shade: float, why: str) -> None:
    noise = np.random.default_rng(0).normal(0, 3, (224, 224, 3))
    pixels = np.clip(shade * (np.array([215, 165, 150]) + noise), 0, 255).astype(np.uint8)
    assert why in segment_lesion(pixels).doubt


def test_only_what_hangs_together_with_a_corner_is_surround() -> None:
    pixels = np.full((64, 64, 3), 180, np.uint8)
    pixels[:10, :10] = 5
    pixels[30:40, 30:40] = 5
    assert surround(pixels).sum() == 100


def test_association_of_the_same_of_none_and_of_one_value() -> None:
    rng = np.random.default_rng(0)
    labels = pd.Series(rng.choice(["a", "b", "c"], 300))
    same = associate(labels, labels, rng, permutations=99)
    assert same.v == pytest.approx(1, abs=0.01)
    assert same.p == 0.01
    none = associate(labels, pd.Series(rng.choice(["x", "y"], 300)), rng, permutations=99)
    assert none.v < 0.15
    assert none.p > 0.01
    assert associate(labels, pd.Series(["x"] * 300), rng).v == 0


def test_permutations_hold_their_level() -> None:
    rng = np.random.default_rng(1)
    small = [
        associate(pd.Series(rng.integers(0, 3, 60)), pd.Series(rng.integers(0, 2, 60)), rng, permutations=99).p
        for _ in range(200)
    ]
    assert 0.01 <= np.mean(np.array(small) <= 0.05) <= 0.1


def test_the_audit_tells_what_goes_with_the_class(tmp_path: Path) -> None:
    rows = []
    for seed in range(24):
        label = "ab"[seed % 2]
        pixels = lesion(seed, 96)[0]
        Image.fromarray(add_vignette(pixels, seed) if label == "b" else pixels).save(tmp_path / f"{seed}.png")
        rows.append(
            {
                "path": f"{seed}.png",
                "label": label,
                "confirmed": {"a": "follow-up", "b": "histology"}[label],
                "clinic": "xyz"[seed % 3],
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    samples = read_samples(tmp_path / "t.csv")
    assert audit_samples(samples).confounders == ()
    found = audit_samples(samples, artifacts=True)
    factors = {factor.name: factor for factor in found.confounders}
    assert list(factors) == ["vignette", *(n for n in factors if n != "vignette")]
    assert factors["vignette"].by_class["b"]["present"] > 0.9
    assert factors["vignette"].by_class["a"]["present"] == 0
    assert factors["vignette"].with_class.v > 0.8
    assert factors["confirmed"].with_class.v == pytest.approx(1, abs=0.05)
    assert factors["clinic"].with_class.v < 0.3
    assert factors["confirmed"].with_split is None
    assert "resolution" not in factors  # all have the same
    record = json.loads(json.dumps(found.to_dict()))["shortcuts"]
    assert [r["name"] for r in record] == list(factors)
    assert record[0]["estimated"] is True
    assert record[0]["threshold"]["at_least"] == 2
    assert "dark corners: a 0.0, b" in str(found)
    assert "confirmed: V 1.00, p <= 0.001" in str(found)


def test_real_artifacts(shared_data: Path) -> None:
    """Some of HAM10000, looked at by eye."""

    def look(image: str) -> set[str]:
        return has(
            np.asarray(Image.open(shared_data / "ham10000-400" / "images" / f"ISIC_{image}.webp").convert("RGB"))
        )

    assert look("0033382") == {"vignette"}
    assert "ruler" in look("0026789")
    assert "ink" in look("0029360")
    assert look("0025426") == {"hair"}
    assert look("0026810") == look("0032106") == set()
