"""The decoding processes: what runs wild is ended, what costs much keeps nobody waiting."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from hostile import EXTRA_HOSTILE, HEIC, HOSTILE, JPEG_SYNTAX, dicom, fragments, jpeg, png
from PIL import Image
from serving_tools import problem_of, running
from tiny_bundle import blob_image, tiny_bundle

from lentigo import imaging
from lentigo.imaging import load
from lentigo.serving import decoding
from lentigo.serving.batching import Batcher
from lentigo.serving.config import ServeConfig
from lentigo.serving.decode_worker import PIPE_BYTES, CostlyError, Decoded, RefusedError, decode
from lentigo.serving.decoding import MOST_COSTLY, DecoderPool, Job, Outcome, _Lane
from lentigo.serving.problems import Problem

WILD = """
import os, time
import lentigo.imaging

whole = lentigo.imaging.open_and_load

def wild(data, *given, **more):
    if data.startswith(b"\\xff\\xd8\\xffspin"):
        while True:
            pass
    if data.startswith(b"\\xff\\xd8\\xffburn"):
        end = time.process_time() + 0.4
        while time.process_time() < end:
            pass
        data = data[7:]
    if data.startswith(b"\\xff\\xd8\\xffsleep"):
        time.sleep(600)
    if data.startswith(b"\\xff\\xd8\\xffcrash"):
        os.abort()
    if data.startswith(b"\\xff\\xd8\\xfftake"):
        return bytes(1 << 31)
    if data.startswith(b"\\xff\\xd8\\xffwrite"):
        with open(data[8:].decode(), "wb") as file:
            file.write(b"x" * 10_000)
    if data.startswith(b"\\xff\\xd8\\xffprint"):
        print("to the standard output", flush=True)
        os.write(1, b"and past Python")
        data = data[8:]
    return whole(data, *given, **more)

