"""Downloads from a hostile server of our own: limits, redirections, passwords, names, texts."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
import time

import pytest
from reference.outcomes import check_sentence

from texgen.storage import downloads
from texgen.storage.downloads import DownloadError, download, file_name, public_address, shown_source

CONTENT = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
REDIRECTIONS = {
    "file": "file:///etc/passwd",
    "http": "http://example.org/x.obj",
    "ftp": "ftp://example.org/x.obj",
    "data": "data:,x",
    "metadata": "https://169.254.169.254/x",
    "loopback": "https://127.0.0.1:{port}/good.obj",
    "IPv6": "https://[::1]/x",
    "private": "https://10.0.0.1/x",
    "mapped": "https://[::ffff:127.0.0.1]/x",
    "password": "https://u:p@example.org/x",
}


class Handler(http.server.BaseHTTPRequestHandler):
    asked: list = []

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        name = self.path.lstrip("/").split(".")[0]
        self.asked.append((name, self.headers.get("Authorization")))
        if name in REDIRECTIONS:
            self.send_response(302)
            self.send_header("Location", REDIRECTIONS[name].format(port=self.server.server_port))
            self.end_headers()
        elif name == "reason":
            self.send_response(404, "gone \x1b]0;PWNED\x07")
            self.end_headers()
        elif name == "claims":
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
        elif name == "short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(CONTENT)
        elif name in ("endless", "drip", "headers"):
            self.flood(name)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)

    def flood(self, name):
        try:
            if name == "headers":
                self.wfile.write(b"HTTP/1.0 200 ok\r\nX: ")
            else:
                self.send_response(200)
                self.end_headers()
            for _ in range(3000):
                self.wfile.write(b"#" * (1 << 20 if name == "endless" else 1))
                if name != "endless":
                    time.sleep(0.1)
        except OSError:
            pass  # the client has hung up


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """https://127.0.0.1:PORT with a certificate that this process trusts."""
    folder = tmp_path_factory.mktemp("server")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no program `openssl` to make a certificate with")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
        patch.setenv("NO_PROXY", "*")
        yield f"https://127.0.0.1:{server.server_port}/"
    server.shutdown()


def refusal(address: str, target, **limits) -> str:
    with pytest.raises(DownloadError) as caught:
        download(address, target, **limits)
    text = str(caught.value)
    check_sentence(text if text.endswith(".") else text + ".")
    return text


def test_a_file_comes_and_a_password_goes_to_its_host_only(server, tmp_path):
    download(server + "good.obj", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    address = server.replace("https://", "https://user:secret@")
    download(address + "good.obj", tmp_path / "b")
    assert Handler.asked[-1] == ("good", "Basic dXNlcjpzZWNyZXQ=")
    for shown in (
        public_address(address + "x"),
        shown_source(address + "x"),
        refusal(address + "reason", tmp_path / "c"),
    ):
        assert "secret" not in shown and "user" not in shown
    assert (
        "secret" not in public_address("https://user:secret@[::1/x")
        and shown_source("file:a@b") == "file:a@b"
    )


@pytest.mark.parametrize("name", REDIRECTIONS)
def test_redirections_lead_to_public_https_hosts_only(server, tmp_path, name, monkeypatch):
    before = len(Handler.asked)
    text = refusal(server + name, tmp_path / "a")
    assert "not a plain https" in text or "not a public host" in text or "not allowed" in text
    assert [each[0] for each in Handler.asked[before:]] == [name] and not (tmp_path / "a").exists()


def test_a_name_that_resolves_to_a_private_host_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setitem(REDIRECTIONS, "named", "https://localhost/x")
    assert "which is not a public host" in refusal(server + "named", tmp_path / "a")


@pytest.mark.parametrize("name", ["drip", "headers"])
def test_a_server_that_all_but_stands_still_is_left(server, tmp_path, name):
    began = time.monotonic()
    assert "the server sent" in refusal(server + name, tmp_path / "a", idle_seconds=1.0)
    assert time.monotonic() - began < 60


def test_time_and_size_have_limits(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "SLOWEST", 0)
    assert "takes longer than 1 s" in refusal(server + "drip", tmp_path / "a", total_seconds=1.0)
    assert "larger than 3 MiB" in refusal(server + "endless", tmp_path / "a", most_bytes=3 << 20)
    assert (tmp_path / "a").stat().st_size < 6 << 20
    assert "larger than" in refusal(server + "claims", tmp_path / "b")
    assert not (tmp_path / "b").exists() or (tmp_path / "b").stat().st_size == 0
    assert "ended after 32 of 1000 bytes" in refusal(server + "short", tmp_path / "a")


def test_what_a_server_says_is_shown_without_its_control_characters(server, tmp_path):
    text = refusal(server + "reason", tmp_path / "a")
    assert "answers 404" in text and "\x1b" not in text and "\x07" not in text


@pytest.mark.parametrize(
    "address",
    ["https://", "https:/x", "http://x/y", "https://x y/z", "https://127.0.0.1:99999999/x", "https://[/x"],
)
def test_what_is_no_address_is_one_sentence(address, tmp_path):
    refusal(address, tmp_path / "a")


def test_file_names_of_addresses():
    assert file_name("https://x/a/b%20c.obj?q#f") == "b c.obj" and file_name("https://x") == "download"
    for bad in (
        "https://x/%00.obj",
        "https://x/a%0ab",
        "https://x/" + "y" * 300,
        "https://x/é",
        "https://[/x",
    ):
        with pytest.raises(DownloadError) as caught:
            file_name(bad)
        check_sentence(str(caught.value))
