"""Settings of the service, with the default of every limit in one place."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import socket
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from lentigo.errors import ServiceError, did_you_mean
from lentigo.extra_formats import EXTRA_FORMATS
from lentigo.machine import available_cores

STATIC = Path(__file__).resolve().parent / "static"
KEYS_VARIABLE = "LENTIGO_API_KEYS"
_MOST_A_CORE = 8
"""Processes or threads for each core; a typing error in their number would bring the machine down."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Every setting of ``lentigo serve``.

    Attributes:
        host: address to bind; loopback by default.
        port: TCP port; 0 takes a free one, which the log names.
        workers: processes, each with one copy of every model.
        models: packaged names, bundle folders or run folders; the first is the default. None at all serves the phone
            app only.
        threads: threads of one inference in each worker; None shares the cores between the workers.
        decoders: processes that decode ordinary images in each worker; None shares the cores between the workers. One
            more, of low priority, decodes the large ones.
        decode_cpu_s: most CPU time to decode one image, in seconds; its process is then ended.
        decode_memory_bytes: most memory that a decoding process may take beside what it starts with.
        extra_formats: formats accepted in addition to the usual six, ``heic`` and ``dicom``; none by default, since
            each adds a library that reads untrusted input. Their images are decoded one by one, as large ones are.
        exact: decode JPEG in full, as `lentigo.load().predict` does; False lets the decoder scale down, which is
            quicker.
        max_batch: most images in one call of the network.
        max_delay_ms: longest that an image waits for others to join its batch.
        queue: most images accepted and not yet answered in each worker; beyond it requests get 429.
        deadline_s: longest from the end of a request's body to its answer; beyond it 504.
        max_body_bytes: largest request body.
        max_files: most images in one request.
        max_pixels: largest width x height of an image, checked from its header.
        max_header_bytes: largest request head.
        header_timeout_s: longest that a request's head may take to arrive.
        body_timeout_s: longest that a request's body may take to arrive.
        idle_timeout_s: longest pause while a body arrives or an answer is taken.
        max_held_bytes: most bytes of bodies held in each worker at once.
        max_connections: most open connections in each worker.
        keys_file: file of hashed API keys (see `lentigo.serving.auth`); the environment variable LENTIGO_API_KEYS is
            read too. Without any key the service is open to everyone who can reach it.
        rate: images a minute that one key may send, unless its own entry says otherwise; None for no limit.
        burst: images that one key may send at once.
        allowed_hosts: values of the Host header that are served; None means the loopback names where the service is
            bound to loopback (which stops DNS rebinding), and any name elsewhere.
        cors_origins: web origins whose pages may read answers; none by default.
        audit_log: file that gets one line a predict request; None for no audit.
        audit_fsync: whether each audit line is on the disk before its answer is given, or left to the system to write.
        traces: send OpenTelemetry traces of the requests (`lentigo.serving.traces`).
        drain_s: longest that a stopping worker goes on answering what it has accepted.
        linger_s: how long a stopping worker still takes requests on open connections.
        load_s: longest that a changed bundle may take to be loaded and to answer one image.
        reload_s: seconds between checks for changed bundles and keys; with 0 only SIGHUP reloads them.
        static: folder of the built phone app.
        log_level: least level that is logged.
        log_format: JSON lines, plain text, or text on a terminal and JSON elsewhere.

    Raises:
        ServiceError: a value out of range; the message names it.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    models: tuple[str, ...] = ("dermoscopy-7",)
    threads: int | None = None
    decoders: int | None = None
    decode_cpu_s: float = 5.0
    decode_memory_bytes: int = 768 * 1024 * 1024
    extra_formats: tuple[str, ...] = ()
    exact: bool = True
    max_batch: int = 16
    max_delay_ms: float = 4.0
    queue: int = 256
    deadline_s: float = 15.0
    max_body_bytes: int = 32 * 1024 * 1024
    max_files: int = 16
    max_pixels: int = 50_000_000
    max_header_bytes: int = 16 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 10.0
    max_held_bytes: int = 256 * 1024 * 1024
    max_connections: int = 1024
    keys_file: Path | None = None
    rate: float | None = 600.0
    burst: int = 64
    allowed_hosts: tuple[str, ...] | None = None
    cors_origins: tuple[str, ...] = ()
    audit_log: Path | None = None
    audit_fsync: bool = True
    traces: bool = False
    drain_s: float = 12.0
    linger_s: float = 0.3
    load_s: float = 60.0
    reload_s: float = 2.0
    static: Path = STATIC
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"

    def __post_init__(self) -> None:
        low = {"port": 0, "max_delay_ms": 0, "linger_s": 0, "reload_s": 0}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not math.isfinite(value):
                raise ServiceError(f"{field.name} must be a finite number, not {value}")
            least = low.get(field.name)
            if (least is not None and value < least) or (least is None and value <= 0):
                raise ServiceError(
                    f"{field.name} must be {f'at least {least}' if least is not None else 'above 0'}, not {value}"
                )
        most = max(16, _MOST_A_CORE * available_cores())
        for name in ("workers", "decoders", "threads"):
            if (count := getattr(self, name)) is not None and count > most:
                raise ServiceError(f"{name} must be at most {most} on this machine, not {count}")
        if self.port > 65535:
            raise ServiceError(f"port must be at most 65535, not {self.port}")
        for name, known in (
            ("log_level", ("debug", "info", "warning", "error")),
            ("log_format", ("auto", "json", "text")),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ServiceError(f"unknown {name} {value!r}{did_you_mean(str(value), known)}")
        if self.max_files > self.queue:
            raise ServiceError(f"max_files ({self.max_files}) must fit into the queue ({self.queue})")
        for kind in self.extra_kinds:
            if kind not in EXTRA_FORMATS:
                raise ServiceError(
                    f"unknown format {kind.lower()!r}{did_you_mean(kind.lower(), map(str.lower, EXTRA_FORMATS))}"
                )
        for host in self.allowed_hosts or ():
            if host != "*" and not _is_host(host):
                raise ServiceError(f"allowed_hosts takes names such as skin.example.org, without a port, not {host!r}")
        for origin in self.cors_origins:
            if origin == "*" or not origin.startswith(("https://", "http://")):
                raise ServiceError(f"cors_origins takes origins such as https://viewer.example.org, not {origin!r}")

    @property
    def loopback(self) -> bool:
        """Whether the address can be reached from this machine only."""
        try:
            bound = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][4][0]
        except OSError:  # no such name: nothing can be bound
            return False
        address = ipaddress.ip_address(str(bound).partition("%")[0])
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback

    @property
    def extra_kinds(self) -> tuple[str, ...]:
        """The further formats, as `lentigo.extra_formats.extra_format` names them."""
        return tuple(name.upper() for name in self.extra_formats)

    @property
    def hosts(self) -> frozenset[str] | None:
        """Names that the Host header may hold, lower case; None for any."""
        if self.allowed_hosts is not None:
            names = frozenset(name.lower() for name in self.allowed_hosts)
            return None if "*" in names else names
        return frozenset({"localhost", "127.0.0.1", "::1", self.host.lower()}) if self.loopback else None

    @property
    def cores_per_worker(self) -> int:
        """Cores divided by workers, at least 1."""
        try:
            cores = len(os.sched_getaffinity(0))
        except AttributeError:  # not on macOS or Windows
            cores = available_cores()
        return max(1, cores // self.workers)


def _is_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9._-]+", name) is not None
    return True
