"""The real command line on phantoms: the whole job, help that can be run, and one clear line for bad input."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from broken import write_broken
from tiny_bundle import blob_image, tiny_bundle
from tiny_run import tiny_data, tiny_export, tiny_run

from lentigo.cli import main
from lentigo.labels import HAM10000

COMMANDS = [
    ["predict"], ["serve"], ["app"], ["card"], ["doctor"], ["train"], ["evaluate"], ["compare"], ["export"],
     ["parity"], ["profile"],
    ["models"], ["recipes"], ["data", "info"], ["data", "audit"], ["data", "split"], ["data", "phantom"], ["data",
     "download"],
    ["reproduce"], ["sweep"], ["ood"], ["ood"],
]  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command line in this process; exit code, output and errors."""
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    code = stopped.value.code
    return (0 if code is None else int(code)), captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a command ends with on bad input."""
    code, _, errors = run(capsys, *arguments)
    assert code == 2
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == 1, errors
    assert lines[0].startswith("lentigo: error: ")
    assert "Traceback" not in errors
    return lines[0]


@pytest.mark.parametrize(
    "command",
    [["evaluate", "x", "--data", "y", "--classes", "mel=mel,nv"], ["trust", "x", "--data", "y", "--ood", "nv"]],
)
def test_pairs_must_be_pairs(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert f"{command[-2]} nv: give pairs, such as {command[-2]} " in refused(capsys, *command)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    code, out, _ = run(capsys, *command, "--help")
    text = re.sub(r"\s+", " ", out)
    assert code == 0
    assert "Example" in text
    assert f"lentigo {' '.join(command)}" in text


def test_help_lists_every_command_and_six_to_start_with(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(command[0] in out for command in COMMANDS)
    assert out.count("lentigo ") >= 6
    assert "not a medical device" in out


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle").path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        blob_image(seed).save(folder / f"{seed}.png")
    return folder


def test_predict_shows_a_table_and_writes_every_row(
    capsys: pytest.CaptureFixture[str], bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    code, out, _ = run(capsys, "predict", pictures, "--model", bundle)
    assert code == 0
    assert all(f"{seed}.png" in out for seed in range(3))
    assert "not a medical device" in out
    code, _, _ = run(
        capsys, "predict", pictures, "--model", bundle, "--out", tmp_path / "out.csv", "--heatmaps", tmp_path / "maps"
    )
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    codes = json.loads((bundle / "spec.json").read_text(encoding="utf-8"))["classes"]
    named = ["label", "malignant_share", "flagged", "prediction_set", "atypicality", "reasons", "hints", "error"]
    assert list(rows[0]) == ["path", *(c["code"] for c in codes), *named]
    assert [Path(r["path"]).name for r in rows] == ["0.png", "1.png", "2.png"]
    for row in rows:
        assert sum(float(row[c["code"]]) for c in codes) == pytest.approx(1, abs=1e-6)
        assert row["error"] == ""
    assert len(list((tmp_path / "maps").iterdir())) == 3


def test_predict_as_json(capsys: pytest.CaptureFixture[str], bundle: Path, pictures: Path) -> None:
    code, out, _ = run(capsys, "predict", pictures, "--model", bundle, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["images"] == 3
    assert found["failed"] == 0
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in found["rows"])


def test_broken_files_become_rows_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str], bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    says = write_broken(pictures / "broken")
    files = sorted(p for p in (pictures / "broken").iterdir() if p.is_file())
    code, _, _ = run(capsys, "predict", pictures, *files, "--model", bundle, "--out", tmp_path / "out.csv", "--quiet")
    assert code == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        errors = {Path(r["path"]).name: r["error"] for r in csv.DictReader(file) if r["error"]}
    assert len(errors) >= 20
    for name, text in says.items():
        if name in errors:
            assert text in errors[name]
    code, _, _ = run(capsys, "predict", *files, "--model", bundle, "--out", tmp_path / "none.csv", "--quiet")
    assert code == 2  # not one image could be read


@pytest.mark.slow
def test_the_whole_job(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Evaluate, compare, export, check, show and use what was trained."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_run(), folder)
    code, out, _ = run(capsys, "evaluate", folder)
    assert code == 0
    assert "balanced accuracy" in out
    assert (folder / "report" / "index.html").stat().st_size > 10_000
    code, out, _ = run(capsys, "evaluate", folder, "--json")
    assert code == 0
    assert json.loads(out)["protocol"] == "lesion"

    code, out, _ = run(capsys, "export", folder)
    assert code == 0
    assert "predict" in out
    code, out, _ = run(capsys, "parity", folder, "--json")
    assert code == 0
    assert json.loads(out)["passed"] is True
    code, out, _ = run(capsys, "card", folder)
    assert code == 0
    assert "not a medical device" in out.lower()
    code, out, _ = run(capsys, "predict", tiny_data() / "images", "--model", folder, "--quiet")
    assert code == 0

    other = tmp_path / "other"
    shutil.copytree(folder, other)
    code, out, _ = run(capsys, "compare", folder, other, "--out", tmp_path / "comparison")
    assert code == 0
    assert {p.suffix for p in tmp_path.glob("comparison.*")} == {".md", ".csv", ".json"}


@pytest.mark.slow
def test_a_bundle_is_evaluated_on_a_data_set(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(
        capsys, "evaluate", tiny_export().path, "--data", tiny_data(), "--out", tmp_path / "judged", "--json"
    )
    assert code == 0
    assert json.loads(out)["metrics"]
    assert list((tmp_path / "judged").rglob("index.html"))


@pytest.mark.slow
def test_train_and_resume_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["epochs=1", "batch=32", "network.pretrained=none", "data.fractions=[0.5,0.25,0.25]"]
    command = ["train", "phantom-demo", "--data", str(tiny_data()), "--out", str(tmp_path / "run"), "--quiet"]
    command += [word for a in [*arguments, "sizes=[{from_epoch: 0, size: 32}]"] for word in ("--set", a)]
    code, out, errors = run(capsys, *command, "--dry-run")
    assert code == 0, errors
    assert "mobilenetv3_small_caco, pretrained: none" in out
    assert not (tmp_path / "run").exists()
    done = subprocess.run([sys.executable, "-m", "lentigo", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1" in done.stderr + done.stdout
    assert "--resume" in refused(capsys, *command)
    assert run(capsys, *command, "--resume")[0] == 0


def test_data_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "data", "phantom", tmp_path / "p", "--per-class", 8, "--size", 48)[0] == 0
    code, out, _ = run(capsys, "data", "info", tmp_path / "p", "--json")
    assert code == 0
    assert json.loads(out)["counts"] == dict.fromkeys(("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"), 8)
    code, out, _ = run(capsys, "data", "split", tmp_path / "p", "--out", tmp_path / "s.csv")
    assert code == 0
    assert (tmp_path / "s.csv").read_text(encoding="utf-8").startswith("image,split\n")
    code, out, _ = run(capsys, "data", "audit", tmp_path / "p", "--protocol", "image", "--json")
    assert code == 1  # a second photograph of a training lesion is in the test part
    assert run(capsys, "data", "audit", tmp_path / "p", "--split", tmp_path / "s.csv", "--json")[0] == 0


@pytest.mark.parametrize(
    "command", ["models", "recipes", "profile mobilenetv3_small_caco --size 64", "recipes caco-ham10000"]
)
def test_tables_can_be_had_as_json(capsys: pytest.CaptureFixture[str], command: str) -> None:
    words = command.split()
    if words[0] == "models":
        words += ["--size", "64"]
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    assert json.loads(out)


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "doctor", "--json")
    found = {f["name"]: f for f in json.loads(out)["findings"]}
    assert found["onnxruntime"]["state"] == "ok"
    assert found["torch"]["state"] == "ok"


# Bad input: one clear line, exit code 2, nothing half-written.


def test_missing_data_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "no such" in refused(
        capsys, "train", "phantom-demo", "--data", tmp_path / "absent", "--out", tmp_path / "run"
    )
    assert not (tmp_path / "run").exists()


def test_csv_without_a_column(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,age\na.png,40\n", encoding="utf-8")
    assert "label" in refused(capsys, "data", "info", tmp_path / "table.csv")


def test_unknown_class(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(tiny_data(), tmp_path / "data")
    table = next((tmp_path / "data").glob("*.csv"))
    table.write_text(table.read_text(encoding="utf-8").replace(",mel,", ",mell,", 1), encoding="utf-8")
    line = refused(capsys, "train", "phantom-demo", "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert "mell" in line
    assert "'mel'" in line
    assert not (tmp_path / "run").exists()


def test_empty_class_and_a_single_image(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "b").mkdir()
    for seed in range(4):
        blob_image(seed).save(tmp_path / "data" / "a" / f"{seed}.png")
    assert "b" in refused(capsys, "train", "phantom-demo", "--data", tmp_path / "data", "--out", tmp_path / "run")
    (tmp_path / "one" / "a").mkdir(parents=True)
    blob_image(0).save(tmp_path / "one" / "a" / "0.png")
    refused(capsys, "train", "phantom-demo", "--data", tmp_path / "one", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("epoch=3", "epochs"),
        ("optimiser.learning_rate=1", "lr"),
        ("loss.name=jiont", "joint"),
        ("network.name=mobilenetv3_small_cacao", "caco"),
    ],
)
def test_recipe_typos_are_answered_with_the_nearest_match(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, change: str, says: str
) -> None:
    line = refused(capsys, "train", "phantom-demo", "--data", tiny_data(), "--out", tmp_path / "run", "--set", change)
    assert says in line
    assert not (tmp_path / "run").exists()


def test_unknown_recipe_and_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "caco-ham10000" in refused(capsys, "train", "caco-ham1000", "--data", tiny_data())
    assert "no model" in refused(capsys, "predict", "x.jpg", "--model", "dermoscopy-8")


def test_damaged_and_newer_bundles(
    capsys: pytest.CaptureFixture[str], bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    spec = (bundle / "spec.json").read_text(encoding="utf-8")
    (bundle / "spec.json").write_text(json.dumps(json.loads(spec) | {"format": 99}), encoding="utf-8")
    assert "newer" in refused(capsys, "predict", pictures, "--model", bundle, "--out", tmp_path / "out.csv")
    (bundle / "spec.json").write_text(spec, encoding="utf-8")
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(content)
    assert "damaged" in refused(capsys, "predict", pictures, "--model", bundle, "--out", tmp_path / "out.csv")
    assert not list(tmp_path.glob("out.csv*"))


def test_a_place_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "cannot" in refused(
        capsys, "predict", pictures, "--model", bundle, "--out", tmp_path / "file" / "out.csv", "--quiet"
    )


def test_the_readme_names_only_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split("#")[0] for block in blocks for line in block.splitlines() if line.startswith("lentigo ")]
    assert lines
    names = {command[0] for command in COMMANDS}
    for line in lines:
        words = shlex.split(line)
        assert words[1] in names
        _, out, _ = run(capsys, words[1], "--help")
        for option in (w for w in words if w.startswith("--")):
            assert option in out, line


def test_pictures_of_a_lesion_are_answered_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny").path
    for n, name in enumerate(("a_1", "a_2", "b_1")):
        blob_image(n).save(tmp_path / f"{name}.png")
    found = [str(tmp_path / f"{name}.png") for name in ("a_1", "a_2", "b_1")]
    code, out, _ = run(
        capsys, "predict", *found, "--model", bundle, "--group-by", r"^(\w)_", "--top-k", 2, "--lang", "zh", "--json"
    )
    assert code == 0
    rows = json.loads(out)["rows"]
    assert [row["path"] for row in rows] == ["a", "b"]
    assert all(len(row["top"]) == 2 for row in rows)
    assert "embedding" not in rows[0]


def test_a_language_that_the_model_does_not_know_is_refused(
    capsys: pytest.CaptureFixture[str], bundle: Path, pictures: Path
) -> None:
    code, _, errors = run(capsys, "predict", pictures, "--model", bundle, "--lang", "es")
    assert code == 2
    assert "names its classes in en, zh; classes.csv beside the training data adds others" in errors


def test_least_sure_first_and_embeddings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny").path
    for n in range(5):
        blob_image(n).save(tmp_path / f"{n}.png")
    arguments = ["predict", *sorted(tmp_path.glob("*.png")), "--model", bundle, "--rank", "uncertain"]
    code, _, errors = run(
        capsys, *arguments, "--out", tmp_path / "next.csv", "--embeddings", tmp_path / "e.npz", "--quiet"
    )
    assert code == 0, errors
    with (tmp_path / "next.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    shares = [sorted((float(row[c.code]) for c in HAM10000), reverse=True) for row in rows]
    margins = [one[0] - one[1] for one in shares]
    assert len(margins) == 5
    assert margins == sorted(margins)
    with np.load(tmp_path / "e.npz") as stored:
        assert stored["embedding"].shape[0] == len(stored["path"]) == 5
    assert "leave out --resume" in refused(capsys, *arguments, "--out", tmp_path / "next.csv", "--resume")
    assert ".npz or .parquet" in refused(capsys, *arguments, "--embeddings", tmp_path / "e.txt")
    (tmp_path / "d.npz").mkdir()
    assert "a folder" in refused(capsys, *arguments, "--embeddings", tmp_path / "d.npz")
    both = ("--out", tmp_path / "e.parquet", "--embeddings", tmp_path / "e.parquet")
    assert "another name" in refused(capsys, *arguments, *both)
    rest = ["--resume", "--out", tmp_path / "r.csv", "--embeddings", tmp_path / "e.npz"]  # would lose those before
    assert "leave out --resume" in refused(capsys, *arguments[:-2], *rest)


@pytest.mark.parametrize("name", ["E.NPZ", "e.Parquet"])
def test_embeddings_of_no_image_are_an_empty_table(tmp_path: Path, name: str) -> None:
    from lentigo.cli.predict import Embeddings

    Embeddings(tmp_path / name).write()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name == "E.NPZ":
        with np.load(tmp_path / name) as stored:
            assert stored["embedding"].shape == (0, 0)
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        assert str(parquet.read_table(tmp_path / name).schema.field("embedding").type) == "list<element: float>"


def test_what_grouping_merged_and_left_alone_is_told(
    capsys: pytest.CaptureFixture[str], bundle: Path, tmp_path: Path
) -> None:
    for name in ("a_1", "a_2", "b"):
        blob_image(3).save(tmp_path / f"{name}.png")
    code, out, _ = run(
        capsys, "predict", tmp_path, "--model", bundle, "--group-by", r"^(\w)_", "--lang", "ZH", "--quiet"
    )
    assert code == 0
    assert "3 images merged into 2 rows; WARNING: --group-by gives no lesion for 1 images" in out
    assert out.partition("most probable: ")[2].splitlines()[0].endswith(" 2")


def test_an_image_on_standard_input(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny").path
    blob_image(1).save(tmp_path / "one.jpg")
    command = [sys.executable, "-m", "lentigo", "predict", "-", "--model", str(bundle), "--json"]
    with (tmp_path / "one.jpg").open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["images"] == 1
    assert found["rows"][0]["error"] == ""
    named = subprocess.run(command, input=f"{tmp_path / 'one.jpg'}\n".encode(), capture_output=True, check=False)
    assert json.loads(named.stdout)["rows"][0]["probabilities"] == found["rows"][0]["probabilities"]
