"""Write bundles to and read them from the Hugging Face Hub or a server with its API (``HF_ENDPOINT``).

An address is ``hf://USER/NAME``, with ``@REVISION`` for a branch, a tag or a commit. Only a commit always names the
same files. Downloads are kept in the library's cache (``HF_HOME``), and every file is checked against its SHA-256 in
``spec.json``, as in any other bundle.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from lentigo import NOTICE, __version__
from lentigo.bundle import CARD, GOLDEN, MAX_MODEL, MAX_TEXT, MODEL, SPEC, Bundle, Spec, read_spec
from lentigo.errors import BundleError, MissingExtraError, OutputError, first_line

# One slash: as a path writes it.
ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILES = (SPEC, MODEL, CARD, GOLDEN)


def is_address(name: str | Path) -> bool:
    """Return whether a model's name is an address on the hub, valid or not."""
    return str(name).startswith("hf:/")


def fetch_bundle(address: str | Path) -> Bundle:
    """Download a bundle, or take it from the cache, and verify it.

    A commit in the cache is used without a request. Other revisions are looked up; if the hub cannot be reached, the
    last known one is taken from the cache, with a warning. A damaged copy is fetched once more.

    Args:
        address: ``hf://USER/NAME`` or ``hf://USER/NAME@REVISION``.

    Raises:
        MissingExtraError: huggingface-hub is not installed.
        BundleError: no such address, repository, revision or bundle; no access; or its files are damaged.
    """
    repo, revision = _parse(address)
    hub = _library()
    cached = _cached(hub, repo, revision)
    if cached is not None and _COMMIT.fullmatch(revision):
        try:
            return Bundle.open(cached)
        except BundleError:
            pass  # incomplete or damaged: fetched again below
    try:
        folder = _download(hub, repo, revision)
    except Exception as error:  # of the library, its HTTP client and the disk, which share no base
        if cached is None or not _unreachable(hub, error):
            raise _explained(hub, address, error) from None
        warnings.warn(
            f"{address}: the hub cannot be reached; its copy in the cache is used, commit {cached.name[:12]}",
            stacklevel=2,
        )
        return Bundle.open(cached)
    try:
        return Bundle.open(folder)
    except BundleError:
        try:
            return Bundle.open(_download(hub, repo, folder.name, again=True))
        except BundleError as error:
            raise BundleError(f"{address}: {error}") from None
        except Exception as error:
            raise _explained(hub, address, error) from None


def push_bundle(bundle: Bundle, repo: str, *, revision: str | None = None, private: bool = False) -> str:
    """Upload a bundle as it is in one commit, with its card and the hub's metadata as ``README.md``.

    Args:
        bundle: an opened bundle; its files are verified again as they are read.
        repo: ``USER/NAME``; created if it does not exist.
        revision: a branch, created if it does not exist; None for the main branch.
        private: whether a new repository is private.

    Returns:
        The address of the commit, ``hf://USER/NAME@COMMIT``.

    Raises:
        MissingExtraError: huggingface-hub is not installed.
        BundleError: a file of the bundle is damaged, or ``repo`` is not a valid name.
        OutputError: the hub refuses, or cannot be reached.
    """
    repo, _ = _parse(repo if is_address(repo) else f"hf://{repo}")
    hub = _library()
    files = {SPEC: (bundle.path / SPEC).read_bytes(), "README.md": hub_card(bundle, repo).encode("utf-8")}
    files |= {name: bundle.read(name) for name in bundle.spec.files}
    changes = [hub.CommitOperationAdd(name, content) for name, content in files.items()]
    api = hub.HfApi(library_name="lentigo", library_version=__version__)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = api.create_commit(
            repo, changes, revision=revision, commit_message=f"{bundle.spec.name} version {bundle.spec.version}"
        )
    except Exception as error:  # as in `fetch_bundle`
        login = (
            "; log in with: hf auth login"
            if getattr(getattr(error, "response", None), "status_code", 0) in (401, 403)
            else ""
        )
        raise OutputError(f"hf://{repo}: cannot be written ({first_line(error)}){login}") from None
    return f"hf://{repo}@{commit.oid}"


