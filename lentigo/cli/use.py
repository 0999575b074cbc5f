"""The use wing's commands: predict, serve, the phone app, bundle cards, and the doctor. Never imports torch to predict or serve."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lentigo import NOTICE
from lentigo.cli.output import AsJson, print_json, print_table, say
from lentigo.errors import DataError
from lentigo.text import one_line

if TYPE_CHECKING:
    from lentigo.inference.isic import Submission
    from lentigo.inference.table import Row

Model = Annotated[
    str,
    typer.Option("--model", "-m", help="A packaged model's name, a bundle folder, a run folder, or hf://USER/NAME."),
]

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="A packaged model's name, a bundle folder or a run folder; repeat for more, the first is the default.",
    ),
]


class Rank(StrEnum):
    """Orders of the rows."""

    uncertain = "uncertain"


def register(app: typer.Typer) -> None:
    """Add the commands of the use wing to ``app``."""
    app.command(
        epilog="[bold]Examples[/bold]: lentigo predict photo.jpg\n\nlentigo predict folder --out out.csv --heatmaps maps\n\n"
        "lentigo predict - < photo.jpg\n\n"
        "lentigo predict visits.csv --group-by lesion_id --out lesions.csv\n\n"
        "lentigo predict visits.csv --model smartphone-6 --metadata --out answers.csv\n\n"
        "lentigo predict unlabelled --rank uncertain --out label-next.csv --embeddings embeddings.npz\n\n"
        "lentigo predict 'scans/*.png' archive.zip --out out.parquet\n\n"
        "lentigo predict s3://bucket/folder --engine ray --out out.parquet"
    )(predict)
    app.command(
        epilog="[bold]Examples[/bold]: lentigo serve --port 8000\n\n"
        "lentigo serve --model runs/mine --model dermoscopy-7 --workers 2\n\n"
        "lentigo serve --host 0.0.0.0 --keys keys --allowed-host skin.example.org --audit-log audit.jsonl --no-audit-fsync\n\n"
        "lentigo serve --max-pixels 20000000 --decode-cpu 2 --decode-memory-mib 512"
    )(serve)
    app.command(name="app", epilog="[bold]Examples[/bold]: lentigo app\n\nlentigo app --model runs/mine")(open_app)
    app.command(epilog="[bold]Example[/bold]: lentigo card dermoscopy-7")(card)
    app.command(epilog="[bold]Example[/bold]: lentigo push USER/NAME runs/mine")(push)
    app.command(epilog="[bold]Example[/bold]: lentigo doctor --json")(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what is missing and how to get it; exit code 1 where something needed is not right."""
    from lentigo.cli.doctor import as_dict, examine, healthy

    found = examine()
    if as_json:
        print_json(as_dict(found))
    else:
        print_table(("part", "what", "state", "detail"), [(f.part, f.name, f.state, f.detail) for f in found])
    raise typer.Exit(0 if healthy(found) else 1)


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Images, folders, globs, archives, lists of paths (.csv), arrays (.npy, .npz), or - for an image, or paths, on standard input; with --engine ray also s3://, gs:// and file:// addresses.",
        ),
    ],
    model: Model = "dermoscopy-7",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write every row to this .csv, .jsonl or .parquet file.")
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="rows, or the ISIC challenges' submission: isic, isic2018 or isic2019 (with --out submission.csv).",
        ),
    ] = "rows",
    heatmaps: Annotated[
        Path | None, typer.Option(help="Folder for one picture an image: where the model looked.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the table of a run that was stopped.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Images in one inference.")] = 8,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; all cores when left out.")] = None,
    fast_decode: Annotated[
        bool,
        typer.Option(
            "--fast-decode", help="Decode large JPEGs at reduced scale: quicker, slightly different probabilities."
        ),
    ] = False,
    engine: Annotated[
        str, typer.Option(help="local, or ray: Ray Data on a cluster or on this machine (extra ray).")
    ] = "local",
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|PATTERN",
            help="One row a lesion, the mean over its pictures: a column of the list, or a regular expression on file names.",
        ),
    ] = None,
    rank: Annotated[
        Rank | None, typer.Option(help="uncertain: the least sure answers first, which are worth a label most.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Show so many of the likeliest classes instead of all.")
    ] = None,
    lang: Annotated[
        str, typer.Option(help="Language of the classes' names: en, zh, and what the model's classes.csv named.")
    ] = "en",
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the embeddings, to .parquet or .npz.")
    ] = None,
    metadata: Annotated[
        bool,
        typer.Option("--metadata", help="Let the list's columns age, sex and site count, where the model knows them."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    as_json: AsJson = False,
) -> None:
    """Classify images; a broken file becomes a row with an error, and the rest goes on."""
    from lentigo.cli.predict import SHOWN, Embeddings, Shown
    from lentigo.inference import load, predict_paths
    from lentigo.inference.lesions import group_key
    from lentigo.inference.sources import Sources

    whole = group_by is not None or rank is not None  # all rows must be there before the first is written
    if resume and (whole or embeddings is not None):
        raise DataError("--group-by, --rank and --embeddings need all images at once: leave out --resume")
    if embeddings is not None and embeddings == out:
        raise DataError(f"{out}: rows and embeddings cannot go to one file; give --embeddings another name")
    given = Sources(sources, remote=engine == "ray", metadata=metadata)
    key = None if group_by is None else group_key(group_by, given)
    vectors = None if embeddings is None else Embeddings(embeddings)
    one = Shown.is_one_image(sources)
    batch = 1 if one else batch
    classifier = load(
        model, threads=1, batch=batch, maps=one or heatmaps is not None
    )  # one picture does not pay for taking them out
    languages = {name.lower().replace("_", "-"): name for name in classifier.labels.languages}
    lang = languages.get(lang.lower().replace("_", "-"), lang)
    if lang not in classifier.labels.languages:
        known = ", ".join(classifier.labels.languages)
        raise DataError(
            f"--lang {lang}: {classifier.spec.name} names its classes in {known}; classes.csv beside the training data adds others"
        )
    submission = _submission(classifier.labels.codes, form, out, resume=resume)
    if submission and whole:
        raise DataError(f"--format {form} has a row an image in its own order: leave out --group-by and --rank")
    keep = None if as_json or whole else 0 if out else SHOWN
    shown = Shown(classifier.labels, keep=keep, top_k=top_k, lang=lang, vectors=vectors)

    def take(row: Row) -> None:
        shown.add(row)
        if submission is not None:
            submission.add(row)

    try:
        summary = predict_paths(
            classifier,
            given,
            out=None if submission or whole else out,
            heatmaps=heatmaps,
            batch=batch,
            workers=workers,
            resume=resume,
            progress=not quiet and not one,
            fast_decode=fast_decode,
            on_row=take,
            engine=engine,
            embeddings=vectors is not None,
        )
    except KeyboardInterrupt as stopped:
        for note in getattr(stopped, "__notes__", [] if out else ["no rows were kept; --out FILE keeps them"]):
            print(one_line(f"lentigo: stopped; {note}"), file=sys.stderr)
        raise
    if whole:
        shown.arrange(classifier.spec, key, summary, uncertain=rank is not None)
        if out is not None:
            summary.out = shown.write(out)
    if vectors is not None:
        vectors.write()
    if submission and out:
        written = submission.write(out)
        failed = f"; {submission.failed:,} could not be read and are missing" if submission.failed else ""
        say(f"{out}: {written:,} images in the format of {submission.challenge}{failed}. {NOTICE}")
    elif as_json:
        print_json(shown.to_dict(classifier.spec.name, summary))
    else:
        shown.print(classifier.spec.name, summary)
    raise typer.Exit(summary.exit_code)


def _submission(codes: Sequence[str], form: str, out: Path | None, *, resume: bool) -> Submission | None:
    """Create the collector of a challenge's submission; None for rows."""
    from lentigo.inference.isic import Submission

    if form == "rows":
        return None
    if out is None or resume:
        raise DataError(
            f"--format {form} needs --out submission.csv"
            if out is None
            else f"--format {form} is written at once; no --resume"
        )
    return Submission(codes, form)


def card(
    model: Annotated[
        str, typer.Argument(help="A packaged model's name, a bundle folder or a run folder.")
    ] = "dermoscopy-7",
    as_json: AsJson = False,
) -> None:
    """Print a model's card: what it is for, what it was trained on, how it did, and its limits."""
    from lentigo.inference import find_bundle

    bundle = find_bundle(model)
    if as_json:
        print_json(bundle.spec.model_dump(mode="json"))
    else:
        say(bundle.card)


def push(
    repo: Annotated[
        str,
        typer.Argument(metavar="USER/NAME", help="The repository on the Hugging Face Hub; made where it is not there."),
    ],
    bundle: Annotated[str, typer.Argument(help="A packaged model's name, a bundle folder or a run folder.")],
    revision: Annotated[
        str | None, typer.Option(help="A branch, made where it is not there; the main one when left out.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Upload a bundle to the Hugging Face Hub as it is, with its card (extra hub; log in with `hf auth login`)."""
    from lentigo.inference import find_bundle, push_bundle

    opened = find_bundle(bundle)
    address = push_bundle(opened, repo, revision=revision, private=private)
    say(
        f"pushed {opened.spec.name} version {opened.spec.version}; this very commit: lentigo predict IMAGE --model {address}"
    )


def open_app(
    models: Models = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8000,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Serve the phone app on this machine and open it, with one's own models first; images never leave the browser."""
    from lentigo.serving import open_app

    open_app(models or (), port=port, browser=browser)


_WORK, _LIMITS, _ACCESS, _RUNNING = "Work", "Limits", "Keys and records", "Start, stop and reload"


def serve(
    models: Models = None,
    host: Annotated[str, typer.Option(help="Address to bind; only this machine can reach the default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with one copy of every model.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads of one inference in each worker; the cores are shared out when left out.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    decoders: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Decoding processes in each worker; the cores are shared out when left out.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    extra_format: Annotated[
        list[str] | None,
        typer.Option(
            help="Also take heic or dicom, whose extras must be installed; repeat for both.",
            envvar="LENTIGO_EXTRA_FORMATS",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact/--fast-decode",
            help="Decode JPEGs in full, or at reduced scale where that is enough.",
            rich_help_panel=_WORK,
        ),
    ] = True,
    max_batch: Annotated[int, typer.Option(min=1, help="Most images in one inference.", rich_help_panel=_WORK)] = 16,
    max_delay_ms: Annotated[
        float,
        typer.Option(
            min=0, help="Longest that an image waits for others to join its batch, in ms.", rich_help_panel=_WORK
        ),
    ] = 4.0,
    queue: Annotated[
        int,
        typer.Option(
            min=1, help="Most images waiting in a worker; beyond it requests get 429.", rich_help_panel=_LIMITS
        ),
    ] = 256,
    deadline: Annotated[
        float, typer.Option(min=0.1, help="Longest time to an answer, in seconds.", rich_help_panel=_LIMITS)
    ] = 15.0,
    decode_cpu: Annotated[
        float, typer.Option(min=0.1, help="Most CPU time to decode one image, in seconds.", rich_help_panel=_LIMITS)
    ] = 5.0,
    decode_memory_mib: Annotated[
        int, typer.Option(min=64, help="Most memory to decode one image, in MiB.", rich_help_panel=_LIMITS)
    ] = 768,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Largest image, in pixels.", rich_help_panel=_LIMITS)
    ] = 50_000_000,
    max_files: Annotated[int, typer.Option(min=1, help="Most images in one request.", rich_help_panel=_LIMITS)] = 16,
    max_body_mib: Annotated[
        int, typer.Option(min=1, help="Largest request body, in MiB.", rich_help_panel=_LIMITS)
    ] = 32,
    max_held_mib: Annotated[
        int,
        typer.Option(min=1, help="Most bytes of bodies held in each worker at once, in MiB.", rich_help_panel=_LIMITS),
    ] = 256,
    max_connections: Annotated[
        int, typer.Option(min=1, help="Most open connections in each worker.", rich_help_panel=_LIMITS)
    ] = 1024,
    header_timeout: Annotated[
        float,
        typer.Option(
            min=0.1, help="Longest that a request's head may take to arrive, in seconds.", rich_help_panel=_LIMITS
        ),
    ] = 10.0,
    body_timeout: Annotated[
        float,
        typer.Option(
            min=0.1, help="Longest that a request's body may take to arrive, in seconds.", rich_help_panel=_LIMITS
        ),
    ] = 60.0,
    idle_timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            help="Longest pause while a body arrives or an answer is taken, in seconds.",
            rich_help_panel=_LIMITS,
        ),
    ] = 10.0,
    keys: Annotated[
        Path | None,
        typer.Option(help="File of hashed API keys; LENTIGO_API_KEYS is read too.", rich_help_panel=_ACCESS),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            min=0,
            help="Images a minute of one key, unless its entry says otherwise; 0 for no limit.",
            rich_help_panel=_ACCESS,
        ),
    ] = 600.0,
    burst: Annotated[
        int, typer.Option(min=1, help="Images that one key may send at once.", rich_help_panel=_ACCESS)
    ] = 64,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Host name that is served; repeat for more, * for any.", rich_help_panel=_ACCESS),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web origin whose pages may read answers; repeat for more.", rich_help_panel=_ACCESS),
    ] = None,
    audit_log: Annotated[
        Path | None,
        typer.Option(
            help="File that gets a line a request: model version and result hash, never an image.",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    audit_fsync: Annotated[
        bool,
        typer.Option(
            help="Have each audit line on the disk before its answer is given, or leave it to the system.",
            rich_help_panel=_ACCESS,
        ),
    ] = True,
    traces: Annotated[
        bool,
        typer.Option(
            help="Send OpenTelemetry traces, to where OTEL_EXPORTER_OTLP_ENDPOINT says; needs lentigo\\[otel].",
            rich_help_panel=_ACCESS,
        ),
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.", rich_help_panel=_ACCESS)] = "info",
    log_format: Annotated[
        str, typer.Option(help="auto (text on a terminal, JSON elsewhere), json or text.", rich_help_panel=_ACCESS)
    ] = "auto",
    drain: Annotated[
        float,
        typer.Option(
            min=0.1, help="Longest that a stopping worker goes on answering, in seconds.", rich_help_panel=_RUNNING
        ),
    ] = 12.0,
    load_timeout: Annotated[
        float,
        typer.Option(
            min=0.1, help="Longest that a changed bundle may take to load, in seconds.", rich_help_panel=_RUNNING
        ),
    ] = 60.0,
    reload_every: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds between looks at bundles and keys for changes; 0 leaves that to SIGHUP.",
            rich_help_panel=_RUNNING,
        ),
    ] = 2.0,
) -> None:
    """Serve predictions over HTTP, and the phone app at /."""
    from lentigo.serving import ServeConfig, serve

    serve(
        ServeConfig(
            models=tuple(models or ("dermoscopy-7",)),
            host=host,
            port=port,
            workers=workers,
            threads=threads,
            decoders=decoders,
            extra_formats=tuple(dict.fromkeys(",".join(extra_format or ()).lower().replace(",", " ").split())),
            exact=exact,
            max_batch=max_batch,
            max_delay_ms=max_delay_ms,
            queue=queue,
            deadline_s=deadline,
            decode_cpu_s=decode_cpu,
            decode_memory_bytes=decode_memory_mib * 2**20,
            max_pixels=max_pixels,
            max_files=max_files,
            max_body_bytes=max_body_mib * 2**20,
            max_held_bytes=max_held_mib * 2**20,
            max_connections=max_connections,
            header_timeout_s=header_timeout,
            body_timeout_s=body_timeout,
            idle_timeout_s=idle_timeout,
            keys_file=keys,
            rate=rate or None,
            burst=burst,
            allowed_hosts=tuple(allowed_host) if allowed_host else None,
            cors_origins=tuple(cors_origin or ()),
            audit_log=audit_log,
            audit_fsync=audit_fsync,
            traces=traces,
            log_level=log_level,  # type: ignore[arg-type]  # ServeConfig refuses what it does not know
            log_format=log_format,  # type: ignore[arg-type]
            drain_s=drain,
            load_s=load_timeout,
            reload_s=reload_every,
        )
    )
