"""The make wing's commands: train, evaluate, compare, export, and list networks and recipes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lentigo.cli.data import GroupBy, LabelBy, Missing, MissingFiles, Protocol, SkipUnreadable, require_runs
from lentigo.cli.output import AsJson, print_json, print_table, say
from lentigo.errors import DataError, TrainingError

if TYPE_CHECKING:
    from lentigo.workflow import Evaluation

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the recipe, as in --set optimiser.lr=1e-3; repeat as needed.",
    ),
]
DataFolder = Annotated[Path, typer.Option("--data", help="The data set: a folder, .npz or .csv.")]


def register(app: typer.Typer) -> None:
    """Add the commands of the make wing to ``app``."""
    app.command(
        epilog="[bold]Examples[/bold]: lentigo train --data FOLDER\n\nlentigo train phantom-demo --data phantoms --epochs 2"
    )(train)
    app.command(
        epilog="[bold]Examples[/bold]: lentigo evaluate runs/phantom-demo\n\nlentigo evaluate dermoscopy-7 --data HAM10000 --robustness --robustness-limit 500\n\n"
        "lentigo evaluate dermoscopy-7 --data ISIC2017 --classes mel=mel,nv=nv,sk=bkl\n\n"
        "lentigo evaluate my-bundle --data visits.csv --group-by lesion_id --missing skip"
    )(evaluate)
    app.command(epilog="[bold]Example[/bold]: lentigo compare runs/a runs/b --out comparison")(compare)
    app.command(epilog="[bold]Example[/bold]: lentigo export runs/phantom-demo --out my-bundle")(export)
    app.command(epilog="[bold]Example[/bold]: lentigo parity my-bundle")(parity)
    app.command("trust", hidden=True)(ood)  # the old name, for one release
    app.command(
        "ood",
        epilog="[bold]Example[/bold]: lentigo ood dermoscopy-7 --data HAM10000 --ood photographs=PAD_UFES_20/images",
    )(ood)
    app.command(epilog="[bold]Example[/bold]: lentigo profile mobilenetv3_small_caco --size 224")(profile)
    app.command(epilog="[bold]Example[/bold]: lentigo models --json")(models)
    app.command(epilog="[bold]Example[/bold]: lentigo recipes caco-ham10000-cpu")(recipes)
    app.command(
        epilog="[bold]Examples[/bold]: lentigo reproduce\n\nlentigo reproduce caco-table5 --data HAM10000 --dry-run\n\n"
        "lentigo reproduce caco-table5 --data HAM10000 --protocol lesion --budget small"
    )(reproduce)
    app.command(
        epilog="[bold]Example[/bold]: lentigo sweep caco-ham10000-cpu --data HAM10000 --seeds 3 --folds 5 --jobs 2"
    )(sweep)


class Domain(StrEnum):
    """Kinds of images of a user's data set."""

    clinical = "clinical"
    dermoscopy = "dermoscopy"
    other = "other"