def hub_card(bundle: Bundle, repo: str) -> str:
    """Return ``README.md`` of a bundle's repository: the hub's metadata block, an example, and the bundle's card."""
    hub, spec = _library(), bundle.spec
    tested = spec.metrics.get("test", {})
    results = [
        hub.EvalResult(
            task_type="image-classification",
            dataset_type=re.sub(r"[^a-z0-9]+", "-", spec.provenance.data.lower()).strip("-") or "images",
            dataset_name=f"{spec.provenance.data}, test part, {spec.provenance.protocol} protocol",
            metric_type=name,
            metric_value=round(tested[name].value, 4),
        )
        for name in ("accuracy", "balanced_accuracy")
        if name in tested
    ]
    data = hub.ModelCardData(
        **_licence(spec),
        library_name="lentigo",
        pipeline_tag="image-classification",
        tags=["onnx", "skin-lesion", spec.domain or "images"],
        model_name=spec.name,
        eval_results=results or None,
    )
    use = f'```python\nimport lentigo\n\nprint(lentigo.load("hf://{repo}").predict("photo.jpg"))\n```'
    return f"---\n{data.to_yaml()}\n---\n\n{use}\n\n`pip install 'lentigo[hub]'`. {NOTICE}\n\n{bundle.card}"


def _parse(address: str | Path) -> tuple[str, str]:
    found = ADDRESS.fullmatch(str(address))
    if found is None:
        raise BundleError(
            f"{address}: no address of a model on the hub, such as hf://USER/NAME or hf://USER/NAME@REVISION"
        )
    return found["repo"], found["revision"] or "main"


def _library() -> Any:
    try:
        import huggingface_hub.errors  # here: it takes long to import
    except ImportError:
        raise MissingExtraError("a model on the hub", "hub") from None
    return huggingface_hub


def _cached(hub: Any, repo: str, revision: str) -> Path | None:
    """Return the folder of the last known commit of a revision in the cache; None if there is none."""
    found = hub.try_to_load_from_cache(repo, SPEC, revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _download(hub: Any, repo: str, revision: str, *, again: bool = False) -> Path:
    """Fetch the files of a bundle at one commit; with ``again`` also those in the cache."""
    api = hub.HfApi(library_name="lentigo", library_version=__version__)
    info = api.model_info(repo, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    for name in _FILES:
        limit = MAX_MODEL if name == MODEL else MAX_TEXT
        if name not in sizes:
            raise BundleError(f"hf://{repo}@{revision}: no bundle there (it has no {name})")
        if (sizes[name] or 0) > limit:
            raise BundleError(f"hf://{repo}@{revision}: {name} is larger than {limit / 2**20:g} MiB")
    # By the revision's name, so that the cache records its commit.
    folder = Path(api.hf_hub_download(repo, SPEC, revision=revision, force_download=again)).parent
    if folder.name != info.sha:
        raise BundleError(f"hf://{repo}@{revision}: changed while it was read; try again")
    for name in sorted(read_spec(folder).files):
        api.hf_hub_download(repo, name, revision=info.sha, force_download=again)
    return folder


def _unreachable(hub: Any, error: Exception) -> bool:
    """Return whether the hub could not be reached, as opposed to a refused request."""
    response = getattr(error, "response", None)
    return not isinstance(error, (BundleError, ValueError)) and (response is None or response.status_code >= 500)


def _explained(hub: Any, address: str | Path, error: Exception) -> BundleError:
    """Return the library's error as one line with the remedy."""
    if isinstance(error, BundleError):
        return error
    if isinstance(error, hub.errors.GatedRepoError):
        why = "access must be asked for on its page; then log in with: hf auth login"
    elif isinstance(error, hub.errors.RevisionNotFoundError):
        why = "there is no such revision"
    elif isinstance(error, hub.errors.RepositoryNotFoundError):
        why = "there is no such repository, or it is private; log in with: hf auth login"
    elif _unreachable(hub, error):
        why = f"cannot be reached and is not in the cache ({first_line(error)})"
    else:
        why = first_line(error)
    return BundleError(f"{address}: {why}")


def _licence(spec: Spec) -> dict[str, str]:
    """Return the licence as one of the hub's, or ``other`` with a name."""
    text = spec.licence.lower()
    creative = re.match(r"cc by(-nc)?(-sa|-nd)? (\d\.\d)", text)
    if creative:
        return {"license": re.sub(r"[ ]", "-", creative.group())}
    if text in ("apache-2.0", "mit", "bsd-3-clause"):
        return {"license": text}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9]+", "-", text).strip("-") or "unknown"}
