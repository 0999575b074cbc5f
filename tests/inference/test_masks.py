"""Masks, heat maps and thumbnails beside images are left out of folders, which is reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_data import write_image

from lentigo.cli.app import main
from lentigo.inference.sources import Sources


def pictures(root: Path) -> Path:
    for seed, name in enumerate(("a.jpg", "a_mask.png", "b.jpg", "masks/b.png", "thumbnails/b.jpg")):
        write_image(root / name, seed)
    return root


def test_masks_are_left_out_of_folders_and_classified_where_they_are_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set")
    sources = Sources(folder)
    assert sources.count() == 2
    assert [Path(item.path).name for item in sources] == ["a.jpg", "b.jpg"]
    assert "left out: 3 files named as mask, heat map or thumbnail of an image, such as" in sources.note
    for named, count in ((folder / "masks", 1), (folder / "*_mask.png", 1), (folder / "a_mask.png", 1)):
        sources = Sources(named)
        assert (len(list(sources)), sources.note) == (count, "")


@pytest.mark.parametrize("form", ["zip", "tar", "gztar"])
def test_masks_are_left_out_of_archives(tmp_path: Path, form: str) -> None:
    archive = shutil.make_archive(str(tmp_path / "set"), form, pictures(tmp_path / "set"))
    sources = Sources(archive)
    assert sorted(item.path.rpartition("/")[2].rpartition("#")[2] for item in sources) == ["a.jpg", "b.jpg"]
    assert "left out: 3 files named as mask, heat map or thumbnail of an image, such as" in sources.note
    assert f"{archive}#" in sources.note
    whole = Path(archive).read_bytes()
    Path(archive).write_bytes(whole[: len(whole) * 3 // 4])
    failed = [item.error for item in Sources(archive) if item.error]
    assert failed
    assert "damaged archive" in failed[-1]


def test_the_command_line_reports_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(pictures(tmp_path)), "--json", "--quiet"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert '"images": 2' in out
    assert "a_mask.png; to classify such files, name them, their folder or a pattern" in err
