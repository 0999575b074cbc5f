"""A real server under abuse: everything is bounded, answered where there is somebody to answer, and the service stays
up."""

from __future__ import annotations

import functools
import io
import re
import socket
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from serving_tools import Server, exchange, jpeg, problem_of, receive_all, running, status_of
from tiny_bundle import blob_image, tiny_bundle

IMAGE = jpeg(blob_image(1))
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
MAX_BODY = 3_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("abuse")
    bundle = tiny_bundle(folder / "tiny", size=32)
    static = folder / "static"
    static.mkdir()
    (static / "index.html").write_text("app")
    (static / "large.bin").write_bytes(bytes(40_000_000))
    with running(
        folder,
        models=(str(bundle.path),),
        static=static,
        max_body_bytes=MAX_BODY,
        max_pixels=1_000_000,
        max_files=4,
        header_timeout_s=0.8,
        body_timeout_s=1.5,
        idle_timeout_s=0.8,
        max_connections=120,
    ) as started:
        yield started


@pytest.fixture(autouse=True)
def stays_up(server: Server) -> Iterator[None]:
    """After whatever a test did, the service answers, and nothing of it failed."""
    yield
    answer = httpx.post(f"{server.url}/v1/predict", content=IMAGE, headers={"Content-Type": "image/jpeg"}, timeout=10)
    assert answer.status_code == 200
    assert server.process.poll() is None
    assert not server.events("request failed")
    assert not [line for line in server.lines() if line.get("status", 0) >= 500 and line["route"] != "/readyz"]


def post(server: Server, content: bytes, kind: str = "image/jpeg", **headers: str) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/predict", content=content, headers={"Content-Type": kind, **headers}, timeout=15
    )


# --- slow clients ---------------------------------------------------------------------------------------------------


def test_slow_loris_in_the_head(server: Server) -> None:
    began = time.monotonic()
    answer = exchange(server, *(bytes([b]) for b in HEAD[:12]), pause=0.1)
    assert status_of(answer) == 408
    assert b"too-slow" in answer
    assert time.monotonic() - began < 10


def test_slow_loris_in_the_body(server: Server) -> None:
    answer = exchange(server, HEAD + b"Content-Length: 5000\r\n\r\n", *(b"x" for _ in range(18)), pause=0.1)
    assert status_of(answer) == 408
    chunked = exchange(
        server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *(b"1\r\nx\r\n" for _ in range(18)), pause=0.1
    )
    assert status_of(chunked) == 408


def test_a_client_that_falls_silent(server: Server) -> None:
    assert exchange(server) == b""  # closed without a word: nothing was asked
    assert status_of(exchange(server, HEAD)) == 408
    assert status_of(exchange(server, HEAD + b"Content-Length: 100\r\n\r\nabc")) == 408