lentigo.imaging.open_and_load = wild
"""
PHOTO = jpeg(120, 90)


def wild(what: str, rest: bytes = b"") -> bytes:
    return b"\xff\xd8\xff" + what.encode() + rest


@pytest.fixture
def decoders_run_wild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding processes do what the content of an image says."""
    (tmp_path / "sitecustomize.py").write_text(WILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


class Outcomes:
    """Collects outcomes in the order in which they come."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.of: dict[str, Outcome] = {}
        self._changed = threading.Condition()

    def job(self, name: str, data: bytes, **more: Any) -> Job:
        return Job(data, 32, lambda outcome: self._take(name, outcome), **more)

    def wait(self, *names: str, seconds: float = 240.0) -> list[Outcome]:
        with self._changed:
            assert self._changed.wait_for(lambda: set(names) <= set(self.names), seconds), (names, self.names)
        return [self.of[name] for name in names]

    def _take(self, name: str, outcome: Outcome) -> None:
        with self._changed:
            self.names.append(name)
            self.of[name] = outcome
            self._changed.notify_all()


@contextmanager
def pool(**settings: Any) -> Iterator[tuple[DecoderPool, Outcomes, list[int]]]:
    replaced: list[int] = []
    made = DecoderPool(ServeConfig(**{"decoders": 1, "max_pixels": 50_000_000, **settings}), lambda: replaced.append(1))
    try:
        yield made, Outcomes(), replaced
    finally:
        made.close()


def children() -> set[int]:
    """Processes that decode for this one."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if b"decode_worker" in command and parent == os.getpid():
                found.add(int(entry.name))
    return found


def test_a_decoded_image_is_the_librarys() -> None:
    content = jpeg(700, 500)
    with pool() as (decoders, outcomes, replaced):
        decoders.submit(outcomes.job("plain", content))
        decoders.submit(outcomes.job("shown", content, picture=True))
        plain, shown = outcomes.wait("plain", "shown")
    assert isinstance(plain, Decoded)
    assert isinstance(shown, Decoded)
    assert np.array_equal(plain.pixels, load(content, 32))
    assert (plain.extent, plain.picture) == ((700, 500), None)
    assert shown.picture is not None
    assert shown.picture.size == (512, 366)
    assert not replaced


@pytest.mark.parametrize("first", [0, 1000, decoding._FIRST_BYTES])
def test_an_image_of_any_length_passes(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_FIRST_BYTES", first)
    noise = np.random.default_rng(0).integers(0, 256, (900, 600, 3), np.uint8)
    large = BytesIO()
    Image.fromarray(noise).save(large, "PNG")
    images = {"small": PHOTO, "large": large.getvalue(), "empty": b"", "again": PHOTO}
    assert len(images["large"]) > PIPE_BYTES
    with pool() as (decoders, outcomes, replaced):
        for name, content in images.items():
            decoders.submit(outcomes.job(name, content))
        for name, outcome in zip(images, outcomes.wait(*images), strict=True):
            if isinstance(outcome, Decoded):
                assert np.array_equal(outcome.pixels, load(images[name], 32))
            else:
                assert (name, isinstance(outcome, Problem)) == ("empty", True)
    assert not replaced


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the process there")
def test_a_process_that_ends_while_it_waits_is_replaced_before_the_next_image() -> None:
    with pool() as (decoders, outcomes, replaced):
        decoders.submit(outcomes.job("first", PHOTO))
        outcomes.wait("first")
        (waiting,) = children()
        os.kill(waiting, signal.SIGKILL)
        end = time.monotonic() + 60
        while not replaced or waiting in children():
            assert time.monotonic() < end
            time.sleep(0.01)
        decoders.submit(outcomes.job("next", PHOTO))
        assert isinstance(outcomes.wait("next")[0], Decoded)
    assert replaced == [1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_the_memory_of_one_image_serves_the_next() -> None:
    def faults() -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])

    content = jpeg(600, 450)
    with pool() as (decoders, outcomes, _):
        for name in range(45):
            decoders.submit(outcomes.job(str(name), content))
            outcomes.wait(str(name))
            if name == 4:
                (pid,) = children()
                before = faults()
        assert faults() - before < 40 * 50  # 500 an image where its memory is given back


def test_every_hostile_shape_is_refused_and_costs_no_process() -> None:
    with pool() as (decoders, outcomes, replaced):
        for name, make in HOSTILE.items():
            decoders.submit(outcomes.job(name, make()))
        for name, outcome in zip(HOSTILE, outcomes.wait(*HOSTILE), strict=True):
            assert isinstance(outcome, Problem), name
            assert outcome.status in (413, 422), name
        decoders.submit(outcomes.job("photo", PHOTO))
        assert isinstance(outcomes.wait("photo")[0], Decoded)
    assert not replaced


def test_the_structure_of_an_image_is_read_once_and_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = imaging.check_header
    monkeypatch.setattr(imaging, "check_header", lambda file, kind: (read.append(kind), whole(file, kind))[1])
    assert decode(PHOTO, 32, 50_000_000, quick=True).extent == (120, 90)
    assert read == ["JPEG"]
    large = png(5000, 3500, colour=0)
    monkeypatch.setattr(imaging.Image, "open", lambda *given, **more: pytest.fail("a large image was opened"))
    with pytest.raises(CostlyError):
        decode(large, 32, 50_000_000, quick=True)
    with pytest.raises(RefusedError):
        decode(large, 32, 10_000_000, quick=True)  # it need not wait for the process of low priority
    assert read == ["JPEG", "PNG", "PNG"]


def test_no_other_format_hides_behind_the_first_bytes_of_a_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lentigo.imaging.open_extra", lambda *given: pytest.fail("a decoder that the service leaves off was opened")
    )
    for content in (b"\xff\xd8\xff" + bytes(125) + b"DICM" + bytes(100), b"\xff\xd8\xff\xe0ftypheic\0\0\0\0mif1"):
        with pytest.raises(RefusedError) as refused:
            decode(content, 32, 10_000)
        assert refused.value.kind == "damaged-image"


