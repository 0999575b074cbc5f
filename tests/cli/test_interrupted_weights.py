"""A download of ImageNet weights that breaks off: one line, and nothing left that a later run would take for whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_run import tiny_data
from torch import hub
from torchvision.models import MobileNet_V3_Small_Weights

from lentigo.cli import main


@pytest.fixture(params=["closed", "chunked"])
def broken_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Sends a thousand bytes of a million and hangs up."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            if request.param == "closed":
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                self.wfile.write(b"x" * 1000)
            else:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"fffff\r\n" + b"x" * 1000)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_interrupted_download(
    broken_server: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LENTIGO_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    load = hub.load_state_dict_from_url
    address = f"{broken_server}/mobilenet_v3_small-047dcff4.pth"
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda url, **options: load(address, **options)
    )
    assert MobileNet_V3_Small_Weights.IMAGENET1K_V1.url.endswith("047dcff4.pth")
    with pytest.raises(SystemExit) as stopped:
        main(["train", "caco-ham10000", "--data", str(tiny_data()), "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lentigo: error: ")]
    assert len(lines) == 1
    assert "cannot be downloaded" in lines[0]
    assert "pretrained=PATH" in lines[0]
    assert not (tmp_path / "run").exists()
    assert not [p for p in (tmp_path / "torch").rglob("*") if p.is_file()]