class Device(StrEnum):
    """Where to train."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A packaged recipe's name (see `lentigo recipes`) or a YAML file; chosen by looking at the data when left out."
        ),
    ] = None,
    *,
    data: DataFolder,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/<recipe or data name> when left out.")] = None,
    overrides: Set = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the images.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Images a step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    size: Annotated[
        int | None, typer.Option(min=16, max=2048, help="Side of the images in pixels, in all epochs.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.auto,
    group_by: GroupBy = None,
    label_by: LabelBy = None,
    missing: Missing = MissingFiles.error,
    skip_unreadable: SkipUnreadable = False,
    domain: Annotated[Domain | None, typer.Option(help="What kind of pictures they are, for the model card.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all that the run needs, say what would be trained, and stop.")
    ] = False,
    save_recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the recipe there; with --dry-run, to edit it first.")
    ] = None,
    bundle: Annotated[
        bool | None,
        typer.Option("--export/--no-export", help="Afterwards write report and bundle; done where no recipe is given."),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes or accelerators on this host.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Hosts.")] = 1,
    logger: Annotated[
        list[str] | None,
        typer.Option(
            help="Log each epoch to csv, mlflow, tensorboard or wandb too (extras of those names); may be repeated."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="One line an epoch instead of a progress bar.")] = False,
) -> None:
    """Train a network on a data set, by a recipe or by one chosen for the data; the run folder holds all it took and gave."""
    from lentigo.bundle import as_name
    from lentigo.config import load_recipe, to_yaml
    from lentigo.data.groups import ASK, LEAK
    from lentigo.files import write_text
    from lentigo.training.loggers import check_loggers
    from lentigo.training.preflight import check_device, check_run, describe_ready, is_first_process
    from lentigo.workflow.plan import name_of, plan_training

    check_loggers(logger or ())
    check_device(device.value)
    keys = {
        "epochs": epochs,
        "batch": batch,
        "seed": seed,
        "sizes": None if size is None else [{"from_epoch": 0, "size": size}],
        "data.group_by": group_by,
        "data.label_by": label_by,
        "data.missing": None if missing is MissingFiles.error else missing.value,
        "data.skip_unreadable": skip_unreadable or None,
        "data.domain": None if domain is None else domain.value,
    }
    changes = [f"{key}={json.dumps(value)}" for key, value in keys.items() if value is not None] + (overrides or [])
    planned = recipe is None and not resume
    if planned:
        plan = plan_training(
            data, changes if out is None else [f"name={json.dumps(as_name(out.name) or name_of(data))}", *changes]
        )
        chosen = plan.recipe
        if is_first_process():
            say(str(plan))
    else:
        begun = (out or Path("runs") / name_of(data)) / "recipe.yaml"
        if recipe is None and not begun.is_file():
            raise TrainingError(
                f"{begun.parent}: no run to resume; start one without --resume, or name its folder with --out"
            )
        chosen = load_recipe(recipe or begun, changes)
    folder = out or Path("runs") / chosen.name
    ready = check_run(chosen, data, folder, resume=resume)
    if ready is not None and is_first_process():
        for line in ready.samples.remarks():
            say(line)
    if ready is not None and chosen.data.protocol in ("lesion", "patient") and not ready.samples.groups.known:
        say(f"warning: protocol {chosen.data.protocol}, but patients unknown: {LEAK}; {ASK}")
    if save_recipe is not None:
        write_text(save_recipe, to_yaml(chosen))
    if dry_run:
        if ready is not None and not planned:
            say(describe_ready(chosen, ready))
        say(
            f"dry run: nothing was trained; the recipe {f'is in {save_recipe}' if save_recipe else 'goes to --save-recipe FILE'}"
        )
        return
    if ready is not None:
        from lentigo.training import train

        train(
            chosen,
            data,
            out=folder,
            resume=resume,
            devices=devices,
            nodes=nodes,
            accelerator=device.value,
            progress=not quiet,
            ready=ready,
            loggers=logger or (),
        )
    if not is_first_process():  # one of several that trained together; the first says and exports the rest
        return
    if bundle or (bundle is None and recipe is None):
        from lentigo.workflow import evaluate

        _show(evaluate(folder))
        _export(folder)
        say(f"run folder: {folder}; its recipe {folder / 'recipe.yaml'} can be edited and run again")
    else:
        say(f"run folder: {folder}; try next: lentigo evaluate {folder}")


def evaluate(
    target: Annotated[
        Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="A run folder, or a bundle together with --data.")
    ],
    data: Annotated[Path | None, typer.Option("--data", help="Evaluate a bundle on this data set.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the report goes; RUN/report when left out.")] = None,
    split: Annotated[str, typer.Option(help="The part to evaluate: test, val, train or all.")] = "test",
    split_file: Annotated[Path | None, typer.Option(help="A saved split (CSV) to use.")] = None,
    protocol: Annotated[
        Protocol | None, typer.Option(help="How the data is divided; the bundle's own when left out.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="THEIRS=OURS,...",
            help="Another collection's classes as the bundle's; images of its other classes are left out.",
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            "--stress",
            help="Also evaluate degraded images (blur, noise, JPEG, brightness, rotation, hair) and check the heat maps.",
        ),
    ] = False,
    robustness_limit: Annotated[
        int | None,
        typer.Option(
            "--robustness-limit",
            "--stress-limit",
            min=1,
            help="For --robustness, no more images than this, drawn at random.",
        ),
    ] = None,
    prevalence: Annotated[
        float,
        typer.Option(
            help="Fraction of malignant lesions among those seen, for which the report states predictive values."
        ),
    ] = 0.02,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|PATTERN",
            help="Evaluate lesions, each the mean over its pictures: a column of the table, or a regular expression on file names.",
        ),
    ] = None,
    missing: Missing = MissingFiles.error,
    as_json: AsJson = False,
) -> None:
    """Write the report (index.html, plots, metrics.json) of a run, or of a bundle on a data set."""
    from lentigo.workflow import evaluate as evaluate_target

    result = evaluate_target(
        str(target),  # a name may be a packaged bundle's
        data=data,
        out=out,
        split=split,
        split_file=split_file,
        protocol=protocol.value if protocol else None,
        classes=None if classes is None else _pairs("--classes", classes.split(","), "mel=mel,nv=nv,sk=bkl"),
        robustness=robustness,
        limit=robustness_limit,
        prevalence=prevalence,
        group_by=group_by,
        missing=missing.value,
    )
    if as_json:
        print_json(result.metrics)
        return
    _show(result)


def _show(result: Evaluation) -> None:
    for line in result.remarks:
        say(line)
    print_table(("metric", "value", "95 % low", "95 % high"), result.headline, title=result.title)
    say(f"report: {result.index}")


def _pairs(option: str, items: Iterable[str], example: str) -> dict[str, str]:
    """Parse items of the form ``A=B``."""
    found = {}
    for item in items:
        left, _, right = (word.strip() for word in item.partition("="))
        if not (left and right):
            raise DataError(f"{option} {item}: give pairs, such as {option} {example}")
        found[left] = right
    return found


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN...", help="Two or more run folders or prediction files on the same test images."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Also write OUT.md, OUT.csv and OUT.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs on the same test images: intervals, McNemar's test, paired bootstrap."""
    require_runs(runs)
    from lentigo.evaluation import compare_runs

    result = compare_runs(runs)
    if out:
        result.write(out)
    if as_json:
        print_json(result.to_dict())
    else:
        say(result.markdown())