def test_heic_and_dicom_are_read_where_the_service_is_told_to_and_hostile_ones_are_refused() -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("pi_heif")
    good = {
        "heic": HEIC,
        "dicom": dicom(),
        "jpeg in a dicom": dicom(64, 48, syntax=JPEG_SYNTAX, pixels=fragments(jpeg())),
    }
    with pool() as (decoders, outcomes, _):
        for name, data in good.items():
            decoders.submit(outcomes.job(name, data))
        for outcome in outcomes.wait(*good):
            assert isinstance(outcome, Problem)
            assert (outcome.kind, "which is not read here" in outcome.detail) == ("not-an-image", True)
    with pool(extra_formats=("heic", "dicom")) as (decoders, outcomes, replaced):
        for name, data in {**good, "photo": PHOTO}.items():
            decoders.submit(outcomes.job(name, data))
        found = outcomes.wait(*good, "photo")
        assert [one.extent for one in found if isinstance(one, Decoded)] == [(64, 48), (8, 8), (64, 48), (120, 90)]
        assert outcomes.names[0] == "photo"  # the others go one by one, with low priority
        for name, make in EXTRA_HOSTILE.items():
            decoders.submit(outcomes.job(name, make()))
            (refused,) = outcomes.wait(name)
            assert isinstance(refused, Problem), name
            assert refused.status in (413, 422), name
        assert not replaced


@pytest.mark.parametrize("kind", ["heic", "dicom"])
def test_a_heic_or_dicom_that_runs_wild_is_ended(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("pi_heif")
    (tmp_path / "sitecustomize.py").write_text(
        "import lentigo.imaging\n\ndef wild(*given):\n    while True:\n        pass\n\n"
        "lentigo.imaging.open_extra = wild\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pool(extra_formats=(kind,), decode_cpu_s=0.5) as (decoders, outcomes, replaced):
        decoders.submit(outcomes.job("wild", HEIC if kind == "heic" else dicom()))
        decoders.submit(outcomes.job("photo", PHOTO))
        spun, photo = outcomes.wait("wild", "photo")
    assert isinstance(spun, Problem)
    assert "CPU time" in spun.detail
    assert isinstance(photo, Decoded)
    assert replaced == [1]


@pytest.mark.usefixtures("decoders_run_wild")
def test_an_image_that_takes_too_much_cpu_time_ends_its_process_alone() -> None:
    with pool(decode_cpu_s=0.5) as (decoders, outcomes, replaced):
        decoders.submit(outcomes.job("spin", wild("spin")))
        decoders.submit(outcomes.job("photo", PHOTO))
        spun, photo = outcomes.wait("spin", "photo")
    assert isinstance(spun, Problem)
    assert spun.kind == "image-too-large"
    assert "CPU time" in spun.detail
    assert isinstance(photo, Decoded)
    assert replaced == [1]


@pytest.mark.usefixtures("decoders_run_wild")
def test_each_image_has_its_own_cpu_time() -> None:
    names = [f"{i}" for i in range(6)]  # 2.4 s together
    with pool(decode_cpu_s=0.5) as (decoders, outcomes, replaced):
        for name in names:
            decoders.submit(outcomes.job(name, wild("burn", PHOTO)))
        assert all(isinstance(outcome, Decoded) for outcome in outcomes.wait(*names))
    assert not replaced


@pytest.mark.parametrize(
    ("pixels", "extra", "slow"), [(64, 2_000_000, True), (64, 900_000, False), (900, 5_000_000, False)]
)
def test_files_of_far_more_bytes_than_pixels_are_for_the_process_of_low_priority(
    pixels: int, extra: int, slow: bool
) -> None:
    data = png(pixels, pixels) + bytes(extra)
    with pytest.raises(CostlyError) if slow else nullcontext():
        decode(data, 32, 50_000_000, quick=True)
    assert decode(data, 32, 50_000_000).extent == (pixels, pixels)


@pytest.mark.usefixtures("decoders_run_wild")
def test_a_deadline_kills_the_work_and_not_only_the_wait() -> None:
    with pool() as (decoders, outcomes, replaced):
        decoders.submit(outcomes.job("first", PHOTO))
        outcomes.wait("first")
        before = children()
        decoders.submit(outcomes.job("sleep", wild("sleep"), until=time.monotonic() + 0.3))
        decoders.submit(outcomes.job("photo", PHOTO))
        asleep, photo = outcomes.wait("sleep", "photo")
        assert asleep is None
        assert isinstance(photo, Decoded)
        assert len(before - children()) == 1
    assert replaced == [1]


@pytest.mark.usefixtures("decoders_run_wild")
def test_an_image_that_nobody_waits_for_is_given_up() -> None:
    with pool() as (decoders, outcomes, _):
        job = outcomes.job("sleep", wild("sleep"))
        decoders.submit(job)
        decoders.submit(outcomes.job("late", PHOTO, until=time.monotonic()))
        job.abandoned = True
        assert outcomes.wait("sleep", "late") == [None, None]


@pytest.mark.usefixtures("decoders_run_wild")
def test_memory_is_bounded_and_a_crash_is_survived(tmp_path: Path) -> None:
    target = tmp_path / "written"
    with pool(decode_memory_bytes=256 * 2**20) as (decoders, outcomes, replaced):
        for name, data in {
            "take": wild("take"),
            "crash": wild("crash"),
            "write": wild("write", str(target).encode()),
            "print": wild("print", PHOTO),
            "photo": PHOTO,
        }.items():
            decoders.submit(outcomes.job(name, data))
        take, crash, write, printed, photo = outcomes.wait("take", "crash", "write", "print", "photo")
    assert isinstance(take, Problem)
    assert (take.kind, "memory" in take.detail) == ("image-too-large", True)
    assert isinstance(crash, Problem)
    assert crash.kind == "damaged-image"
    assert isinstance(write, Problem)
    assert not target.exists() or target.stat().st_size == 0
    assert isinstance(printed, Decoded)  # what a library prints does not come between the answers
    assert isinstance(photo, Decoded)
    assert len(replaced) == 2


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the limits there")
def test_a_process_gives_way_to_the_service_and_leaves_nothing_behind(request: pytest.FixtureRequest) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_CORE, (soft, hard)))
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    sparse = png(1700, 1300, colour=0)  # for the process of low priority, though it decodes quickly
    with pool() as (decoders, outcomes, _):
        for name, content in (("photo", PHOTO), ("sparse", sparse)):
            decoders.submit(outcomes.job(name, content))
        outcomes.wait("photo", "sparse")
        niceness = []
        for pid in children():
            facts = Path(f"/proc/{pid}")
            limits = {line[:26].strip(): line[26:47].split()[0] for line in (facts / "limits").read_text().splitlines()}
            assert (limits["Max core file size"], limits["Max file size"]) == ("0", "0")
            assert (facts / "oom_score_adj").read_text() == "1000\n"
            niceness.append(int((facts / "stat").read_text().rpartition(")")[2].split()[16]))
        quick, slow = sorted(niceness)
        assert slow == min(19, quick + 10)