def test_many_slow_clients_do_not_keep_others_out(server: Server) -> None:
    slow = [socket.create_connection((server.host, server.port), timeout=10) for _ in range(100)]
    try:
        for i, connection in enumerate(slow):
            connection.sendall(HEAD if i % 2 else HEAD + b"Content-Length: 100\r\n\r\nabc")
        for _ in range(5):
            assert post(server, IMAGE).status_code == 200
        assert {status_of(receive_all(connection)) for connection in slow} == {408}
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_does_not_take_its_answer(server: Server) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connection.settimeout(10)
        connection.connect((server.host, server.port))
        connection.sendall(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(2.0)  # two pauses long
        assert len(receive_all(connection)) < 40_000_000
    ended = time.monotonic() + 10
    while not [e for e in server.events("request") if e["route"] == "app"]:
        assert time.monotonic() < ended
        time.sleep(0.05)


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [20_000, 200_000, 2_000_000])
def test_huge_headers(server: Server, size: int) -> None:
    one = HEAD + b"X-Filler: " + b"x" * size + b"\r\nContent-Length: 0\r\n\r\n"
    many = HEAD + b"".join(b"X-%d: xxxxxxxx\r\n" % i for i in range(size // 16)) + b"Content-Length: 0\r\n\r\n"
    line = b"GET /" + b"x" * size + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for request in (one, many, line):
        assert status_of(exchange(server, request)) == 431
    assert status_of(exchange(server, one[:20_000])) == 431


def test_a_body_that_is_announced_too_large_is_refused_at_once(server: Server) -> None:
    answer = exchange(server, HEAD + b"Content-Length: 900000000000\r\n\r\n")
    assert status_of(answer) == 413
    for length in (b"1" * 30, b"-1", b"1e3", b"1, 2"):
        assert status_of(exchange(server, HEAD + b"Content-Length: " + length + b"\r\n\r\n")) in (400, 413)


def test_a_body_that_grows_too_large_is_cut_off_while_it_is_read(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            sent.append(1)
            yield bytes(100_000)

    for kind in ("image/jpeg", "multipart/form-data; boundary=b"):
        sent: list[int] = []
        refused = httpx.post(f"{server.url}/v1/predict", content=endless(), headers={"Content-Type": kind}, timeout=15)
        assert refused.status_code in (413, 400)  # the multipart body is no multipart: that is seen first
        assert problem_of(refused)


def test_a_client_that_sends_all_before_it_reads_still_gets_its_answer(server: Server) -> None:
    assert problem_of(post(server, bytes(20_000_000)))["type"].endswith("body-too-large")


def test_too_many_files(server: Server) -> None:
    for count in (5, 3000):
        # Sent as one: httpx writes a part in pieces of some bytes, of which too many are refused as such.
        request = httpx.Request("POST", server.url, files=[("image", ("x", b"x", "image/jpeg"))] * count)
        answer = post(server, request.read(), request.headers["content-type"])
        assert problem_of(answer)["type"].endswith("too-many-files")
    tight = b"".join(b"--b\r\n\r\n\r\n" for _ in range(200_000)) + b"--b--\r\n"
    assert post(server, tight, "multipart/form-data; boundary=b").status_code == 413


def test_oversized_part_headers(server: Server) -> None:
    for part in (b"X: " + b"x" * 100_000 + b"\r\n", b"".join(b"X-%d: x\r\n" % i for i in range(1000)), b"x" * 100_000):
        body = b"--b\r\n" + part + b"\r\n" + IMAGE + b"\r\n--b--\r\n"
        assert problem_of(post(server, body, "multipart/form-data; boundary=b"))["type"].endswith("bad-multipart")


# --- bombs ----------------------------------------------------------------------------------------------------------


def png(width: int, height: int, *chunks: tuple[bytes, bytes], data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    body = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), *(chunk(*c) for c in chunks)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@functools.cache
def bombs() -> dict[str, bytes]:
    gif = (
        b"GIF89a"
        + struct.pack("<HH", 65535, 65535)
        + b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0"
        + struct.pack("<HH", 65535, 65535)
    )
    bmp = (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    entries = [(256, 60000), (257, 60000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 60000), (279, 1)]
    tiff = (
        b"II*\0"
        + struct.pack("<IH", 8, len(entries))
        + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in entries)
        + bytes(4)
    )
    webp = (
        b"RIFF\x1e\0\0\0WEBPVP8X"
        + struct.pack("<I", 10)
        + b"\0\0\0\0"
        + struct.pack("<I", 16000)[:3]
        + struct.pack("<I", 16000)[:3]
    )
    photo = bytearray(jpeg(blob_image(1)))
    at = photo.index(b"\xff\xc0")
    photo[at + 5 : at + 9] = struct.pack(">HH", 65000, 65000)
    real = zlib.compress(bytes(30_000 * 30_000 // 100), 9)
    return {
        "png": png(50_000, 50_000, data=real),
        # Whole, and small enough for Pillow's own guard: without our limit it would be decoded, to 300 MB, and
        # answered.
        "png, whole": png(10_000, 10_000, data=zlib.compress(bytes(10_000 * (3 * 10_000 + 1)), 1)),
        "png, absurd": png(2**31 - 1, 2**31 - 1),
        "gif": gif + b"\x02\x02L\x01\0;",
        "bmp": bmp,
        "tiff": tiff,
        "jpeg": bytes(photo),
        "webp": webp,
    }


@pytest.mark.parametrize("name", ["png", "png, whole", "png, absurd", "gif", "bmp", "tiff", "jpeg", "webp"])
def test_pixel_bombs(server: Server, name: str) -> None:
    assert len(bombs()) == 8
    answer = post(server, bombs()[name])
    assert answer.status_code in (413, 422)
    assert problem_of(answer)["type"].endswith(("image-too-large", "damaged-image"))
    if name in ("png", "png, whole", "jpeg", "gif"):
        assert answer.status_code == 413
    assert server_memory(server) < 400_000_000


def test_bombs_in_compressed_chunks(server: Server) -> None:
    inflated = zlib.compress(bytes(300_000_000), 9)  # 300 kB that would become 300 MB
    for kind in (b"zTXt", b"iCCP", b"iTXt"):
        content = b"k\0\0" + inflated if kind != b"iTXt" else b"k\0\1\0\0\0" + inflated
        assert post(server, png(8, 8, (kind, content), data=zlib.compress(bytes(8 * 25)))).status_code in (200, 422)
    assert server_memory(server) < 400_000_000


def test_archives_and_encoded_bodies(server: Server) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(50_000_000))
    for content in (buffer.getvalue(), b"\x1f\x8b" + zlib.compress(IMAGE)):
        assert problem_of(post(server, content))["type"].endswith("not-an-image")
    encoded = post(server, zlib.compress(bytes(1_000_000)), **{"Content-Encoding": "gzip"})
    assert problem_of(encoded)["type"].endswith("unsupported-type")


def test_a_large_but_allowed_image_is_fine(server: Server) -> None:
    assert post(server, jpeg(Image.new("RGB", (1000, 1000), "brown"))).status_code == 200
    assert post(server, jpeg(Image.new("RGB", (1001, 1000), "brown"))).status_code == 413


def server_memory(server: Server) -> int:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * 4096


# --- wrong and broken requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"hello, I am a text file", "image/jpeg", 415),
        (b"hello, I am a text file", "text/plain", 415),
        (b'{"image": "x"}', "application/json", 415),
        (IMAGE, "application/x-www-form-urlencoded", 415),
        (IMAGE, "multipart/mixed; boundary=b", 415),
        (IMAGE, "multipart/form-data", 400),
        (IMAGE, "multipart/form-data; boundary=" + "b" * 5000, 400),
        (IMAGE, "multipart/form-data; boundary=b", 400),
        (b"--b\r\n\r\n" + IMAGE, "multipart/form-data; boundary=b", 400),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 422),
        (b"", "image/jpeg", 422),
        (IMAGE[: len(IMAGE) // 2], "image/jpeg", 422),
        (b"%PDF-1.7", "image/jpeg", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", "image/svg+xml", 415),
        (IMAGE, "image/jpeg; charset=\xff\xfe", 200),
        (IMAGE, ";;;", 415),
    ],
)  # fmt: skip
def test_wrong_types_and_broken_bodies(server: Server, content: bytes, kind: str, status: int) -> None:
    answer = httpx.post(
        f"{server.url}/v1/predict", content=content, headers={b"Content-Type": kind.encode("latin-1")}, timeout=10
    )
    assert answer.status_code == status
    if status != 200:
        problem_of(answer)


@pytest.mark.parametrize(
    "target",
    [b"/../../../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/..%2f..%2fetc/passwd", b"//etc/passwd",
     b"/..\\..\\windows\\win.ini",
     b"/static/../index.html", b"/index.html%00.png", b"/%ff%fe", b"/v1/models/../../etc/passwd/card",
     b"/v1/models/%2e%2e%2f%2e%2e/card",
     b"http://other.example/etc/passwd", b"/;/etc/passwd", b"/.git/config", b"/large.bin/../.."],
)  # fmt: skip
def test_path_tricks(server: Server, target: bytes) -> None:
    answer = exchange(server, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status_of(answer) in (400, 404, 421)
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), b"GET\r\n\r\n", b"\0" * 300,
     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
     b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
     HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
     HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
     HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
     HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
)  # fmt: skip
def test_what_is_not_http(server: Server, request_bytes: bytes) -> None:
    answer = exchange(server, request_bytes)
    assert status_of(answer) in (400, 501, 505)
    assert b"application/problem+json" in answer


def test_a_refused_request_is_given_no_leave_to_send_its_body(server: Server) -> None:
    head = HEAD.replace(b"image/jpeg", b"text/plain") + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    assert status_of(exchange(server, head)) == 415


def test_a_request_hidden_in_another_is_not_answered_twice(server: Server) -> None:
    hidden = b"0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = exchange(server, HEAD + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(hidden) + hidden)
    assert status_of(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/v2", "/openapi.json", "/metrics"])
def test_head_is_answered_as_get_without_the_body(server: Server, path: str) -> None:
    both = [f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() for method in ("HEAD", "GET")]
    answer = exchange(server, both[0] + b"\r\n" + both[1] + b"Connection: close\r\n\r\n")
    head, get, body = answer.split(b"\r\n\r\n", 2)
    assert status_of(head) == status_of(get) == 200
    length = re.search(rb"(?i)content-length: \d+", get)
    assert length
    assert body
    if path != "/metrics":  # whose figures have changed
        assert length[0] in head


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE
    answer = exchange(server, one + one + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.rindex(b'"alive"') > answer.rindex(b'"predictions"')


# --- connections that break -----------------------------------------------------------------------------------------


def test_a_half_closed_connection_gets_its_answer(server: Server) -> None:
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE
    answer = exchange(server, whole, half_close=True)
    assert status_of(answer) == 200
    assert b'"predictions"' in answer
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(IMAGE) + IMAGE + b"\r\n0\r\n\r\n"
    assert status_of(exchange(server, chunked, half_close=True)) == 200


def test_a_connection_half_closed_too_early_is_told_so(server: Server) -> None:
    cut_body = exchange(server, HEAD + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE[:100], half_close=True)
    assert status_of(cut_body) == 400
    assert b"incomplete-body" in cut_body
    assert status_of(exchange(server, HEAD, half_close=True)) == 400
    assert exchange(server, half_close=True) == b""


def test_clients_that_vanish_leave_nothing_behind(server: Server) -> None:
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE

    def vanish(i: int) -> None:
        with socket.create_connection((server.host, server.port), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
            connection.sendall(whole[: len(whole) * (i % 5 + 1) // 5])

    threads = [threading.Thread(target=vanish, args=(i,)) for i in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = time.monotonic() + 10
    while True:
        lines = dict(
            line.rsplit(" ", 1)
            for line in httpx.get(f"{server.url}/metrics").text.splitlines()
            if not line.startswith("#")
        )
        if (
            lines["lentigo_held_bytes"] == lines["lentigo_queue_images"] == "0"
            and float(lines["lentigo_connections"]) <= 2
        ):
            break
        assert time.monotonic() < ended, lines
        time.sleep(0.1)
