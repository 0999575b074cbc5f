"""The built app in a real browser against Python: the same probabilities on real images, whatever their format."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lentigo.inference import Classifier, load, packaged_bundles

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"
TOLERANCE = 1e-3

BUILT = (APP / "node_modules/@playwright/test").is_dir() and (ROOT / "lentigo/serving/static/index.html").is_file()

needs_app = pytest.mark.skipif(
    not (BUILT and shutil.which("node")), reason="the app is not built here (make app), or there is no Node on the path"
)


def ask_browser(classifier: Classifier, images: list[Path]) -> dict[str, Any]:
    command = ["node", "build/parity.mjs", str(classifier.bundle.path), *map(str, images)]
    environment = {name: value for name, value in os.environ.items() if (name, value) != ("LENTIGO_CHROMIUM", "none")}
    done = subprocess.run(command, cwd=APP, capture_output=True, text=True, timeout=300, env=environment)
    if "Executable doesn't exist" in done.stderr:
        pytest.skip("no Chromium here")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@needs_app
def test_real_images_get_the_same_probabilities_in_the_browser(shared_data: Path, tmp_path: Path) -> None:
    if not packaged_bundles():
        pytest.skip("no bundle is packaged with this checkout")
    images = (
        sorted((shared_data / "ham10000-400/images").glob("*.webp"))[::1500]
        + sorted((shared_data / "pad_ufes_20").rglob("*.webp"))[::250]
    )
    # The same picture as a JPEG with chroma subsampling, as phones write it, and turned by its EXIF tag.
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(images[0]) as source:
        source.convert("RGB").resize((600, 450)).save(tmp_path / "phone.jpg", quality=90, exif=exif)
    images.append(tmp_path / "phone.jpg")
    for name in packaged_bundles():
        classifier = load(name, threads=1)
        answer = ask_browser(classifier, images)
        assert answer["golden"]
        for image in images:
            expected = classifier.predict(image)
            found = [answer["images"][str(image)][code] for code in classifier.labels.codes]
            assert found == pytest.approx(expected.probabilities.tolist(), abs=TOLERANCE), image
            assert classifier.labels.codes[max(range(len(found)), key=found.__getitem__)] == expected.label, image