def test_large_images_keep_nobody_waiting_and_only_a_few_of_them_wait() -> None:
    large = png(5000, 3500, colour=0)
    with pool() as (decoders, outcomes, _):
        names = [f"large {i}" for i in range(MOST_COSTLY + 6)]
        for name in names:
            decoders.submit(outcomes.job(name, large))
        decoders.submit(outcomes.job("photo", PHOTO))
        outcomes.wait("photo", *names)
        decoded = [name for name in names if isinstance(outcomes.of[name], Decoded)]
        refused = [outcomes.of[name] for name in names if name not in decoded]
        assert len(decoded) >= MOST_COSTLY
        assert refused
        assert all(isinstance(one, Problem) and one.kind == "queue-full" for one in refused)
        assert outcomes.names.index("photo") < outcomes.names.index(decoded[-1])


def test_what_is_urgent_goes_first() -> None:
    photo = jpeg(2400, 1800)
    with pool() as (decoders, outcomes, _):
        for i in range(12):
            decoders.submit(outcomes.job(f"{i}", photo))
        decoders.submit(outcomes.job("urgent", PHOTO, urgent=True))
        outcomes.wait("urgent", "11")
    assert outcomes.names.index("urgent") < outcomes.names.index("11")


def test_a_fault_with_one_image_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decoding._Process.receive

    def faulty(process: Any) -> Any:
        if isinstance(outcome := whole(process), Problem):
            raise OverflowError
        return outcome

    monkeypatch.setattr(decoding._Process, "receive", faulty)
    with pool() as (made, outcomes, _):
        for name, data in (("bad", b"x"), ("good", PHOTO)):
            made.submit(outcomes.job(name, data))
        bad, good = outcomes.wait("bad", "good")
        assert isinstance(bad, OverflowError)
        assert isinstance(good, Decoded)


