"""Write the table that `lentigo train modality` learns from: dermoscopy of four collections, and photographs.

    .venv/bin/python scripts/modality_table.py ../shared/data modality

The folder named last gets links to the data sets and `samples.csv`. 3,000 images of each of the two large collections are drawn; published
test parts stay out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from lentigo.data import read_samples

SETS = {
    "ham10000-400": ("dermoscopy", 3000),
    "isic2017-384": ("dermoscopy", None),
    "isic2019-bcn-84": ("dermoscopy", 3000),
    "isic-archive": ("dermoscopy", None),
    "pad_ufes_20": ("photograph", None),
}


def main(data: Path, out: Path) -> None:
    """Write the table and the links beside it."""
    parts = []
    out.mkdir(parents=True, exist_ok=True)
    for name, (label, count) in SETS.items():
        samples = read_samples(data / name)
        frame = samples.frame
        if "official_split" in frame:
            frame = frame[frame["official_split"] != "test"]
        if count is not None:
            frame = frame.sample(count, random_state=0)
        if not (out / name).exists():
            (out / name).symlink_to(samples.root.resolve())
        parts.append(pd.DataFrame({"path": f"{name}/" + frame["path"], "label": label, "group": f"{name}-" + frame["group"].astype(str)}))
    pd.concat(parts).to_csv(out / "samples.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
