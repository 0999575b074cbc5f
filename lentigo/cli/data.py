"""``lentigo data``: inspect, audit, split, download and render data sets."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lentigo.cli.output import AsJson, print_json, say
from lentigo.errors import DataError, MissingExtraError
from lentigo.text import counted

app = typer.Typer(
    help="Inspect, audit, split, download and render data sets.", no_args_is_help=True, rich_markup_mode="rich"
)


Protocol = Literal["lesion", "image", "patient", "official"]
Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="Data set: a folder, a DermaMNIST .npz, or a CSV with path and label.")
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        help="ham10000, isic2016 to isic2020, isic-archive, pad_ufes_20, derm7pt, dermamnist, folder or csv.",
        show_default="detected",
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN|PATTERN",
        help="Table column, or regular expression on file names, that identifies the patient or lesion.",
    ),
]
LabelBy = Annotated[
    str | None,
    typer.Option(metavar="COLUMN|PATTERN", help="Table column, or regular expression on paths, that gives the class."),
]


MissingFiles = Literal["error", "skip"]
Missing = Annotated[MissingFiles, typer.Option(help="Table rows without an image file: error or skip.")]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Skip images that cannot be decoded, and list them.")
]
Seed = Annotated[int, typer.Option(help="Random seed.")]


@app.command(epilog="[bold]Example[/bold]: lentigo data info phantoms")
def info(
    data: Data,
    layout: Layout = None,
    group_by: GroupBy = None,
    label_by: LabelBy = None,
    missing: Missing = "error",
    skip_unreadable: SkipUnreadable = False,
    as_json: AsJson = False,
) -> None:
    """Print how a data set is read, its images per class and its fingerprint."""
    from lentigo.data import read_samples
    from lentigo.data.groups import ASK, LEAK

    samples = read_samples(
        data, layout, group_by=group_by, label_by=label_by, missing=missing, skip_unreadable=skip_unreadable
    )
    counts = {str(code): int(n) for code, n in samples.frame["label"].value_counts().items()}
    if as_json:
        facts: dict[str, Any] = {
            "name": samples.name,
            "images": len(samples),
            "groups": int(samples.frame["group"].nunique()),
        }
        facts["grouped_by"] = samples.groups.record
        facts["reading"] = None if samples.reading is None else samples.reading.to_dict()
        print_json(facts | {"fingerprint": samples.fingerprint, "counts": counts})
        return
    say(repr(samples))
    for line in samples.reading.lines() if samples.reading is not None else ():
        say(line)
    if not samples.groups.known:
        who = (
            "patients unknown"
            if samples.groups.kind == "unknown"
            else f"{samples.groups.blank:,} images without {samples.groups.name}"
        )
        say(f"{who}: {LEAK}; {ASK}")
    say(f"fingerprint {samples.fingerprint}")


@app.command(epilog="[bold]Example[/bold]: lentigo data audit phantoms --protocol image")
def audit(
    data: Data,
    layout: Layout = None,
    group_by: GroupBy = None,
    label_by: LabelBy = None,
    protocol: Annotated[
        Protocol | None, typer.Option(help="Split to check.", show_default="official if published, else lesion")
    ] = None,
    split: Annotated[Path | None, typer.Option(help="Saved split (CSV) to check instead.")] = None,
    artifacts: Annotated[
        bool,
        typer.Option(
            "--artifacts/--no-artifacts",
            "--cues/--no-cues",
            help="Detect dark corners, rulers, ink and hair, and report their association with the class (slow).",
        ),
    ] = True,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find unreadable files, duplicates, contradicting labels, leaks between splits and confounders; exit code 1 for a leak."""
    from lentigo.data import audit_samples, load_split, read_samples, split_samples

    # Missing files are part of what is found.
    samples = read_samples(data, layout, missing="keep", group_by=group_by, label_by=label_by)
    if split is not None:
        samples = load_split(samples, split)
    else:
        published = "official_split" in samples.frame.columns
        samples = split_samples(samples, protocol or ("official" if published else "lesion"), seed=seed)
    found = audit_samples(samples, artifacts=artifacts, progress=not as_json)
    if as_json:
        print_json(found.to_dict())
    else:
        say(str(found))
    raise typer.Exit(1 if found.leaks else 0)


