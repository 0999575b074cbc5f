"""Downloads from a local server that misbehaves in the ways real ones do."""

from __future__ import annotations

import hashlib
import io
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from lentigo.data import download, read_samples
from lentigo.data.download import DATASETS, RemoteFile, RemoteSet, download_dataset, fetch, unpack
from lentigo.errors import DataError, OutputError

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves ``files``; each request takes the next of ``faults``."""

    files: ClassVar[dict[str, bytes]] = {}
    faults: ClassVar[list[str]] = []
    requests: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.requests.append((self.path, wanted))
        fault = self.faults.pop(0) if self.faults else ""
        content = self.files.get(self.path.strip("/"))
        if fault.startswith("redirect "):
            self.send_response(302)
            self.send_header("Location", fault.removeprefix("redirect "))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault.isdigit() or content is None:
            self.send_error(int(fault) if fault else 404)
            return
        etag = hashlib.sha256(content).hexdigest()[:8]
        start = 0
        if wanted and fault == "ignore if-range":  # goes on with whatever lies there now
            self.headers.replace_header("If-Range", f'"{etag}"')
        if wanted and fault != "ignore range" and self.headers.get("If-Range", f'"{etag}"') == f'"{etag}"':
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        if fault != "no length":
            self.send_header(
                "Content-Length", fault.removeprefix("length ") if fault.startswith("length ") else str(len(body))
            )
        if fault != "no etag":
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if fault == "break off":
            body = body[: len(body) // 3]
        elif fault == "corrupt":
            body = bytes(len(body))
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.files, Handler.faults, Handler.requests = {"data.bin": CONTENT}, [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def pauses() -> list[float]:
    return []


def get(server: str, folder: Path, pauses: list[float], md5: str | None = MD5) -> None:
    fetch(RemoteFile("data.bin", "unused", md5), f"{server}/data.bin", folder, pause=pauses.append)


def test_goes_on_where_the_connection_broke_off(server: str, tmp_path: Path, pauses: list[float]) -> None:
    Handler.faults = ["break off", "break off"]
    get(server, tmp_path, pauses)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in Handler.requests] == [None, "bytes=100000-", "bytes=166666-"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.bin", "data.bin.sha256"]
    assert (tmp_path / "data.bin.sha256").read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  data.bin\n"


def test_goes_on_in_a_later_call(server: str, tmp_path: Path, pauses: list[float]) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:123_456])
    get(server, tmp_path, pauses)
    assert Handler.requests == [("/data.bin", "bytes=123456-")]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_takes_a_whole_part_as_it_is(server: str, tmp_path: Path, pauses: list[float]) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    get(server, tmp_path, pauses)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_dropped(server: str, tmp_path: Path, pauses: list[float]) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT + b"more")
    get(server, tmp_path, pauses)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_starts_over_where_the_server_ignores_the_range(server: str, tmp_path: Path, pauses: list[float]) -> None:
    Handler.faults = ["break off", "ignore range"]
    get(server, tmp_path, pauses)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_starts_over_where_the_file_changed_meanwhile(server: str, tmp_path: Path, pauses: list[float]) -> None:
    changed = CONTENT[::-1]
    Handler.faults = ["break off", "503"]

    def change(seconds: float) -> None:
        Handler.files["data.bin"] = changed

    fetch(RemoteFile("data.bin", "unused"), f"{server}/data.bin", tmp_path, pause=change)
    assert (tmp_path / "data.bin").read_bytes() == changed


def test_a_wrong_checksum_keeps_nothing(server: str, tmp_path: Path, pauses: list[float]) -> None:
    with pytest.raises(DataError, match=r"wrong checksum \(MD5 .* expected 0123"):
        get(server, tmp_path, pauses, md5="0123" * 8)
    assert list(tmp_path.iterdir()) == []
    assert len(Handler.requests) == 1


def test_a_part_that_was_wrong_is_fetched_again_whole(server: str, tmp_path: Path, pauses: list[float]) -> None:
    (tmp_path / "data.bin.part").write_bytes(bytes(1000))
    get(server, tmp_path, pauses)
    assert [wanted for _, wanted in Handler.requests] == ["bytes=1000-", None]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_missing_at_the_source_is_said_at_once(server: str, tmp_path: Path, pauses: list[float]) -> None:
    Handler.files = {}
    with pytest.raises(DataError, match=r"/data.bin: the server answers 404"):
        get(server, tmp_path, pauses)
    assert pauses == []


def test_a_busy_server_is_asked_again_with_growing_pauses(server: str, tmp_path: Path, pauses: list[float]) -> None:
    Handler.faults = ["503", "429", "500"]
    get(server, tmp_path, pauses)
    assert pauses == [2, 4, 8]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_gives_up_and_keeps_what_has_arrived(server: str, tmp_path: Path, pauses: list[float]) -> None:
    Handler.faults = ["break off"] + ["500"] * download.ATTEMPTS
    with pytest.raises(DataError, match=r"after 5 tries; 100,000 bytes are kept, run again"):
        get(server, tmp_path, pauses)
    get(server, tmp_path, pauses)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_no_server_is_one_clear_error(tmp_path: Path, pauses: list[float]) -> None:
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch(RemoteFile("data.bin", "unused"), "http://127.0.0.1:9/data.bin", tmp_path, pause=pauses.append)


def test_what_is_there_and_right_is_not_fetched_again(server: str, tmp_path: Path, pauses: list[float]) -> None:
    get(server, tmp_path, pauses)
    get(server, tmp_path, pauses)
    assert len(Handler.requests) == 1
    (tmp_path / "data.bin").write_bytes(b"damaged")
    get(server, tmp_path, pauses)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_without_a_known_checksum_the_first_download_is_trusted(
    server: str, tmp_path: Path, pauses: list[float]
) -> None:
    get(server, tmp_path, pauses, md5=None)
    (tmp_path / "data.bin").unlink()
    Handler.faults = ["corrupt"]
    with pytest.raises(DataError, match="not the file that was fetched first"):
        get(server, tmp_path, pauses, md5=None)
    get(server, tmp_path, pauses, md5=None)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_progress_counts_bytes(server: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    Handler.faults = ["break off"]
    fetch(
        RemoteFile("data.bin", "unused", MD5),
        f"{server}/data.bin",
        tmp_path,
        progress=lambda *p: seen.append(p),
        pause=lambda seconds: None,
    )
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_full_disk_is_an_output_error(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_receive_once", full)
    with pytest.raises(OutputError, match="No space left"):
        get(server, tmp_path, [])


def test_a_file_that_changed_is_never_mixed_with_what_there_was(server: str, tmp_path: Path) -> None:
    changed = bytes(len(CONTENT))
    Handler.faults = ["break off", "ignore if-range"]

    def change(seconds: float) -> None:
        Handler.files["data.bin"] = changed

    fetch(RemoteFile("data.bin", "unused"), f"{server}/data.bin", tmp_path, pause=change)
    assert (tmp_path / "data.bin").read_bytes() == changed
    assert [wanted for _, wanted in Handler.requests] == [None, "bytes=100000-", None]


def test_without_a_checksum_and_a_tag_nothing_is_gone_on_with(server: str, tmp_path: Path, pauses: list[float]) -> None:
    (tmp_path / "data.bin.part").write_bytes(b"of another file")
    get(server, tmp_path, pauses, md5=None)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert Handler.requests == [("/data.bin", None)]


@pytest.mark.parametrize("fault", ["", "no length", "length 5"])
def test_no_more_is_kept_than_the_publisher_says(fault: str, server: str, tmp_path: Path, pauses: list[float]) -> None:
    Handler.faults = [fault] * 9
    remote = RemoteFile("data.bin", "unused", MD5, size=1000)
    with pytest.raises(DataError, match=r"larger than it should be|wrong checksum"):
        fetch(remote, f"{server}/data.bin", tmp_path, pause=pauses.append)
    assert not list(tmp_path.glob("data.bin*"))


@pytest.mark.parametrize("length", ["abc", "-5", "5, 5", "9" * 40, "\u00b2"])
def test_a_length_that_is_no_number_is_one_clear_error(
    length: str, server: str, tmp_path: Path, pauses: list[float]
) -> None:
    Handler.faults = [f"length {length}"]
    with pytest.raises(DataError, match="where the length of the file should stand"):
        get(server, tmp_path, pauses)


@pytest.mark.parametrize("where", ["ftp://127.0.0.1/x", "file:///etc/passwd", "data:,x", "gopher://x/\x1b[2J"])
def test_redirects_to_other_schemes_are_not_followed(
    where: str, server: str, tmp_path: Path, pauses: list[float]
) -> None:
    Handler.faults = [f"redirect {where}"]
    with pytest.raises(DataError, match=r"not followed|not allowed"):
        get(server, tmp_path, pauses)
    assert not (tmp_path / "data.bin").exists()


def test_redirects_to_http_are_followed_but_not_from_https(server: str, tmp_path: Path, pauses: list[float]) -> None:
    Handler.files["other.bin"] = CONTENT
    Handler.faults = [f"redirect {server}/other.bin"]
    get(server, tmp_path, pauses)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    secure = urllib.request.Request("https://example.org/data.bin")
    with pytest.raises(DataError, match="which is not followed"):
        download._Redirects().redirect_request(secure, None, 302, "Found", {}, "http://example.org/data.bin")


def test_a_damaged_note_of_the_first_download_is_as_none(server: str, tmp_path: Path, pauses: list[float]) -> None:
    (tmp_path / "data.bin.sha256").write_bytes(b"\xff")
    get(server, tmp_path, pauses, md5=None)
    assert (tmp_path / "data.bin.sha256").read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  data.bin\n"


def zipped(files: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_unpacks_nested_archives_and_leaves_the_top_folder_out(tmp_path: Path) -> None:
    inner = zipped({"a.png": b"a", "sub/b.png": b"b"})
    (tmp_path / "set.zip").write_bytes(
        zipped(
            {"set-1/metadata.csv": b"m", "set-1/images/imgs_part_1.zip": inner, "__MACOSX/set-1/._metadata.csv": b"x"}
        )
    )
    unpack(tmp_path / "set.zip", tmp_path / "out")
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()) == [
        "images/imgs_part_1/a.png",
        "images/imgs_part_1/sub/b.png",
        "metadata.csv",
    ]


def link() -> bytes:
    member = zipfile.ZipInfo("link")
    member.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        zipped({"good": b"", "../evil": b""}),
        zipped({"/evil": b""}),
        zipped({"a/..\\..\\evil": b""}),
        zipped({"C:evil": b""}),
        link(),
    ],
    ids=["parent", "absolute", "backslash", "drive", "link"],
)
def test_archives_that_lead_outside_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(DataError, match="leads outside"):
        unpack(tmp_path / "set.zip", tmp_path / "in" / "out")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["set.zip"]


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_one_clear_error(packing: int, tmp_path: Path) -> None:
    whole = zipped({"a": b"hello world " * 5000}, packing)
    told = []
    for at in range(31, 100, 3):
        content = bytearray(whole)
        content[at] ^= 0x55
        (tmp_path / "set.zip").write_bytes(content)
        try:
            unpack(tmp_path / "set.zip", tmp_path / "out")
        except DataError as error:  # anything else fails the test
            told.append(str(error))
    assert len(told) > 10
    assert all("cannot be unpacked" in text for text in told)


@pytest.mark.parametrize("names", [("a/b.jpg", "A/B.JPG"), ("a.jpg", "a.jpg")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_would_replace_each_other_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in names:
            archive.writestr(name, name)
    with pytest.raises(DataError, match="is there twice"):
        unpack(tmp_path / "set.zip", tmp_path / "out")


def test_an_archive_that_unpacks_to_far_more_than_images_do_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(zipped({"a.csv": bytes(70 << 20)}, zipfile.ZIP_DEFLATED))
    with pytest.raises(DataError, match="far more than images do"):
        unpack(tmp_path / "set.zip", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_whole_set_from_a_mirror_is_ready_to_read(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    def jpeg(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (value, 0, 0)).save(buffer, "JPEG")
        return buffer.getvalue()

    rows = (
        "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
        "H1,I1,nv,histo,40,male,back\nH2,I2,mel,histo,50,female,face\n"
    )
    Handler.files = {
        "HAM10000_metadata.csv": rows.encode(),
        "HAM10000_images_part_1.zip": zipped({"I1.jpg": jpeg(1)}),
        "HAM10000_images_part_2.zip": zipped({"HAM10000_images_part_2/I2.jpg": jpeg(2)}),
    }
    files = tuple(
        RemoteFile(
            f.name, f.url, hashlib.md5(Handler.files[f.name], usedforsecurity=False).hexdigest(), folder=f.folder
        )
        for f in DATASETS["ham10000"].files
    )
    monkeypatch.setitem(DATASETS, "ham10000", RemoteSet("tiny", "none", "none", files))
    folder = download_dataset("ham10000", tmp_path, base_url=f"{server}/", progress=False)
    samples = read_samples(folder)
    assert samples.frame["path"].tolist() == ["HAM10000_images_part_1/I1.jpg", "HAM10000_images_part_2/I2.jpg"]
    assert not list(folder.glob("*.zip"))
    count = len(Handler.requests)
    assert download_dataset("ham10000", tmp_path, base_url=server, progress=False) == folder
    assert len(Handler.requests) == count == 3


def test_bad_arguments_are_answered_clearly(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'ham10000'"):
        download_dataset("ham1000", tmp_path, progress=False)
    with pytest.raises(DataError, match="must begin with http"):
        download_dataset("ham10000", tmp_path, base_url="file:///etc", progress=False)


def test_the_table_of_files_is_sound() -> None:
    for remote in DATASETS.values():
        assert remote.home.startswith("https://")
        names = [file.name for file in remote.files]
        assert len(names) == len(set(names))
        for file in remote.files:
            assert file.url.startswith("https://")
            assert file.md5 is None or len(bytes.fromhex(file.md5)) == 16
            assert (file.folder is not None) == file.name.endswith(".zip")