def test_requests_take_turns() -> None:
    lane = _Lane(threading.Lock())

    def put(request: str, images: int) -> None:
        with lane.changed:
            for place in range(images):
                lane.put(Job(request.encode(), 32, lambda outcome: None, place=place))

    put("a", 16)
    put("b", 2)
    order = [lane.take().data for _ in range(3)]
    put("c", 1)
    while lane.waiting:
        order.append(lane.take().data)
        if len(order) < 300:
            put("d", 1)  # does not keep the rest of the first waiting for ever
    assert order[:6] == [b"a", b"b", b"a", b"b", b"a", b"c"]
    assert [i for i, request in enumerate(order) if request == b"a"][-1] < 200


def test_where_too_many_wait_the_last_of_the_largest_request_are_left_out() -> None:
    lane = _Lane(threading.Lock())
    with lane.changed:
        for place in range(16):
            lane.put(Job(b"many", 32, lambda outcome: None, place=place))
        lane.put(Job(b"one", 32, lambda outcome: None))
        left = lane.shorten(16)
    assert [(job.data, job.place) for job in left] == [(b"many", 15)]
    assert [lane.take().data for _ in range(3)] == [b"many", b"one", b"many"]


def test_one_request_of_large_images_leaves_room_for_another() -> None:
    large = png(5000, 3500, colour=0)
    with pool() as (decoders, outcomes, _):
        names = [f"large {place}" for place in range(MOST_COSTLY + 4)]
        for place, name in enumerate(names):
            decoders.submit(outcomes.job(name, large, place=place))
        decoders.submit(outcomes.job("other", large))
        outcomes.wait("other", *names)
        assert isinstance(outcomes.of["other"], Decoded)
        assert isinstance(outcomes.of[names[-1]], Problem)


def test_an_image_knows_how_many_of_its_request_come_before_it() -> None:
    jobs: list[Job] = []

    async def go() -> None:
        pool: Any = SimpleNamespace(submit=jobs.append)
        classifier: Any = SimpleNamespace(size=8, spec=SimpleNamespace(name=""))
        batcher = Batcher(classifier, pool, max_batch=4, max_delay_s=0)
        items = batcher.submit([b"a", b"b", b"c"], within_s=1.0)
        batcher.abandon(items)
        for job in jobs:
            job.done(None)
        await batcher.retire()

    asyncio.run(asyncio.wait_for(go(), 30))
    assert [job.place for job in jobs] == [0, 1, 2]


@pytest.mark.usefixtures("decoders_run_wild")
def test_closing_ends_whatever_runs() -> None:
    with pool(decoders=2) as (decoders, outcomes, _):
        for i in range(4):
            decoders.submit(outcomes.job(f"{i}", wild("sleep")))
        end = time.monotonic() + 20
        while len(children()) < 3 and time.monotonic() < end:
            time.sleep(0.02)
    assert outcomes.wait("0", "1", "2", "3") == [None] * 4
    while children() and time.monotonic() < end:
        time.sleep(0.02)
    assert not children()


def test_a_process_that_becomes_free_while_the_pool_closes_is_ended() -> None:
    with pool() as (decoders, outcomes, _):
        decoders.submit(outcomes.job("photo", PHOTO))
        outcomes.wait("photo")
        ended = []
        process: Any = SimpleNamespace(kill=lambda: ended.append(True))
        decoders.close()
        assert decoders._next(decoders._quick, process) is None
        assert ended


@pytest.mark.usefixtures("decoders_run_wild")
def test_a_504_is_the_end_of_its_work_and_others_are_answered_meanwhile(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)
    headers = {"Content-Type": "image/jpeg"}
    with running(tmp_path, models=(str(bundle.path),), decoders=2, deadline_s=3.0) as server:
        url = f"{server.url}/v1/predict"
        found: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: found.append(httpx.post(url, content=wild("sleep"), headers=headers, timeout=30))
        )
        asking.start()
        good = jpeg(*blob_image(1).size)
        for _ in range(5):
            assert httpx.post(url, content=good, headers=headers, timeout=30).status_code == 200
        asking.join()
        assert found[0].status_code == 504
        assert problem_of(found[0])["type"].endswith("deadline")
        server.await_event("decoder replaced")
        for _ in range(5):
            assert httpx.post(url, content=good, headers=headers, timeout=30).status_code == 200
        assert "lentigo_decoder_restarts_total 1" in httpx.get(f"{server.url}/metrics").text
