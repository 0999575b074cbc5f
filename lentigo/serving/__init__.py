"""Serving: the same predictions over HTTP, and the phone app. Never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lentigo.errors import ImageError, ServiceError
from lentigo.serving.config import ServeConfig

__all__ = ["ServeConfig", "ServiceError", "open_app", "serve"]


def serve(config: ServeConfig) -> None:
    """Serve until Ctrl-C or SIGTERM; SIGHUP reloads changed bundles and keys.

    Args:
        config: the settings.

    Raises:
        BundleError: a model that is missing or damaged.
        ServiceError: an address that cannot be bound, keys or an audit log that cannot be used.
    """
    # Here, so that importing the package stays quick for the commands that do not serve.
    from lentigo.extra_formats import require
    from lentigo.serving import logs, traces
    from lentigo.serving.audit import Audit
    from lentigo.serving.auth import read_keys
    from lentigo.serving.metrics import Board
    from lentigo.serving.server import announce, fit_connections, ignore_hangup, listen
    from lentigo.serving.supervisor import Supervisor

    ignore_hangup()
    logs.configure(config)
    config = fit_connections(config)
    for kind in config.extra_kinds:
        try:
            require(kind)
        except ImageError as error:
            raise ServiceError(f"--extra-format: {error}") from None
    if config.traces:
        traces.require()
    keys = len(read_keys(config))
    if config.audit_log is not None:
        Audit(config.audit_log)
    config = _check_models(config)
    with listen(config) as listener:
        announce(config, listener, keys)
        try:
            Supervisor(config, listener, Board(config.workers, shared=True)).run()
        finally:
            logs.drain()


def open_app(models: Sequence[str] = (), *, port: int = 8000, browser: bool = True) -> None:
    """Serve the phone app on this machine until Ctrl-C; images never leave the browser.

    Args:
        models: listed before the packaged ones: packaged names, bundle folders or run folders. The app opens with the
            first.
        port: TCP port; 0 takes a free one.
        browser: open the page.

    Raises:
        BundleError: a model that is missing or damaged.
        ServiceError: the port is taken.
    """
    import threading
    import webbrowser

    from lentigo.serving import logs
    from lentigo.serving.metrics import Board
    from lentigo.serving.server import address, listen, run_worker

    config = ServeConfig(models=tuple(models), port=port, log_level="warning", reload_s=2 if models else 0)
    logs.configure(config)
    config = _check_models(config)
    with listen(config) as listener:
        url = address(listener)
        print(f"lentigo's phone app: {url}  (Ctrl-C ends it)", flush=True)
        if browser:
            threading.Timer(1.0, webbrowser.open, [url]).start()
        run_worker(config, Board(1), 0, listener)


def _check_models(config: ServeConfig) -> ServeConfig:
    """Open every model once, and log which packaged ones they replace in the app.

    Returns:
        The settings, with one commit of the hub for all workers, and for as long as the service runs.
    """
    import logging

    from lentigo.bundle import read_spec
    from lentigo.inference import find_bundle, packaged_bundles
    from lentigo.inference.hub import is_address
    from lentigo.inference.session import PACKAGED
    from lentigo.serving import logs

    opened = {model: find_bundle(model) for model in config.models}
    for model, bundle in opened.items():
        name = bundle.spec.name
        if name in packaged_bundles() and read_spec(PACKAGED / name) != bundle.spec:
            logs.event(logging.WARNING, "takes the place of the packaged model of its name", model=name, source=model)
    return replace(
        config, models=tuple(str(bundle.path) if is_address(model) else model for model, bundle in opened.items())
    )
