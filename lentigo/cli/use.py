"""The use wing's commands: predict, serve, app, card, push and doctor; none but doctor imports torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lentigo import NOTICE
from lentigo.cli.output import AsJson, print_json, print_table, say
from lentigo.errors import DataError
from lentigo.text import one_line

if TYPE_CHECKING:
    from lentigo.inference import Classifier
    from lentigo.inference.isic import Submission
    from lentigo.inference.table import Row

Model = Annotated[
    str,
    typer.Option("--model", "-m", help="Packaged model, bundle folder, run folder, or hf://USER/NAME."),
]

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="Packaged model, bundle folder or run folder; repeatable, the first is the default.",
        show_default="dermoscopy-7",
    ),
]


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
    """Check the installation; exit code 1 if a required part is missing or broken."""
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
            help="Images, folders, globs, archives, lists of paths (.csv) or arrays (.npy, .npz); - reads an image or a list of paths from standard input; with --engine ray also s3://, gs:// and file:// URLs.",
        ),
    ],
    model: Model = "dermoscopy-7",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write all rows to this .csv, .jsonl or .parquet file.")
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="Format of --out: rows, or an ISIC challenge submission: isic, isic2018 or isic2019.",
        ),
    ] = "rows",
    heatmaps: Annotated[Path | None, typer.Option(help="Folder for heat maps (Grad-CAM), one per image.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted --out table.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Batch size.")] = 8,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads.", show_default="number of cores")] = None,
    fast_decode: Annotated[
        bool,
        typer.Option(
            "--fast-decode", help="Decode large JPEGs at reduced scale: faster, slightly different probabilities."
        ),
    ] = False,
    engine: Annotated[
        str, typer.Option(help="local, or ray: Ray Data, on a cluster or this machine (extra ray).")
    ] = "local",
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|PATTERN",
            help="One row per lesion, the mean over its images; a column of the list, or a regular expression on file names.",
        ),
    ] = None,
    rank: Annotated[
        Literal["uncertain"] | None,
        typer.Option(help="uncertain: sort by margin, least certain first, to choose images to label."),
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Show the K most probable classes instead of all.")] = None,
    lang: Annotated[str, typer.Option(help="Language of the class names: en, zh, or another of the model's.")] = "en",
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the embeddings to this .npz or .parquet file.")
    ] = None,
    metadata: Annotated[
        bool,
        typer.Option("--metadata", help="Use the list's columns age, sex and site, if the model supports them."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Hide the progress bar.")] = False,
    as_json: AsJson = False,
) -> None:
    """Classify images; an unreadable file gives a row with an error."""
    from lentigo.cli.predict import SHOWN, Embeddings, Shown
    from lentigo.inference import load, predict_paths
    from lentigo.inference.lesions import group_key
    from lentigo.inference.sources import Sources

    whole = group_by is not None or rank is not None  # all rows are needed before the first is written
    if resume and (whole or embeddings is not None):
        raise DataError("--group-by, --rank and --embeddings need all images at once: leave out --resume")
    if embeddings is not None and embeddings == out:
        raise DataError(f"{out}: rows and embeddings cannot go to one file; give --embeddings another name")
    given = Sources(sources, remote=engine == "ray", metadata=metadata)
    key = None if group_by is None else group_key(group_by, given)
    vectors = None if embeddings is None else Embeddings(embeddings)
    one = Shown.is_one_image(sources)
    batch = 1 if one else batch
    # For a single image, removing the maps from the graph takes longer than computing them.
    classifier = load(model, threads=1, batch=batch, maps=one or heatmaps is not None)
    lang = _language(lang, classifier)
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
    if given.note:
        print(one_line(f"lentigo: {given.note}"), file=sys.stderr)
    if whole:
        shown.merge_and_sort(classifier.spec, key, summary, uncertain=rank is not None)
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
        shown.print(classifier.spec, summary)
    raise typer.Exit(summary.exit_code)


def _language(lang: str, classifier: Classifier) -> str:
    """Return the model's own spelling of a language code, such as ``pt-BR`` for ``pt_br``."""
    languages = {name.lower().replace("_", "-"): name for name in classifier.labels.languages}
    found = languages.get(lang.lower().replace("_", "-"))
    if found is None:
        raise DataError(
            f"--lang {lang}: {classifier.spec.name} names its classes in {', '.join(languages.values())}; classes.csv"
            " beside the training data adds others"
        )
    return found


def _submission(codes: Sequence[str], form: str, out: Path | None, *, resume: bool) -> Submission | None:
    """Create the collector of a challenge's submission; None for rows."""
    if form == "rows":
        return None
    from lentigo.inference.isic import Submission

    if out is None:
        raise DataError(f"--format {form} needs --out submission.csv")
    if resume:
        raise DataError(f"--format {form} is written at once; no --resume")
    return Submission(codes, form)


def card(
    model: Annotated[str, typer.Argument(help="Packaged model, bundle folder or run folder.")] = "dermoscopy-7",
    as_json: AsJson = False,
) -> None:
    """Print a model card: intended use, training data, results and limits."""
    from lentigo.inference import find_bundle

    bundle = find_bundle(model)
    if as_json:
        print_json(bundle.spec.model_dump(mode="json"))
    else:
        say(bundle.card)