def export(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    out: Annotated[Path | None, typer.Option(help="The bundle folder; RUN/bundle when left out.")] = None,
    name: Annotated[
        str | None, typer.Option(help="The bundle's name; the run's, for published data the recipe's, when left out.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="One line for people.")] = None,
    weights: Annotated[
        str, typer.Option(help="fp32, fp16 (half the size) or int8 (a quarter; refused where it loses accuracy).")
    ] = "fp32",
    data: Annotated[
        Path | None, typer.Option("--data", help="The run's data set; where the run says it was when left out.")
    ] = None,
    variants: Annotated[
        bool, typer.Option("--compare", help="Measure fp16 and int8 too, and put the figures in the card.")
    ] = False,
    also: Annotated[
        str,
        typer.Option(help="Further formats in the bundle: litert, executorch, coreml; several separated by commas."),
    ] = "",
    domain: Annotated[
        Domain | None, typer.Option(help="What kind of pictures it is for; what the recipe says when left out.")
    ] = None,
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1",
    notes: Annotated[str, typer.Option(help="A remark for the card.")] = "",
) -> None:
    """Write the bundle of a run: one folder that gives the same answer in Python, over HTTP and in a browser."""
    from lentigo.training.rundir import load_run

    load_run(run)  # reports missing files before torch is imported
    about = {
        "name": name,
        "title": title,
        "version": version,
        "notes": notes,
        "domain": None if domain is None else domain.value,
    }
    formats = [name.strip() for name in also.split(",") if name.strip()]
    _export(run, out, about, weights=weights, data=data, compare=variants, also=formats)


def _export(run: Path, out: Path | None = None, about: Mapping[str, Any] | None = None, **options: Any) -> None:
    from lentigo.data.shortfalls import MEND, recorded_shortfalls
    from lentigo.export import About, export_run
    from lentigo.training.rundir import load_run

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        bundle = export_run(run, out, about=About(**(about or {})), progress=True, **options)
    for text in {str(one.message) for one in said if "cannot abstain" in str(one.message)}:
        say(f"note: {text}")
    small = recorded_shortfalls(load_run(run).record)
    for text in small:
        say(f"left out or rough: {text}")
    if small:
        say(f"what mends it: {MEND}")
    size = bundle.model.stat().st_size / 1e6
    say(f"bundle: {bundle.path} ({size:.1f} MB); try next: lentigo predict IMAGE --model {bundle.path}")


def parity(
    bundle: Annotated[Path, typer.Argument(help="A bundle or run folder.")],
    browser: Annotated[
        bool | None,
        typer.Option(
            "--browser/--no-browser", help="Ask the built app in Chromium too; where both are there when left out."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle on its golden vectors in every runtime at hand; exit code 1 where one differs."""
    from lentigo.inference import find_bundle

    find_bundle(bundle)  # reports missing files before torch is imported
    from lentigo.export import check_parity

    report = check_parity(bundle, browser=browser)
    if as_json:
        print_json(report.to_dict())
    else:
        say(str(report))
    raise typer.Exit(0 if report.passed else 1)


def ood(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE_OR_RUN", help="A packaged bundle's name, a bundle or a run folder.")
    ],
    data: Annotated[Path, typer.Option("--data", help="The data set that it was trained on.")],
    ood: Annotated[
        list[str] | None,
        typer.Option("--ood", metavar="NAME=FOLDER", help="Pictures of other things to measure on; repeat as needed."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of ood.json, ood.md and a figure; runs/BUNDLE-ood when left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate out-of-distribution (OOD) detection of a bundle, with image quality and prediction sets."""
    from lentigo.workflow import measure_ood

    study, folder_out = measure_ood(bundle, data, others=_pairs("--ood", ood or (), "photographs=FOLDER"), out=out)
    if as_json:
        print_json(study.to_dict())
        return
    sets = list(next(iter(study.separations.values())))
    rows = [(score, *(f"{100 * found[n].fpr:.1f}" for n in sets)) for score, found in study.separations.items()]
    print_table(("score", *sets), rows, title="passes at 95 % of the validation images, %")
    say(f"written to {folder_out}: ood.md, ood.json and a figure")


def profile(
    network: Annotated[str, typer.Argument(help="A network's name; see `lentigo models`.")],
    size: Annotated[int, typer.Option(min=32, help="Side of the input in pixels.")] = 224,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Measure a network: parameters, multiply-accumulates, file size, latency on one thread and on all."""
    from lentigo.networks.options import check_listed

    check_listed(network, {})
    from lentigo.networks import create_network, profile_network

    measured = profile_network(create_network(network, classes=classes), size).to_dict()
    if as_json:
        print_json({"network": network, **measured})
    else:
        print_table(("figure", "value"), list(measured.items()), title=f"{network}, {classes} classes, {size} px")


def models(
    size: Annotated[int, typer.Option(min=32, help="Side of the input for the multiply-accumulates.")] = 224,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 7,
    as_json: AsJson = False,
) -> None:
    """List every network with its parameters, multiply-accumulates, paper and licence."""
    from lentigo.networks import list_networks

    rows = list_networks(classes=classes, size=size)
    if as_json:
        print_json(rows)
    else:
        print_table(list(rows[0]), [list(r.values()) for r in rows], caption="any timm network: timm/NAME")


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe, complete and resolved.")] = None,
    overrides: Set = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of recipe files, for editors.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the packaged recipes, or print one."""
    from lentigo.config import list_recipes, load_recipe, recipe_schema, to_yaml

    if schema:
        print_json(recipe_schema())
        return
    if name is not None:
        recipe = load_recipe(name, overrides or ())
        if as_json:
            print_json(recipe.model_dump(mode="json"))
        else:
            say(to_yaml(recipe))
        return
    rows = list_recipes()
    if as_json:
        print_json(rows)
    else:
        print_table(list(rows[0]), [list(r.values()) for r in rows])


def reproduce(
    table: Annotated[str | None, typer.Argument(help="Which table; all are listed when left out.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The data set; may be left out with --collect.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="How the data is divided: image, lesion, patient, official or augmented; the table's own when left out."
        ),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            help="How far training is scaled to this machine, the same for every row: small, medium, full, paper, or a YAML file of recipe keys."
        ),
    ] = "small",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, with seeds from 0.")] = 3,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--rows", "--row", metavar="NAME", help="Only this row, by its slug or its printed name; repeat as needed."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the table goes: <table>-<protocol>.json, .md and two plots.")] = Path(
        "results"
    ),
    runs: Annotated[Path, typer.Option(help="Where the run folders lie.")] = Path("runs/reproduce"),
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side; each gets its share of the cores.")] = 1,
    weights: Annotated[
        str,
        typer.Option(
            help="auto: a row without ImageNet weights at hand starts from scratch and is marked; imagenet: it is not run; scratch: every row."
        ),
    ] = "auto",
    collect: Annotated[
        bool, typer.Option("--collect", help="Make the table of the runs at hand; train nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which runs are at hand and which would be trained, and stop.")
    ] = False,
    cost: Annotated[
        bool, typer.Option("--cost/--no-cost", help="Measure file size and latency of each network.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Regenerate a table of the papers: reuse or train its runs, and write it with intervals beside the printed figures."""
    from lentigo.reproduce import check_request, list_tables

    if table is None:
        listed = list_tables()
        if as_json:
            print_json(listed)
        else:
            print_table(
                list(listed[0]), [list(row.values()) for row in listed], caption="lentigo reproduce TABLE --data DATA"
            )
        return
    request = check_request(
        table,
        data=data,
        protocol=protocol,
        budget=budget,
        seeds=seeds,
        rows=rows or (),
        runs=runs,
        weights=weights,
        collect=collect,
    )
    from lentigo.reproduce import Plan, reproduce

    result = reproduce(request, out=out, jobs=jobs, dry_run=dry_run, cost=cost)
    if isinstance(result, Plan):
        say(result.describe())
        return
    say(result.json.read_text(encoding="utf-8") if as_json else f"table: {result.markdown}; figures: {result.json}")
    _report(result.failed, "the table is written without them")


def sweep(
    recipe: Annotated[str, typer.Argument(help="A packaged recipe's name (see `lentigo recipes`) or a YAML file.")],
    data: DataFolder,
    overrides: Set = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 3,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Cross-validate in so many folds; the test part stays apart.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side; each gets its share of the cores.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Where runs and summary go; runs/sweep/<recipe name> when left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe with several seeds, and folds where wanted, side by side; summarise mean, deviation and interval."""
    from lentigo.config import load_recipe
    from lentigo.training import describe

    describe(load_recipe(recipe, overrides or ()), data)  # reports errors before torch is imported
    from lentigo.workflow.sweep import sweep

    result = sweep(recipe, data, overrides=overrides or (), seeds=seeds, folds=folds, jobs=jobs, out=out)
    say(result.json.read_text(encoding="utf-8") if as_json else f"summary: {result.markdown}; figures: {result.json}")
    _report(result.failed, "the summary is of the others")


def _report(failed: tuple[str, ...], rest: str) -> None:
    """End with one line and exit code 2 where runs could not be used; what could be is written by now."""
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise TrainingError(
            f"{len(failed)} run{'s' if len(failed) > 1 else ''} could not be used, {rest}: {failed[0]}{more}"
        )
