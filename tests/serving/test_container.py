"""The Dockerfile, read and run here without a container engine."""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tiny_bundle import tiny_bundle

ROOT = Path(__file__).resolve().parents[2]
PORT = "8000"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as pairs of instruction and argument, continued lines joined."""
    text = "\n".join(
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")
    )
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0].upper(), line.split(maxsplit=1)[1] if " " in line else "") for line in lines]


def final_stage() -> list[tuple[str, str]]:
    found = instructions()
    last = max(i for i, (name, _) in enumerate(found) if name == "FROM")
    return found[last:]


def only(name: str) -> str:
    (value,) = [argument for instruction, argument in final_stage() if instruction == name]
    return value


def test_it_is_slim_and_runs_without_root() -> None:
    assert all("-slim" in argument for name, argument in instructions() if name == "FROM")
    user, _, group = only("USER").partition(":")
    assert int(user) > 0  # a number, so that an orchestrator can tell that it is not root
    assert int(group) > 0
    names = [name for name, _ in final_stage()]
    assert "RUN" not in names[names.index("USER") :]
    assert "ADD" not in {name for name, _ in instructions()}
    assert [argument for name, argument in final_stage() if name == "COPY"] == [
        "--from=build /opt/lentigo /opt/lentigo"
    ]
    assert only("STOPSIGNAL") == "SIGTERM"
    assert only("EXPOSE") == PORT


def test_it_installs_the_use_wing_only() -> None:
    (installs,) = [argument for name, argument in instructions() if name == "RUN" and "pip install" in argument]
    assert installs.split()[-1] == "."  # the package without an extra
    assert "torch" not in installs
    assert "-c constraints.txt" in installs


def test_what_it_copies_is_there_and_not_ignored() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    for name, argument in instructions():
        if name != "COPY" or argument.startswith("--from"):
            continue
        *sources, _ = argument.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in allowed, f"{source} is left out by .dockerignore"
    assert not any(fnmatch.fnmatch(secret, rule) for secret in (".git", ".venv", "runs", "keys") for rule in allowed)


def test_no_secret_is_built_in() -> None:
    for name, argument in instructions():
        if name in ("ENV", "ARG"):
            assert not any(word in argument.upper() for word in ("KEY", "TOKEN", "PASSWORD", "SECRET"))


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def healthcheck(port: int) -> int:
    command = json.loads(only("HEALTHCHECK").partition("CMD")[2])
    return subprocess.run(
        [part.replace(PORT, str(port)) for part in command], env=environment(), capture_output=True, timeout=30
    ).returncode


@contextmanager
def container(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """ENTRYPOINT and CMD, as the engine would run them, on another port and with a tiny model."""
    command = json.loads(only("ENTRYPOINT")) + json.loads(only("CMD"))
    assert command[command.index("--port") + 1] == PORT
    command = [part.replace(PORT, str(port)) for part in command] + [
        "--model",
        str(tiny_bundle(folder / "tiny", size=32).path),
    ]
    # As the Dockerfile's head says; the health check still gets through.
    command += ["--allowed-host", "gateway.example.org"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment(), cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_its_commands_run(tmp_path: Path) -> None:
    port = free_port()
    assert healthcheck(port) != 0
    with container(tmp_path, port) as process:
        end = time.monotonic() + 60
        while healthcheck(port) != 0:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.2)
        for host, status in (("gateway.example.org", 200), ("other.example.org", 421)):
            assert httpx.get(f"http://127.0.0.1:{port}/v1/models", headers={"Host": host}).status_code == status
            assert httpx.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": host}).status_code == 200
        process.send_signal(signal.Signals[only("STOPSIGNAL")])
        assert process.wait(20) == 0
    assert healthcheck(port) != 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at /proc")
def test_nothing_is_written_so_the_root_can_be_read_only(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32).path
    program = f"""
import os, signal, sys, threading, time, urllib.request
written = []
def watch(event, arguments):
    place = arguments[0] if arguments else None
    # An open descriptor; /dev/shm holds shared memory.
    if isinstance(place, int) or str(place).startswith(("/dev/", "/proc/")):
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(str(place))
    elif event in ("os.mkdir", "os.rename", "tempfile.mkstemp", "tempfile.mkdtemp"):
        written.append(event + " " + str(place))
sys.addaudithook(watch)
sys.dont_write_bytecode = True  # as PYTHONDONTWRITEBYTECODE says in the image
from lentigo.serving import ServeConfig, serve
port = {free_port()}
def use():
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{{port}}/readyz"); break
        except OSError:
            time.sleep(0.1)
    urllib.request.urlopen(f"http://127.0.0.1:{{port}}/").read()
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=use).start()
serve(ServeConfig(models=({str(bundle)!r},), port=port))
print(written)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert "PYTHONDONTWRITEBYTECODE=1" in only("ENV")