@app.command(epilog="[bold]Example[/bold]: lentigo data split phantoms --protocol lesion --out split.csv")
def split(
    data: Data,
    out: Annotated[Path, typer.Option(help="Output CSV (columns image, split).")],
    layout: Layout = None,
    group_by: GroupBy = None,
    label_by: LabelBy = None,
    missing: Missing = "error",
    skip_unreadable: SkipUnreadable = False,
    protocol: Annotated[Protocol, typer.Option(help="Split protocol.")] = "lesion",
    seed: Seed = 0,
    folds: Annotated[int | None, typer.Option(help="Number of folds, instead of 8:1:1.")] = None,
    fold: Annotated[int, typer.Option(help="Validation fold, from 0.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Split a data set into training, validation and test, and save the split."""
    from lentigo.data import kfold_samples, read_samples, save_split, split_samples

    samples = read_samples(
        data, layout, group_by=group_by, label_by=label_by, missing=missing, skip_unreadable=skip_unreadable
    )
    if folds is None:
        samples = split_samples(samples, protocol, seed=seed)
    else:
        samples = kfold_samples(samples, protocol, folds=folds, fold=fold, seed=seed)
    save_split(samples, out)
    published = "official_split" in samples.frame.columns and protocol != "official"
    notes = ["note: the data's own split is not kept; --protocol official keeps it"] if published else []
    if as_json:
        print_json({"out": str(out), "protocol": protocol, "seed": seed, "counts": samples.counts().to_dict()})
    else:
        for line in (*samples.remarks(), repr(samples), *notes, f"wrote {out}"):
            say(line)


@app.command(epilog="[bold]Example[/bold]: lentigo data review runs/sweep/caco-ham10000-cpu --out review")
def review(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Runs of a cross-validation, a folder of them, or CSVs of predictions."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for label-review.csv and label-review.html.")] = Path(),
    part: Annotated[
        Literal["val", "test"],
        typer.Option("--split", help="Part whose predictions are used."),
    ] = "val",
    data: Annotated[Path | None, typer.Option(help="Folder of the images.", show_default="the recorded path")] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Maximum number of candidates on the page.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Rank images by the probability that their label is wrong, from out-of-fold predictions (confident learning)."""
    require_runs(runs)
    if find_spec("cleanlab") is None:
        raise MissingExtraError("the review of labels", "review")
    from lentigo.evaluation.label_review import review_labels

    found = review_labels(runs, out, split=part, data_root=data, pictures=pictures)
    if as_json:
        print_json(found.to_dict())
        return
    say(f"{len(found.candidates)} of {found.images} images have a doubtful label; review them:")
    for given, suggested, count in found.pairs[:10]:
        say(f"  {count:>4}  {given}, perhaps {suggested}")
    for path in (found.table, found.page):
        say(f"wrote {path}")


@app.command(epilog="[bold]Example[/bold]: lentigo data phantom phantoms --per-class 60")
def phantom(
    out: Annotated[Path, typer.Argument(help="Output folder.")],
    kind: Annotated[
        Literal["ham10000", "hypo"], typer.Option(help="HAM10000's 7 classes, or hypopigmented lesions.")
    ] = "ham10000",
    per_class: Annotated[int, typer.Option(min=1, help="Images per class.")] = 60,
    size: Annotated[int, typer.Option(min=32, max=2048, help="Side of the images, in pixels.")] = 256,
    seed: Seed = 0,
) -> None:
    """Render synthetic dermoscopy-like images for demos and tests; accuracy on them is meaningless."""
    from lentigo.synthetic.phantom import write_phantoms

    folder = write_phantoms(out, kind=kind, per_class=per_class, size=size, seed=seed, progress=True)
    say(f"wrote {folder}; try next: lentigo train phantom-demo --data {folder}")


@app.command(epilog="[bold]Example[/bold]: lentigo data download ham10000 --out data")
def download(
    name: Annotated[str, typer.Argument(help="ham10000, isic2017, pad_ufes_20 or dermamnist.")],
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("data"),
    base_url: Annotated[str | None, typer.Option(help="Mirror to download from.", show_default="the publisher")] = None,
) -> None:
    """Download a public data set, with resume and checksums; read its licence before use."""
    from lentigo.data.download import download_dataset

    folder = download_dataset(name, out, base_url=base_url, progress=True)
    say(f"ready: {folder}; try next: lentigo data info {folder}")


def require_runs(runs: list[Path]) -> None:
    """Check that runs exist, before slow imports.

    Raises:
        DataError: a run does not exist.
    """
    for run in runs:
        if not run.exists():
            raise DataError(f"{run}: no run folder and no file of predictions there")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all arrays that are not in use.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print folder and size of the cache of decoded images, or clear it."""
    from lentigo.data.cache import arrays, limit, prune
    from lentigo.machine import default_directory

    folder, most = default_directory(), limit()
    freed = prune(folder) if clear else 0
    sizes = list(arrays(folder).values())
    if as_json:
        print_json({"folder": str(folder), "arrays": len(sizes), "bytes": sum(sizes), "limit": most, "freed": freed})
        return
    if clear:
        say(f"removed {freed / 1e9:.2f} GB")
    say(
        f"{folder}: decoded images in {counted(len(sizes), 'array')}, {sum(sizes) / 1e9:.2f} GB; beyond {most / 1e9:g} GB"
        " (LENTIGO_CACHE_GB) those used least recently are removed"
    )
