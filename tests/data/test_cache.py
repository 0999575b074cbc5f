from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_data import folder, write_image

from lentigo.data import Cache, Samples, open_cache, read_samples
from lentigo.data import cache as cache_module
from lentigo.errors import DataError, OutputError
from lentigo.imaging import load


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    return read_samples(folder(tmp_path / "data", {"a": 5, "b": 4}, size=40))


def opened(samples: Samples, directory: Path) -> tuple[Cache, int]:
    """The cache, and how many images had to be decoded for it."""
    seen: list[int] = []
    found = open_cache(samples, 24, directory, progress=lambda done, total: seen.append(total))
    return found, len(seen)


def test_holds_what_imaging_makes_of_each_row(samples: Samples, tmp_path: Path) -> None:
    found, decoded = opened(samples, tmp_path / "cache")
    assert decoded == 9
    assert found.pixels.shape == (9, 24, 24, 3)
    assert found.pixels.dtype == np.uint8
    assert isinstance(found.pixels, np.memmap)
    assert not found.pixels.flags.writeable
    for row in range(9):
        np.testing.assert_array_equal(found.pixels[row], load(samples.file(row), 24))
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".json", ".npy"]


def test_is_built_once_whatever_the_split(samples: Samples, tmp_path: Path) -> None:
    opened(samples, tmp_path)
    again, decoded = opened(replace(samples, frame=samples.frame.assign(split="train")), tmp_path)
    assert decoded == 0
    assert len(again.pixels) == 9
    assert open_cache(samples, 16, tmp_path, progress=False).pixels.shape == (9, 16, 16, 3)


def test_rows_follow_the_frame(samples: Samples, tmp_path: Path) -> None:
    first, _ = opened(samples, tmp_path)
    other, decoded = opened(replace(samples, frame=samples.frame.iloc[::-1]), tmp_path)
    assert decoded == 9
    np.testing.assert_array_equal(other.pixels, first.pixels[::-1])


def test_changed_data_is_decoded_again(samples: Samples, tmp_path: Path) -> None:
    opened(samples, tmp_path)
    place = samples.file(2)
    write_image(place, 77, size=40)
    os.utime(place, ns=(1, 1))
    found, decoded = opened(read_samples(samples.root), tmp_path)
    assert decoded == 9
    np.testing.assert_array_equal(found.pixels[2], load(place, 24))


@pytest.mark.parametrize(
    "damage", ["truncate", "zero", "no sidecar", "bad sidecar", "other sidecar", "no array", "pickle"]
)
def test_damaged_caches_are_built_again(samples: Samples, tmp_path: Path, damage: str) -> None:
    found, _ = opened(samples, tmp_path)
    expected = np.array(found.pixels)
    array, sidecar = found.path, found.path.with_suffix(".json")
    del found
    match damage:
        case "truncate":
            os.truncate(array, array.stat().st_size - 1000)
        case "zero":  # as a power cut may leave it
            size = array.stat().st_size
            os.truncate(array, size // 2)
            os.truncate(array, size)
        case "no sidecar":
            sidecar.unlink()
        case "bad sidecar":
            sidecar.write_text("{")
        case "other sidecar":
            sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"preprocessing": 0}))
        case "no array":
            array.unlink()
        case "pickle":
            np.save(array, np.array([None]), allow_pickle=True)
    again, decoded = opened(samples, tmp_path)
    assert decoded == 9
    np.testing.assert_array_equal(again.pixels, expected)


def test_unreadable_images_are_counted_in_one_error(samples: Samples, tmp_path: Path) -> None:
    samples.file(1).write_bytes(b"not an image")
    os.truncate(samples.file(3), 60)
    samples.file(8).unlink()
    with pytest.raises(DataError, match=r"3 of 9 images cannot be read: .*a.1\.png.*; .*a.3\.png.*; .*b.3\.png"):
        opened(samples, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_an_output_error(samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(OutputError, match="too full for the image cache"):
        opened(samples, tmp_path / "cache")
    monkeypatch.undo()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        opened(samples, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_place_that_is_no_folder(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        opened(samples, tmp_path / "file" / "cache")
    with pytest.raises(DataError, match="at least 1 pixel"):
        open_cache(samples, 0, tmp_path)


def test_an_interrupted_build_leaves_nothing(samples: Samples, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(samples, 24, tmp_path / "cache", progress=interrupt)
    assert list((tmp_path / "cache").iterdir()) == []


def build(root: Path, directory: Path) -> None:
    open_cache(read_samples(root), 24, directory, progress=False)


def test_two_processes_may_build_at_once(samples: Samples, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=build, args=(samples.root, tmp_path / "cache")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    found, decoded = opened(samples, tmp_path / "cache")
    assert decoded == 0
    np.testing.assert_array_equal(found.pixels[0], load(samples.file(0), 24))
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_default_place_can_be_chosen(samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENTIGO_CACHE", str(tmp_path / "chosen"))
    assert open_cache(samples, 16, progress=False).path.parent == tmp_path / "chosen"
    monkeypatch.delenv("LENTIGO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_module.default_directory() == tmp_path / "xdg" / "lentigo"


def test_arrays_are_cached_like_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    labels = np.array([[0], [1], [2]])
    np.savez(
        tmp_path / "d.npz",
        **{f"{s}_{k}": v for s in ("train", "val", "test") for k, v in (("images", images), ("labels", labels))},
    )
    found = open_cache(read_samples(tmp_path), 28, tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(found.pixels, np.concatenate([images] * 3))


def test_the_bar_is_shown_on_standard_error(
    samples: Samples, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_cache(samples, 16, tmp_path, progress=True)
    assert capsys.readouterr().out == ""


def age(cache: Cache, seconds: int) -> Path:
    os.utime(cache.path, (seconds, seconds))
    return cache.path


def test_the_least_recently_used_arrays_make_room_but_none_in_use(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = open_cache(samples, 20, tmp_path, progress=False)
    age(held, 1)
    old, used = (age(open_cache(samples, size, tmp_path, progress=False), 2) for size in (21, 22))
    open_cache(samples, 22, tmp_path, progress=False)  # is the most recent now
    (tmp_path / "mine.npy").write_bytes(b"0" * 9999)
    monkeypatch.setenv("LENTIGO_CACHE_GB", str(3 * 9 * 24 * 24 * 3 / 1e9))
    new = open_cache(samples, 24, tmp_path, progress=False).path
    there = [path for path in (held.path, old, used, new) if path.exists() and path.with_suffix(".json").exists()]
    assert there == [held.path, used, new]
    assert cache_module.prune(tmp_path) > 0
    assert sorted(tmp_path.glob("*.npy")) == sorted([held.path, tmp_path / "mine.npy"])
    del held
    cache_module.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "mine.npy"]


def test_arrays_that_are_being_written_stay_for_a_day(tmp_path: Path) -> None:
    fresh, left = (tmp_path / f".folder-24-{digit * 24}.ab.npy" for digit in "01")
    for path in (fresh, left):
        path.write_bytes(b"0")
    os.utime(left, (1, 1))
    assert cache_module.prune(tmp_path) == 1
    assert fresh.exists()
    assert not left.exists()


@pytest.mark.parametrize("size", ["much", "-1", "0", "nan", "inf"])
def test_a_limit_that_is_no_size_is_refused(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENTIGO_CACHE_GB", size)
    with pytest.raises(DataError, match="LENTIGO_CACHE_GB"):
        cache_module.limit()