def push(
    repo: Annotated[
        str,
        typer.Argument(metavar="USER/NAME", help="Repository on the Hugging Face Hub; created if missing."),
    ],
    bundle: Annotated[str, typer.Argument(help="Packaged model, bundle folder or run folder.")],
    revision: Annotated[str | None, typer.Option(help="Branch; created if missing.", show_default="main")] = None,
    private: Annotated[bool, typer.Option("--private", help="Create the repository as private.")] = False,
) -> None:
    """Upload a bundle with its card to the Hugging Face Hub (extra hub; log in with `hf auth login`)."""
    from lentigo.inference import find_bundle, push_bundle

    opened = find_bundle(bundle)
    address = push_bundle(opened, repo, revision=revision, private=private)
    say(
        f"pushed {opened.spec.name} version {opened.spec.version}; this commit: lentigo predict IMAGE --model {address}"
    )


def open_app(
    models: Models = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for any free one.")] = 8000,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Serve the phone app on this machine and open it; images never leave the browser."""
    from lentigo.serving import open_app

    open_app(models or (), port=port, browser=browser)


_WORK, _LIMITS, _ACCESS, _RUNNING = "Work", "Limits", "Keys and records", "Start, stop and reload"


def _option(panel: str, text: str, *names: str, **details: Any) -> Any:
    """Return an option that the help lists under ``panel``."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **details)


def serve(
    models: Models = None,
    host: Annotated[
        str, typer.Option(help="Address to bind; the default is reachable from this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for any free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes, each with a copy of every model.")] = 1,
    threads: Annotated[
        int | None, _option(_WORK, "Threads per inference in each worker.", min=1, show_default="cores / workers")
    ] = None,
    decoders: Annotated[
        int | None, _option(_WORK, "Decoding processes per worker.", min=1, show_default="cores / workers")
    ] = None,
    extra_format: Annotated[
        list[str] | None,
        _option(
            _LIMITS, "Also accept heic or dicom (extras of these names); repeatable.", envvar="LENTIGO_EXTRA_FORMATS"
        ),
    ] = None,
    exact: Annotated[
        bool,
        _option(_WORK, "Decode JPEGs at full scale, or at reduced scale where sufficient.", "--exact/--fast-decode"),
    ] = True,
    max_batch: Annotated[int, _option(_WORK, "Maximum batch size.", min=1)] = 16,
    max_delay_ms: Annotated[float, _option(_WORK, "Maximum wait of an image for its batch, in ms.", min=0)] = 4.0,
    queue: Annotated[
        int, _option(_LIMITS, "Maximum number of waiting images per worker; further requests get 429.", min=1)
    ] = 256,
    deadline: Annotated[float, _option(_LIMITS, "Maximum time to an answer, in seconds.", min=0.1)] = 15.0,
    decode_cpu: Annotated[float, _option(_LIMITS, "Maximum CPU time to decode an image, in seconds.", min=0.1)] = 5.0,
    decode_memory_mib: Annotated[int, _option(_LIMITS, "Maximum memory to decode an image, in MiB.", min=64)] = 768,
    max_pixels: Annotated[int, _option(_LIMITS, "Maximum image size, in pixels.", min=1)] = 50_000_000,
    max_files: Annotated[int, _option(_LIMITS, "Maximum number of images per request.", min=1)] = 16,
    max_body_mib: Annotated[int, _option(_LIMITS, "Maximum size of a request body, in MiB.", min=1)] = 32,
    max_held_mib: Annotated[
        int, _option(_LIMITS, "Maximum memory of all request bodies per worker, in MiB.", min=1)
    ] = 256,
    max_connections: Annotated[int, _option(_LIMITS, "Maximum number of open connections per worker.", min=1)] = 1024,
    header_timeout: Annotated[
        float, _option(_LIMITS, "Maximum time to receive the head of a request, in seconds.", min=0.1)
    ] = 10.0,
    body_timeout: Annotated[
        float, _option(_LIMITS, "Maximum time to receive the body of a request, in seconds.", min=0.1)
    ] = 60.0,
    idle_timeout: Annotated[
        float, _option(_LIMITS, "Maximum pause while a body is received or an answer is sent, in seconds.", min=0.1)
    ] = 10.0,
    keys: Annotated[Path | None, _option(_ACCESS, "File of hashed API keys; LENTIGO_API_KEYS is also read.")] = None,
    rate: Annotated[
        float, _option(_ACCESS, "Images per minute and key, unless its entry sets another rate; 0 for no limit.", min=0)
    ] = 600.0,
    burst: Annotated[int, _option(_ACCESS, "Images that a key may send at once (token bucket).", min=1)] = 64,
    allowed_host: Annotated[list[str] | None, _option(_ACCESS, "Accepted host name; repeatable, * for any.")] = None,
    cors_origin: Annotated[list[str] | None, _option(_ACCESS, "Web origin allowed by CORS; repeatable.")] = None,
    audit_log: Annotated[
        Path | None, _option(_ACCESS, "Audit log, one line per request: model version and result hash, never an image.")
    ] = None,
    audit_fsync: Annotated[bool, _option(_ACCESS, "Sync each audit line to disk before the answer is sent.")] = True,
    traces: Annotated[
        bool, _option(_ACCESS, "Send OpenTelemetry traces to OTEL_EXPORTER_OTLP_ENDPOINT (extra otel).")
    ] = False,
    log_level: Annotated[str, _option(_ACCESS, "debug, info, warning or error.")] = "info",
    log_format: Annotated[str, _option(_ACCESS, "auto (text on a terminal, JSON elsewhere), json or text.")] = "auto",
    drain: Annotated[
        float, _option(_RUNNING, "Maximum time to finish requests at shutdown, in seconds.", min=0.1)
    ] = 12.0,
    load_timeout: Annotated[
        float, _option(_RUNNING, "Maximum time to load a changed bundle, in seconds.", min=0.1)
    ] = 60.0,
    reload_every: Annotated[
        float,
        _option(_RUNNING, "Interval of checks for changed bundles and keys, in seconds; 0: only on SIGHUP.", min=0),
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
