"""The options of ``lentigo serve``: each setting has one, defaults are the code's, and values out of range are
refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

import lentigo.serving
from lentigo.cli import main
from lentigo.errors import ServiceError
from lentigo.serving import ServeConfig

GIVEN: dict[str, tuple[list[str], object]] = {
    "models": (["--model", "a", "-m", "b"], ("a", "b")),
    "host": (["--host", "::1"], "::1"),
    "port": (["--port", "0"], 0),
    "workers": (["--workers", "2"], 2),
    "threads": (["--threads", "3"], 3),
    "decoders": (["--decoders", "4"], 4),
    "extra_formats": (
        ["--extra-format", "heic", "--extra-format", "DICOM", "--extra-format", "heic"],
        ("heic", "dicom"),
    ),
    "exact": (["--fast-decode"], False),
    "max_batch": (["--max-batch", "5"], 5),
    "max_delay_ms": (["--max-delay-ms", "6"], 6.0),
    "queue": (["--queue", "70"], 70),
    "deadline_s": (["--deadline", "8"], 8.0),
    "decode_cpu_s": (["--decode-cpu", "0.5"], 0.5),
    "decode_memory_bytes": (["--decode-memory-mib", "100"], 100 * 2**20),
    "max_pixels": (["--max-pixels", "1000"], 1000),
    "max_files": (["--max-files", "9"], 9),
    "max_body_bytes": (["--max-body-mib", "10"], 10 * 2**20),
    "max_held_bytes": (["--max-held-mib", "11"], 11 * 2**20),
    "max_connections": (["--max-connections", "12"], 12),
    "header_timeout_s": (["--header-timeout", "13"], 13.0),
    "body_timeout_s": (["--body-timeout", "14"], 14.0),
    "idle_timeout_s": (["--idle-timeout", "15"], 15.0),
    "keys_file": (["--keys", "keys"], Path("keys")),
    "rate": (["--rate", "0"], None),
    "burst": (["--burst", "16"], 16),
    "allowed_hosts": (["--allowed-host", "x", "--allowed-host", "y"], ("x", "y")),
    "cors_origins": (["--cors-origin", "https://x"], ("https://x",)),
    "audit_log": (["--audit-log", "log"], Path("log")),
    "audit_fsync": (["--no-audit-fsync"], False),
    "traces": (["--traces"], True),
    "log_level": (["--log-level", "debug"], "debug"),
    "log_format": (["--log-format", "json"], "json"),
    "drain_s": (["--drain", "17"], 17.0),
    "load_s": (["--load-timeout", "18"], 18.0),
    "reload_s": (["--reload-every", "0"], 0.0),
}


def configured(monkeypatch: pytest.MonkeyPatch, *options: str) -> ServeConfig:
    """What the service would be started with."""
    seen: list[ServeConfig] = []
    monkeypatch.setattr(lentigo.serving, "serve", seen.append)
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *options])
    assert not stopped.value.code
    return seen[0]


def test_every_setting_has_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {field.name for field in fields(ServeConfig)}
    assert settings - set(GIVEN) == {"static", "max_header_bytes", "linger_s"}
    assert configured(monkeypatch) == ServeConfig()
    for name, (options, value) in GIVEN.items():
        assert configured(monkeypatch, *options) == replace(ServeConfig(), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--decode-cpu", "0", "decode-cpu"),
        ("--decode-cpu", "nan", "decode-cpu"),
        ("--decode-memory-mib", "1", "decode-memory-mib"),
        ("--deadline", "inf", "deadline_s"),
        ("--rate", "-1", "rate"),
        ("--threads", "0", "threads"),
        ("--max-files", "300", "max_files"),
        ("--drain", "soon", "drain"),
        ("--log-format", "jsn", "did you mean 'json'"),
        ("--log-level", "warn", "did you mean 'warning'"),
        ("--cors-origin", "*", "cors_origins"),
        ("--extra-format", "heif", "did you mean 'heic'"),
    ],
)
def test_values_out_of_range_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str, named: str
) -> None:
    monkeypatch.setattr(lentigo.serving, "serve", lambda config: pytest.fail("the service was started"))
    with pytest.raises(SystemExit) as stopped:
        main(["serve", option, value])
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("given", ["heic dicom", "HEIC,dicom"])
def test_further_formats_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    assert configured(monkeypatch).extra_formats == ()
    monkeypatch.setenv("LENTIGO_EXTRA_FORMATS", given)
    assert configured(monkeypatch).extra_formats == ("heic", "dicom")


def test_a_further_format_without_its_library_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lentigo.extra_formats.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "--extra-format", "dicom"])
    assert stopped.value.code == 2
    assert "pip install 'lentigo[dicom]'" in capsys.readouterr().err


def test_numbers_that_are_none_are_refused() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ServiceError, match="rate must be a finite number"):
            ServeConfig(rate=value)
