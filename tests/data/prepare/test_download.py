"""Downloads from a local server: with and without ranges, interrupted, refused, and through the command."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import official_archives as official
import pytest

from wsss_bench.artifacts import disk
from wsss_bench.data.prepare import download as module
from wsss_bench.data.prepare.download import download, part_of

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves a folder; `ranges`: whether it knows ranges; `cut`: connections that it drops half-way."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.ranges, self.cut, self.answers = folder, True, 0, list[int]()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Server = self.server  # type: ignore[assignment]
        path = server.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content, start = path.read_bytes(), 0
        wanted = self.headers.get("Range")
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                server.answers.append(416)
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        status = 206 if start else 200
        server.answers.append(status)
        self.send_response(status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        rest = content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if server.cut:
            server.cut -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    # the official archives have gigabytes, which this machine need not have
    large = SimpleNamespace(f_bavail=10**10, f_frsize=1000, f_files=0, f_favail=0)
    monkeypatch.setattr(disk.os, "statvfs", lambda _: large)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.bin").write_bytes(CONTENT)
    server = Server(tmp_path / "served")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "a.bin"


def test_a_download(server, path):
    download(f"{server.url}/a.bin", path)
    assert path.read_bytes() == CONTENT
    assert server.answers == [200]
    assert not part_of(path).exists()


@pytest.mark.parametrize("have", [1, 1000, len(CONTENT) - 1])
def test_it_goes_on(server, path, have):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT[:have])
    download(f"{server.url}/a.bin", path)
    assert path.read_bytes() == CONTENT
    assert server.answers == [206]


def test_a_server_without_ranges_starts_again(server, path):
    server.ranges = False
    path.parent.mkdir()
    part_of(path).write_bytes(b"other bytes" * 1000)
    download(f"{server.url}/a.bin", path)
    assert path.read_bytes() == CONTENT
    assert server.answers == [200]


def test_dropped_connections(server, path):
    server.cut = 7  # more than the attempts without progress that are allowed
    download(f"{server.url}/a.bin", path)
    assert path.read_bytes() == CONTENT
    assert server.answers == [200] + [206] * 7


def test_attempts_that_bring_nothing_more_are_given_up(server, path):
    server.ranges, server.cut = False, 100
    with pytest.raises(ValueError, match=f"closed.*; {len(CONTENT) // 2} of {len(CONTENT)} bytes are in"):
        download(f"{server.url}/a.bin", path)
    assert server.answers == [200] * (1 + module.TRIES)


def test_all_is_there_but_its_name(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT)
    download(f"{server.url}/a.bin", path)
    assert path.read_bytes() == CONTENT
    assert server.answers == [416]


def test_what_is_there_is_too_long(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT + b"more")
    download(f"{server.url}/a.bin", path)
    assert path.read_bytes() == CONTENT
    assert server.answers == [416, 200]


def test_a_server_that_refuses(server, path):
    with pytest.raises(ValueError, match=r"b\.bin answers 404 Not Found; download a\.bin in another way"):
        download(f"{server.url}/b.bin", path)


def test_no_server(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT[:1000])
    server.shutdown()
    server.server_close()
    with pytest.raises(
        ValueError, match=r"refused\); 1000 of an unknown number of bytes are in .*a\.bin\.part"
    ):
        download(f"{server.url}/a.bin", path)


def test_the_command_downloads_what_is_missing(server, prepare, tmp_path):
    official.write_voc(server.folder)
    archives = tmp_path / "archives"
    official.write_tar(archives / "benchmark.tgz", official.sbd_members())
    (archives / "VOCtrainval_11-May-2012.tar.part").write_bytes(
        (server.folder / "VOCtrainval_11-May-2012.tar").read_bytes()[:5000]
    )
    status, _, err = prepare("voc")
    assert status == 1
    assert "whose download has begun" in err
    status, out, err = prepare("voc", "--download", "--mirror", f"{server.url}/")
    assert status == 0, err
    assert "2.00 GB to download into" in out
    assert server.answers == [206]
    assert "split train_aug: 4 images" in out


def test_a_downloaded_file_of_another_size_is_refused(server, prepare, tmp_path):
    official.write_voc(server.folder)
    status, _, err = prepare("voc", "--download", "--mirror", server.url, md5=True)
    assert status == 1
    assert "expected 1999639040" in err


def test_a_mirror_alone(prepare):
    assert "add --download" in prepare("voc", "--mirror", "http://x")[2]
    assert "begins with http:// or https://" in prepare("voc", "--download", "--mirror", "x")[2]
