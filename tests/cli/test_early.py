"""User errors and dry runs answer before torch, torchvision or matplotlib is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_data import folder, write_image

from lentigo.cli import main
from lentigo.config import load_recipe
from lentigo.errors import RecipeError

HEAVY = ("torch", "torchvision", "lightning_fabric", "matplotlib", "timm", "onnx")
PROGRAM = f"""
import sys
from lentigo.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stopped:
    code = stopped.code or 0
print("imported:", [name for name in {HEAVY!r} if name in sys.modules])
sys.exit(code)
"""


def lentigo(place: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, cwd=place, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("early")
    folder(root / "own", {"mel": 12, "nv": 20})
    folder(root / "single", {"mel": 12, "nv": 1})
    folder(root / "doubled", {"mel": 12, "nv": 20})
    write_image(root / "doubled" / "nv" / "copy.png", 0)
    (root / "full").mkdir()
    (root / "full" / "notes.txt").write_text("mine", encoding="utf-8")
    (root / "typo.yaml").write_text("epoch: 3\n", encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("train --data nowhere", "nowhere: no such file or folder"),
        ("train phantom-dem --data own", "did you mean 'phantom-demo'"),
        ("train typo.yaml --data own", "did you mean 'epochs'"),
        ("train phantom-demo --data own --out full", "not empty"),
        (
            "train phantom-demo --data own --set network.name=mobilenetv3_small_cac",
            "did you mean 'mobilenetv3_small_caco'",
        ),
        ("train phantom-demo --data own --set network.options.dropot=0.1", "did you mean 'dropout'"),
        ("train phantom-demo --data own --set network.pretrained=dermoscopy-8", "did you mean 'dermoscopy-7'"),
        (
            "train phantom-demo --data own --set network.name=mobilenetv2 --set network.pretrained=isic-3",
            "mobilenetv3_small_caco",
        ),
        ("train caco-ham10000 --data own", "the classes are mel, nv"),
        ("train phantom-demo --data own --resume", "no run to resume"),
        ("train --data own --resume", "own: no run to resume; start one without --resume"),
        ("train --data own --group-by patient", "is no column of the table (found: none); name the patients with"),
        ("data split own --out split.csv --folds 99", "own: class 'mel' has 12"),
        ("predict own --lang es", "names its classes in en, zh"),
        ("serve --model nowhere", "no model 'nowhere'"),
        ("app --model nowhere", "no model 'nowhere'"),
        ("train --data single", "too few images to be in each of 3 parts: nv (1)"),
        ("evaluate nonexistent", "no run folder"),
        ("evaluate dermoscopy-7 --data nowhere", "no such file or folder"),
        ("evaluate full", "full"),
        ("compare full/a full/b", "no run folder"),
        ("export nonexistent", "not a run folder"),
        ("parity nonexistent", "no bundle here"),
        ("profile mobilenetv3_smal", "did you mean 'mobilenetv3_small'"),
        ("sweep phantom-dem --data own", "did you mean 'phantom-demo'"),
        ("ood dermoscopy-8 --data own", "did you mean 'dermoscopy-7'"),
        ("ood dermoscopy-7 --data nowhere", "no such file or folder"),
        ("ood dermoscopy-7 --data own", "not the data that dermoscopy-7 was trained on"),
        ("ood dermoscopy-7 --data own --ood photographs=full", "photographs: no images in full"),
        ("reproduce caco-tabel5 --data own", "did you mean 'caco-table5'"),
        ("reproduce caco-table5", "say where it is (--data)"),
        ("reproduce caco-table5 --data nowhere", "no such file or folder"),
        ("reproduce caco-table5 --data own", "the classes are mel, nv"),
        ("reproduce caco-table5 --data own --budget smal", "did you mean 'small'"),
        ("reproduce caco-table5 --data own --row cbmm", "has no row"),
        ("reproduce caco-table5 --data own --weights imagenett", "did you mean 'imagenet'"),
        ("reproduce caco-table5 --data own --protocol lesoin", "did you mean 'lesion'"),
    ],
)
def test_user_errors_are_told_at_once(place: Path, arguments: str, told: str) -> None:
    code, out, errors = lentigo(place, *arguments.split())
    assert code == 2, errors
    assert told in errors
    assert len(errors.strip().splitlines()) == 1
    assert "imported: []" in out


@pytest.mark.parametrize("recipe", [[], ["phantom-demo"]], ids=["planned", "packaged"])
def test_a_dry_run_imports_no_torch_and_writes_nothing(place: Path, recipe: list[str]) -> None:
    code, out, errors = lentigo(place, "train", *recipe, "--data", "doubled", "--dry-run")
    assert code == 0, errors
    assert "imported: []" in out
    assert "nothing was trained" in out
    assert not (place / "runs").exists()
    assert "patients unknown: a leak" in out
    assert "WARNING: the same file is stored under different classes, 1 such (mel/0.png = nv/copy.png)" in out


EMPTY = """train --data @ --dry-run
train --data= --dry-run
train --data own --out @ --dry-run
train --data own --group-by @ --dry-run
train --data own --label-by @ --dry-run
train @ --data own --dry-run
data info @
data info own --layout @
data audit own --split @
data split own --out @
predict @
predict own --out @
predict own --model @
predict own --heatmaps @
evaluate @
evaluate dermoscopy-7 --data @
compare @ own
export @
reproduce caco-table5 --data own --runs @
sweep phantom-demo --data own --out @
ood dermoscopy-7 --data @
serve --model @
serve --keys @
card @"""


@pytest.mark.parametrize("line", EMPTY.splitlines())
def test_an_empty_value_is_an_error_and_not_the_current_folder(
    place: Path, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place / "own")
    with pytest.raises(SystemExit) as stopped:
        main(["" if word == "@" else word for word in line.split()])
    assert stopped.value.code == 2
    errors = capsys.readouterr().err
    assert "is empty; give one" in errors
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "override",
    ["data.group_by=''", "data.label_by=''", "network.name=''", "network.pretrained=''", "distil.teachers=['']"],
)
def test_an_empty_key_of_a_recipe_is_an_error(override: str) -> None:
    with pytest.raises(RecipeError, match=f"{override.partition('=')[0]}: is empty; give a value"):
        load_recipe("phantom-demo", [override])


def test_empty_variables_are_as_if_they_were_not_set(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    for name in ("CACHE", "CACHE_GB", "WEIGHTS", "CHROMIUM", "EXTRA_FORMATS", "API_KEYS"):
        monkeypatch.setenv(f"LENTIGO_{name}", "")
    _, out, errors = lentigo(place, "doctor", "--json")
    assert str(place / "cache" / "lentigo") in out, errors
    code, _, errors = lentigo(place, "train", "--data", "own", "--dry-run")
    assert code == 0, errors
