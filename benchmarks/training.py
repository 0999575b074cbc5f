"""Speed of training on this machine, against a plain PyTorch loop, in one run.

    python benchmarks/training.py              # a minute or two, prints the table
    python benchmarks/training.py --write      # and puts it into benchmarks/README.md

Both train MobileNetV3-CaCo with the joint loss on the same phantoms at the same size and batch, with the same kinds of augmentation:
lentigo by its trainer (memory-mapped cache, batched augmentation), the plain loop as a careful person would write it by hand
(ImageFolder, torchvision's transforms in a DataLoader with one worker a core). They take turns; ratios count, not single figures.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision import transforms

from lentigo.config import load_recipe
from lentigo.data import read_samples
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.losses import create_loss
from lentigo.networks import create_network
from lentigo.synthetic import write_phantoms
from lentigo.training import load_run, train

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- training:begin -->", "<!-- training:end -->"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plain_loop(folder: Path, size: int, batch: int, epochs: int) -> float:
    """Images/s of the last epoch of a plain loop."""
    augment = transforms.Compose(
        [
            transforms.Resize((size, size)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.RandomAffine(
                45, translate=(0.1, 0.1), scale=(0.7, 1.4), interpolation=transforms.InterpolationMode.BILINEAR
            ),
            transforms.ColorJitter(0.25, 0.25, 0.25, 0.03),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    data = torchvision.datasets.ImageFolder(str(folder), augment)
    loader = DataLoader(data, batch, shuffle=True, num_workers=CORES, persistent_workers=True, drop_last=True)
    network = create_network("mobilenetv3_small_caco", classes=len(data.classes))
    loss = create_loss("joint", [data.targets.count(k) for k in range(len(data.classes))])
    optimiser = torch.optim.AdamW(network.parameters(), lr=7e-4, weight_decay=5e-2)
    rate = 0.0
    network.train()
    for _ in range(epochs):
        began, seen = time.perf_counter(), 0
        for images, targets in loader:
            optimiser.zero_grad()
            loss(network(images), targets).backward()
            optimiser.step()
            seen += len(targets)
        rate = seen / (time.perf_counter() - began)
    return rate


def lentigo_run(phantoms: Path, out: Path, size: int, batch: int, epochs: int) -> float:
    """Images/s of the last epoch of lentigo's trainer, by its own log."""
    changes = [
        f"epochs={epochs}",
        f"batch={batch}",
        "network.pretrained=none",
        "data.labels=null",
        f"sizes=[{{from_epoch: 0, size: {size}}}]",
    ]
    train(
        load_recipe("caco-ham10000-cpu", changes),
        phantoms,
        out=out,
        progress=False,
        accelerator="cpu",
        cache=out.parent / "cache",
    )
    return float(load_run(out).log["images_per_second"].iloc[-1])


def as_folders(phantoms: Path, out: Path) -> Path:
    """The training part of the phantoms as one folder a class, for ImageFolder."""
    samples = read_samples(phantoms)
    for path, label in zip(samples.frame["path"], samples.frame["label"], strict=True):
        target = out / str(label) / Path(str(path)).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(phantoms / str(path), target)
    return out


def report(rows: dict[str, list[float]], size: int, batch: int, images: int) -> str:
    """The table as Markdown, medians over the rounds and the ratio round by round."""
    ratios = [a / b for a, b in zip(rows["lentigo"], rows["plain PyTorch loop"], strict=True)]
    lines = [
        f"MobileNetV3-CaCo, joint loss, {size} px, batch {batch}, {images:,} phantoms stored at 256 px (JPEG), augmentation on, "
        f"{len(ratios)} rounds in turn.",
        f"{platform.machine()}, {CORES} cores, Python {platform.python_version()}, torch {torch.__version__}.",
        "",
        "| | images/s, median | range |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {statistics.median(v):.0f} | {min(v):.0f} to {max(v):.0f} |" for name, v in rows.items()]
    lines += ["", f"lentigo / plain loop: **{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the table between the markers of README.md, which is made if it is not there."""
    page = README.read_text(encoding="utf-8") if README.is_file() else "# Benchmarks\n"
    section = f"{BEGIN}\n{text}\n{END}"
    if BEGIN in page:
        page = page[: page.index(BEGIN)] + section + page[page.index(END) + len(END) :]
    else:
        page = page.rstrip() + f"\n\n## Training\n\n`python benchmarks/training.py --write`\n\n{section}\n"
    README.write_text(page, encoding="utf-8")


def main() -> None:
    """Measure, print, and write where asked to."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", type=int, default=128)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--per-class", type=int, default=110)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    torch.set_num_threads(CORES)
    with tempfile.TemporaryDirectory(prefix="lentigo-benchmark-") as place:
        root = Path(place)
        phantoms = write_phantoms(root / "phantoms", per_class=chosen.per_class, size=256)
        folders = as_folders(phantoms, root / "folders")
        rows: dict[str, list[float]] = {"lentigo": [], "plain PyTorch loop": []}
        for n in range(chosen.rounds):
            rows["lentigo"].append(lentigo_run(phantoms, root / f"run{n}", chosen.size, chosen.batch, chosen.epochs))
            rows["plain PyTorch loop"].append(plain_loop(folders, chosen.size, chosen.batch, chosen.epochs))
        text = report(rows, chosen.size, chosen.batch, 7 * chosen.per_class)
    print(text)
    if chosen.write:
        write(text)


if __name__ == "__main__":
    main()
