"""The house stands: imports run one way, and the use wing never touches torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "lentigo"

FLOORS = {
    "annotations": 0, "code_pages": 0, "errors": 0, "lazy": 0, "text": 0,
    "extra_formats": 1, "dicom_rle": 1, "jpeg": 1, "tables": 1, "walk": 1,
    "files": 1, "image_header": 1, "estimate": 1, "labels": 1, "machine": 1, "resampler": 1, "progress": 1,
    "losses": 2, "networks": 2, "imaging": 2, "bundle": 2, "synthetic": 2, "config": 2,
    "inference": 3, "pixels": 3,
    "data": 4, "serving": 4, "client": 4,
    "evaluation": 5,
    "training": 6,
    "export": 7,
    "workflow": 8,
    "reproduce": 9,
    "cli": 10,
    "__main__": 11,
}  # fmt: skip
USE = {
    "annotations", "extra_formats", "dicom_rle", "jpeg", "tables", "walk",
    "code_pages", "errors", "lazy", "text", "files", "image_header", "estimate", "labels", "machine", "resampler",
    "imaging", "bundle", "inference",
    "serving", "client", "cli", "__main__",
}  # fmt: skip
MAKE = {
    "progress", "config", "losses", "networks", "synthetic", "pixels", "data", "evaluation", "training",
    "export", "workflow", "reproduce",
}  # fmt: skip
HEAVY = ("torch", "torchvision", "lightning_fabric", "pandas", "scipy", "sklearn", "matplotlib", "timm", "onnx", "ray")


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py" or p.parent != PACKAGE)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, functions: bool = True, types: bool = True) -> Iterator[str]:
    """Absolute names that a module imports: with those inside functions, and those for type checkers alone."""
    queue: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while queue:
        node = queue.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not functions:
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types:
            continue
        queue.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_down_the_floors(path: Path) -> None:
    here = part_of(path)
    assert here in FLOORS, f"{path}: give this part a floor in docs/architecture.md and here"
    for name in imports(path):
        if not name.startswith("lentigo."):
            continue
        there = name.split(".")[1]
        if there in ("__version__", "NOTICE", here):
            continue
        assert there in FLOORS, f"{path} imports {name}, which is no known part"
        assert FLOORS[there] < FLOORS[here], f"{path} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions count too, those for type checkers do not; a package's ``__init__`` may import its
    modules."""
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in modules()
        if path.name != "__init__.py"
    }
    wanted = {
        name: {i if i in names else i.rpartition(".")[0] for i in imports(path, types=False)} & names.keys()
        for name, path in names.items()
    }
    left = dict(wanted)
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"these modules import each other: {', '.join(sorted(left))}"


@pytest.mark.parametrize("path", [p for p in modules() if part_of(p) in USE], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_use_wing_loads_nothing_heavy(path: Path) -> None:
    for name in imports(path, functions=False, types=False):
        assert name.split(".")[0] not in HEAVY, f"{path} imports {name} when it is imported"
        assert not (name.startswith("lentigo.") and name.split(".")[1] in MAKE), (
            f"{path} imports {name} from the make wing"
        )


@pytest.mark.parametrize(
    "code",
    ["import lentigo, lentigo.inference", "import lentigo.cli", "import lentigo.serving", "import lentigo.client"],
)
def test_no_torch_in_a_fresh_process(code: str) -> None:
    program = f"{code}\nimport sys\nprint(sorted(m for m in {HEAVY!r} if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_floors_agree_with_the_page() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")
    ]
    floors = {part: int(cells[0]) for cells in rows if cells[0].isdigit() for part in re.findall(r"`(\w+)`", cells[1])}
    assert floors | {"__main__": FLOORS["__main__"]} == FLOORS
