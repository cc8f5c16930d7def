"""The studio's server: a handful of fixed addresses on this machine, below a path that nobody can guess.

Every address begins with a secret drawn at the start, so that neither another page of the browser nor
another user of the machine can ask for anything; names of other hosts are refused, against rebinding.
"""

from __future__ import annotations

import json
import queue
import re
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from report.gallery.gallery_page import VIEWER
from workflow.cli.studio.session import Busy, Session
from workflow.runtime.step_errors import plain_sentence

HERE = "127.0.0.1"
MOST_BYTES = 96 * 2**20
"""Of a request's body: a texture of 4096 texels a side as PNG, in base64, is below."""
HEARTBEAT = 15.0
PAGE = Path(__file__).parent
FILES = {
    "": (PAGE / "page.html", "text/html; charset=utf-8"),
    "page.js": (PAGE / "page.js", "text/javascript; charset=utf-8"),
    "model-viewer.js": (VIEWER, "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class Handler(BaseHTTPRequestHandler):
    """One request. The server holds `session` and `secret`."""

    server: Server

    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that a body, or a next request, is waited for

    def log_message(self, *_: Any) -> None:
        """Nothing: the terminal is for what is painted."""

    def do_GET(self) -> None:
        place = self._place()
        if place is None:
            return
        session = self.server.session
        if place in FILES:
            return self._file(*FILES[place])
        if place == "events":
            return self._events()
        if place == "mesh.glb":
            return self._file(self.server.bare, "model/gltf-binary")
        named = re.fullmatch(r"results/(\d{1,9})\.(glb|png)", place)
        result = session.results.get(int(named[1])) if named else None
        if named is None or result is None:
            return self._refuse(404, "There is no such address.")
        self._file(*((result.glb, "model/gltf-binary") if named[2] == "glb" else (result.png, "image/png")))

    def do_POST(self) -> None:
        place = self._place()
        if place is None:
            return
        if place == "stop":
            self.server.session.stop()
            self.close_connection = True  # whatever body it had
            return self._send(200, b"{}")
        asked = {"paint": self.server.session.submit, "start": self.server.session.start_from}.get(place)
        if asked is None:
            return self._refuse(404, "There is no such address.")
        given = self._body()
        if given is None:
            return
        try:
            answer = asked(given)
        except Exception as error:
            sentence = plain_sentence(error) or (str(error) if isinstance(error, ValueError) else None)
            if sentence is None:
                raise
            return self._refuse(409 if isinstance(error, Busy) else 400, sentence)
        self._send(202, json.dumps(answer).encode())

    def _place(self) -> str | None:
        """What is asked for, below the secret; None where the request was refused."""
        names = {f"{name}:{self.server.server_port}" for name in (HERE, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in names:
            self._refuse(403, "This server answers to 127.0.0.1 and localhost alone.")
        elif origin is not None and origin.removeprefix("http://") not in names:
            self._refuse(403, "This server answers to its own page alone.")
        else:
            first, _, place = self.path.partition("?")[0].lstrip("/").partition("/")
            if secrets.compare_digest(first.encode(), self.server.secret.encode()):
                return place
            self._refuse(404, "There is no such address; take the one that the terminal shows.")
        return None

    def _body(self) -> dict[str, Any] | None:
        """The object of a JSON body; None where the request was refused."""
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            return self._refuse(415, "Send JSON.")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,12}", length):
            return self._refuse(411, "Say how long the request is.")
        if int(length) > MOST_BYTES:
            return self._refuse(413, f"That is more than {MOST_BYTES >> 20} MiB; give a smaller picture.")
        try:
            given = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            given = None
        return given if isinstance(given, dict) else self._refuse(400, "That is no JSON object.")

    def _events(self) -> None:
        """Server-sent events until the page is gone."""
        listener = self.server.session.listen()
        try:
            self._head(200, "text/event-stream", None)
            while self.server.session.hears(listener):
                try:
                    event = listener.get(timeout=HEARTBEAT)
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                except queue.Empty:
                    self.wfile.write(b": still here\n\n")
                self.wfile.flush()
        except OSError:  # it was closed
            pass
        finally:
            self.server.session.forget(listener)

    def _file(self, path: Path, kind: str) -> None:
        try:
            body = path.read_bytes()
        except FileNotFoundError:  # a result that made room for a new one just now
            return self._refuse(404, "There is no such file any more.")
        self._send(200, body, kind)

    def _refuse(self, status: int, sentence: str) -> None:
        self.close_connection = True  # a body may be left unread
        self._send(status, json.dumps({"said": sentence}).encode())

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int | None) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        if length is None or self.close_connection:
            self.close_connection = True
            self.send_header("Connection", "close")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1 alone. port: 0 = any free one. bare: the GLB that is shown before anything is
    painted. Raises OSError where the port is taken."""

    daemon_threads = True

    def __init__(self, session: Session, bare: Path, port: int = 0) -> None:
        super().__init__((HERE, port), Handler)
        self.session, self.bare, self.secret = session, bare, secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HERE}:{self.server_port}/{self.secret}/"
