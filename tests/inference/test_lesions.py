"""Several pictures of one lesion: averaged, disagreement told, and grouped by column or pattern."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import tiny_bundle

from lentigo.errors import DataError
from lentigo.inference.lesions import group_key, merge_rows
from lentigo.inference.table import Row


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").spec


def row(path: str, index: int, share: float, spec, **more: object) -> Row:  # type: ignore[no-untyped-def]
    probabilities = np.full(len(spec.codes), (1 - share) / (len(spec.codes) - 1))
    probabilities[index] = share
    return Row(path, tuple(probabilities.tolist()), spec.codes[index], **more)  # type: ignore[arg-type]


def test_the_mean_of_a_lesion_and_its_disagreement(spec) -> None:  # type: ignore[no-untyped-def]
    rows = [row("a_1.png", 0, 0.9, spec), row("b_1.png", 1, 0.8, spec), row("a_2.png", 1, 0.5, spec)]
    merged = merge_rows(rows, group_key(r"^(\w)_", []), spec)
    assert [one.path for one in merged] == ["a", "b"]
    np.testing.assert_allclose(merged[0].probabilities, np.mean([rows[0].probabilities, rows[2].probabilities], axis=0))
    assert sum(merged[0].probabilities) == pytest.approx(1)
    assert merged[0].label == spec.codes[0]
    assert any("disagree" in hint for hint in merged[0].hints)
    assert merged[1].probabilities == pytest.approx(rows[1].probabilities)
    assert not any("disagree" in hint for hint in merged[1].hints)


def test_pictures_that_cannot_be_evaluated_are_left_out_and_said(spec) -> None:  # type: ignore[no-untyped-def]
    rows = [row("a_1", 0, 0.9, spec), row("a_2", 1, 0.9, spec, reasons=("too dark",)), Row("a_3", error="damaged")]
    (merged,) = merge_rows(rows, group_key(r"^(\w)_", []), spec)
    assert merged.probabilities == pytest.approx(rows[0].probabilities)
    assert merged.reasons == ()
    assert "1 left out" in " ".join(merged.hints)
    assert "1 cannot be read" in " ".join(merged.hints)


def test_where_none_can_be_evaluated_the_reasons_stand(spec) -> None:  # type: ignore[no-untyped-def]
    (merged,) = merge_rows([row("a_1", 0, 0.9, spec, reasons=("too dark",))], group_key(r"^(\w)_", []), spec)
    assert merged.reasons == ("too dark",)
    (failed,) = merge_rows([Row("a_1", error="damaged")], group_key(r"^(\w)_", []), spec)
    assert failed.error == "damaged"


def test_a_column_of_a_list_tells_the_lesion(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,lesion\nx.png,L1\ny.png,L1\nz.png,\n", encoding="utf-8")
    key = group_key("lesion", [str(tmp_path / "list.csv")])
    assert [key(path) for path in ("x.png", "y.png", "z.png")] == ["L1", "L1", None]
    with pytest.raises(DataError, match="did you mean 'lesion'"):
        group_key("lesions", [str(tmp_path / "list.csv")])
    with pytest.raises(DataError, match="regular expression"):
        group_key("(", [])


@pytest.mark.parametrize("asked", ["lesion_id", "Lesion ID"])
def test_a_column_of_a_list_of_any_delimiter_tells_the_lesion(tmp_path: Path, asked: str) -> None:
    place = tmp_path / "visits.csv"
    place.write_text("file;Lesion_ID\na.png;1\nb.png;1\nc.png;\n", encoding="utf-16")
    assert list(map(group_key(asked, [str(place)]), ("a.png", "b.png", "c.png"))) == ["1", "1", None]
    with pytest.raises(DataError, match="did you mean 'Lesion_ID'"):
        group_key("lesions_id", [str(place)])


def test_a_pattern_is_not_looked_for_above_what_is_classified(tmp_path: Path) -> None:
    shots = tmp_path / "study_7" / "shots"
    shots.mkdir(parents=True)
    key = group_key(r"study_(\d+)|p(\d)", [str(shots)])
    assert [key(f"{shots}/{name}") for name in ("a.png", "p1/a.png", "p2/b.png")] == [None, "-1", "-2"]
    assert group_key(r"p(\d)", ["p9.zip"])("p9.zip#p2/a.png") == "2"


def test_who_is_unknown_is_no_lesion_and_a_picture_of_two_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "list.csv"
    place.write_text("path,lesion\na.png,unknown\nb.png,NA\nc.png,\nd.png,7\n", encoding="utf-8")
    assert list(map(group_key("lesion", [str(place)]), ("a.png", "b.png", "c.png", "d.png"))) == [None] * 3 + ["7"]
    place.write_text("path,lesion\na.png,1\na.png,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"'a\.png' is of '1' and of '2' by column 'lesion'"):
        group_key("lesion", [str(place)])
