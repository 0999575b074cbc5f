"""The make wing's commands: train, evaluate, compare, export, and list networks and recipes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lentigo.cli.data import GroupBy, LabelBy, Missing, Protocol, SkipUnreadable, require_runs
from lentigo.cli.output import AsJson, print_json, print_rows, print_table, say
from lentigo.errors import DataError, TrainingError

if TYPE_CHECKING:
    from lentigo.config.recipe import Recipe
    from lentigo.training.preflight import Ready
    from lentigo.workflow import Evaluation

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a recipe key, such as --set optimiser.lr=1e-3; repeatable.",
    ),
]
Domain = Literal["clinical", "dermoscopy", "other"]
Jobs = Annotated[int, typer.Option(min=1, help="Parallel runs; they share the cores.")]
DataFolder = Annotated[Path, typer.Option("--data", help="Data set: a folder, .npz or .csv.")]


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


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Packaged recipe (see `lentigo recipes`) or YAML file.", show_default="chosen for the data"
        ),
    ] = None,
    *,
    data: DataFolder,
    out: Annotated[Path | None, typer.Option(help="Run folder.", show_default="runs/<recipe or data name>")] = None,
    overrides: Set = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Number of epochs.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Batch size.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed of weights, order and augmentation.")] = None,
    size: Annotated[
        int | None, typer.Option(min=16, max=2048, help="Side of the square input in pixels, in all epochs.")
    ] = None,
    device: Annotated[Literal["auto", "cpu", "gpu"], typer.Option(help="Device to train on.")] = "auto",
    group_by: GroupBy = None,
    label_by: LabelBy = None,
    missing: Missing = "error",
    skip_unreadable: SkipUnreadable = False,
    domain: Annotated[Domain | None, typer.Option(help="Kind of images, for the model card.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the inputs, print what would be trained, and exit.")
    ] = False,
    save_recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the resolved recipe to this file.")
    ] = None,
    bundle: Annotated[
        bool | None,
        typer.Option(
            "--export/--no-export", help="Write report and bundle after training.", show_default="only without RECIPE"
        ),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes or accelerators on this host.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Number of hosts.")] = 1,
    logger: Annotated[
        list[str] | None,
        typer.Option(
            help="Also log each epoch to csv, mlflow, tensorboard or wandb (extras of these names); repeatable."
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print one line per epoch instead of a progress bar.")
    ] = False,
) -> None:
    """Train a network on a data set, with a given recipe or one chosen for the data."""
    from lentigo.config import load_recipe, to_yaml
    from lentigo.files import write_text
    from lentigo.training.loggers import check_loggers
    from lentigo.training.preflight import check_device, check_run, describe_ready, is_first_process

    check_loggers(logger or ())
    check_device(device)
    keys = {
        "epochs": epochs,
        "batch": batch,
        "seed": seed,
        "sizes": None if size is None else [{"from_epoch": 0, "size": size}],
        "data.group_by": group_by,
        "data.label_by": label_by,
        "data.missing": None if missing == "error" else missing,
        "data.skip_unreadable": skip_unreadable or None,
        "data.domain": domain,
    }
    changes = [f"{key}={json.dumps(value)}" for key, value in keys.items() if value is not None] + (overrides or [])
    planned = recipe is None and not resume
    chosen = _plan(data, out, changes) if planned else load_recipe(recipe or _begun(data, out), changes)
    folder = out or Path("runs") / chosen.name
    ready = check_run(chosen, data, folder, resume=resume)
    if ready is not None:
        _say_remarks(chosen, ready)
    if save_recipe is not None:
        write_text(save_recipe, to_yaml(chosen))
    if dry_run:
        if ready is not None and not planned:
            say(describe_ready(chosen, ready))
        saved = f"the recipe is in {save_recipe}" if save_recipe else "--save-recipe FILE writes the recipe"
        say(f"dry run: nothing was trained; {saved}")
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
            accelerator=device,
            progress=not quiet,
            ready=ready,
            loggers=logger or (),
        )
    if not is_first_process():  # of several processes, the first reports and exports
        return
    if bundle or (bundle is None and recipe is None):
        from lentigo.workflow import evaluate

        _show(evaluate(folder))
        _export(folder)
        say(f"run folder: {folder}; its recipe {folder / 'recipe.yaml'} can be edited and run again")
    else:
        say(f"run folder: {folder}; try next: lentigo evaluate {folder}")


def _plan(data: Path, out: Path | None, changes: list[str]) -> Recipe:
    """Choose a recipe for the data and print the reasons."""
    from lentigo.bundle import as_name
    from lentigo.training.preflight import is_first_process
    from lentigo.workflow.plan import name_of, plan_training

    name = [] if out is None else [f"name={json.dumps(as_name(out.name) or name_of(data))}"]
    plan = plan_training(data, [*name, *changes])
    if is_first_process():
        say(str(plan))
    return plan.recipe


def _begun(data: Path, out: Path | None) -> Path:
    """Return the recipe of the run to resume without a given recipe."""
    from lentigo.workflow.plan import name_of

    folder = out or Path("runs") / name_of(data)
    if not (folder / "recipe.yaml").is_file():
        raise TrainingError(f"{folder}: no run to resume; start one without --resume, or name its folder with --out")
    return folder / "recipe.yaml"


def _say_remarks(recipe: Recipe, ready: Ready) -> None:
    """Print the remarks on the data set, and a warning if the groups that the protocol needs are unknown."""
    from lentigo.data.groups import ASK, LEAK
    from lentigo.training.preflight import is_first_process

    if is_first_process():
        for line in ready.samples.remarks():
            say(line)
    if recipe.data.protocol in ("lesion", "patient") and not ready.samples.groups.known:
        say(f"warning: protocol {recipe.data.protocol}, but patients unknown: {LEAK}; {ASK}")


def evaluate(
    target: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="Run folder; or, with --data, a bundle.")],
    data: Annotated[Path | None, typer.Option("--data", help="Data set on which to evaluate a bundle.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Output folder.", show_default="RUN/report; for a bundle runs/<bundle>-on-<data>"),
    ] = None,
    split: Annotated[str, typer.Option(help="Part to evaluate: test, val, train or all.")] = "test",
    split_file: Annotated[Path | None, typer.Option(help="Saved split (CSV) to use.")] = None,
    protocol: Annotated[Protocol | None, typer.Option(help="Split protocol.", show_default="the bundle's")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="THEIRS=OURS,...",
            help="Map the data set's classes to the bundle's; images of other classes are skipped.",
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            "--stress",
            help="Also evaluate degraded and perturbed images, and test the heat maps by occlusion.",
        ),
    ] = False,
    robustness_limit: Annotated[
        int | None,
        typer.Option(
            "--robustness-limit",
            "--stress-limit",
            min=1,
            help="Maximum number of images for --robustness, drawn at random.",
        ),
    ] = None,
    prevalence: Annotated[
        float,
        typer.Option(help="Assumed fraction of malignant lesions, for the predictive values."),
    ] = 0.02,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|PATTERN",
            help="Evaluate lesions by the mean over their images; a table column, or a regular expression on file names.",
        ),
    ] = None,
    missing: Missing = "error",
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
        protocol=protocol,
        classes=None if classes is None else _pairs("--classes", classes.split(","), "mel=mel,nv=nv,sk=bkl"),
        robustness=robustness,
        limit=robustness_limit,
        prevalence=prevalence,
        group_by=group_by,
        missing=missing,
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
            metavar="RUN RUN...", help="Two or more run folders, or CSVs of predictions, with the same test images."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Also write OUT.md, OUT.csv and OUT.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs on the same test images: intervals, McNemar's test and the paired bootstrap."""
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
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path | None, typer.Option(help="Bundle folder.", show_default="RUN/bundle")] = None,
    name: Annotated[
        str | None, typer.Option(help="Bundle name.", show_default="the run's; for published data sets the recipe's")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title, in one line.")] = None,
    weights: Annotated[
        str, typer.Option(help="fp32, fp16 (half the size) or int8 (a quarter of the size; refused if accuracy drops).")
    ] = "fp32",
    data: Annotated[
        Path | None, typer.Option("--data", help="Data set of the run.", show_default="the recorded path")
    ] = None,
    variants: Annotated[
        bool, typer.Option("--compare", help="Also measure fp16 and int8, and report the results in the card.")
    ] = False,
    also: Annotated[
        str,
        typer.Option(help="Additional formats, comma-separated: litert, executorch, coreml."),
    ] = "",
    domain: Annotated[Domain | None, typer.Option(help="Kind of images.", show_default="the recipe's")] = None,
    version: Annotated[str, typer.Option(help="Bundle version.")] = "1",
    notes: Annotated[str, typer.Option(help="Remark for the model card.")] = "",
) -> None:
    """Export a run as a bundle that gives the same answers in Python, over HTTP and in a browser."""
    from lentigo.training.rundir import load_run

    load_run(run)  # reports missing files before torch is imported
    about = {
        "name": name,
        "title": title,
        "version": version,
        "notes": notes,
        "domain": domain,
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
        say(f"limited by few images: {text}")
    if small:
        say(f"remedy: {MEND}")
    size = bundle.model.stat().st_size / 1e6
    say(f"bundle: {bundle.path} ({size:.1f} MB); try next: lentigo predict IMAGE --model {bundle.path}")


def parity(
    bundle: Annotated[Path, typer.Argument(help="Bundle or run folder.")],
    browser: Annotated[
        bool | None,
        typer.Option(
            "--browser/--no-browser", help="Also check the phone app in Chromium.", show_default="if both are installed"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle's golden vectors in every installed runtime; exit code 1 if one differs."""
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
        str, typer.Argument(metavar="BUNDLE_OR_RUN", help="Packaged model, bundle folder or run folder.")
    ],
    data: Annotated[Path, typer.Option("--data", help="Training data set of the bundle.")],
    ood: Annotated[
        list[str] | None,
        typer.Option(
            "--ood", metavar="NAME=FOLDER", help="Folder of out-of-distribution images to evaluate on; repeatable."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder.", show_default="runs/<bundle>-ood")] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a bundle's out-of-distribution (OOD) detection, quality checks and prediction sets."""
    from lentigo.workflow import measure_ood

    measures, folder_out = measure_ood(bundle, data, others=_pairs("--ood", ood or (), "photographs=FOLDER"), out=out)
    if as_json:
        print_json(measures.to_dict())
        return
    sets = list(next(iter(measures.separations.values())))
    rows = [(score, *(f"{100 * found[n].fpr:.1f}" for n in sets)) for score, found in measures.separations.items()]
    print_table(("score", *sets), rows, title="accepted OOD images at 95 % accepted validation images (FPR), %")
    say(f"written to {folder_out}: ood.md, ood.json and a figure")


def profile(
    network: Annotated[str, typer.Argument(help="Network name; see `lentigo models`.")],
    size: Annotated[int, typer.Option(min=32, help="Side of the input in pixels.")] = 224,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Measure a network's parameters, multiply-accumulates, file size and latency (one thread and all)."""
    from lentigo.networks.options import check_listed

    check_listed(network, {})
    from lentigo.networks import create_network, profile_network

    measured = profile_network(create_network(network, classes=classes), size).to_dict()
    if as_json:
        print_json({"network": network, **measured})
    else:
        print_table(("figure", "value"), list(measured.items()), title=f"{network}, {classes} classes, {size} px")


def models(
    size: Annotated[int, typer.Option(min=32, help="Side of the input in pixels, for the multiply-accumulates.")] = 224,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 7,
    as_json: AsJson = False,
) -> None:
    """List the networks with parameters, multiply-accumulates, paper and licence."""
    from lentigo.networks import list_networks

    print_rows(list_networks(classes=classes, size=size), as_json=as_json, caption="any timm network: timm/NAME")


def recipes(
    name: Annotated[str | None, typer.Argument(help="Recipe to print, complete and resolved.")] = None,
    overrides: Set = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of recipe files.")] = False,
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
    print_rows(list_recipes(), as_json=as_json)


def reproduce(
    table: Annotated[str | None, typer.Argument(help="Table to reproduce.", show_default="list all tables")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data set; optional with --collect.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="Split protocol: image, lesion, patient, official or augmented.", show_default="the table's"),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(help="Training budget of every row: small, medium, full, paper, or a YAML file of recipe keys."),
    ] = "small",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per row, from 0.")] = 3,
    rows: Annotated[
        list[str] | None,
        typer.Option("--rows", "--row", metavar="NAME", help="Run only this row (slug or printed name); repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder of <table>-<protocol>.json, .md and plots.")] = Path(
        "results"
    ),
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/reproduce"),
    jobs: Jobs = 1,
    weights: Annotated[
        str,
        typer.Option(
            help="Initial weights. auto: ImageNet if available, else from scratch; imagenet: skip rows without them; scratch: every row from scratch."
        ),
    ] = "auto",
    collect: Annotated[
        bool, typer.Option("--collect", help="Write the table from existing runs, without training.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print which runs exist and which would be trained, and exit.")
    ] = False,
    cost: Annotated[
        bool, typer.Option("--cost/--no-cost", help="Measure file size and latency of each network.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Reproduce a table of the papers: train the missing runs, and write results with intervals beside the printed values."""
    from lentigo.reproduce import check_request, list_tables

    if table is None:
        print_rows(list_tables(), as_json=as_json, caption="lentigo reproduce TABLE --data DATA")
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
    recipe: Annotated[str, typer.Argument(help="Packaged recipe (see `lentigo recipes`) or YAML file.")],
    data: DataFolder,
    overrides: Set = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0.")] = 3,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Number of cross-validation folds; the test part is kept apart.")
    ] = None,
    jobs: Jobs = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of runs and summary.", show_default="runs/sweep/<recipe name>")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe with several seeds (and folds), and summarise mean, standard deviation and interval."""
    from lentigo.config import load_recipe
    from lentigo.training import describe

    describe(load_recipe(recipe, overrides or ()), data)  # reports errors before torch is imported
    from lentigo.workflow.sweep import sweep

    result = sweep(recipe, data, overrides=overrides or (), seeds=seeds, folds=folds, jobs=jobs, out=out)
    say(result.json.read_text(encoding="utf-8") if as_json else f"summary: {result.markdown}; figures: {result.json}")
    _report(result.failed, "the summary is of the others")


def _report(failed: tuple[str, ...], rest: str) -> None:
    """Raise an error if runs failed; the results of the others are already written."""
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise TrainingError(
            f"{len(failed)} run{'s' if len(failed) > 1 else ''} could not be used, {rest}: {failed[0]}{more}"
        )
