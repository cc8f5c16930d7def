"""A hub on this machine: repositories from folders, with the few addresses that huggingface_hub asks."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(repositories: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serves folders by hub id; gives the address for HF_ENDPOINT and the list of what was asked for."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body: bool):
            path = self.path.partition("?")[0].strip("/")
            asked.append(f"{self.command} {path}")
            parts = path.split("/")
            if not path:
                return self.send(200, b"hub", body)
            if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) in repositories:
                folder = repositories["/".join(parts[2:4])]
                files = [each for each in sorted(folder.rglob("*")) if each.is_file()]
                siblings = [
                    {"rfilename": each.relative_to(folder).as_posix(), "size": each.stat().st_size}
                    for each in files
                ]
                if parts[4:5] == ["tree"]:
                    tree = [
                        {"type": "file", "path": each["rfilename"], "size": each["size"], "oid": "0" * 40}
                        for each in siblings
                    ]
                    return self.send(200, json.dumps(tree).encode(), body)
                info = {"id": "/".join(parts[2:4]), "modelId": "/".join(parts[2:4]), "sha": COMMIT}
                return self.send(200, json.dumps({**info, "siblings": siblings}).encode(), body)
            if len(parts) > 4 and parts[2] == "resolve" and "/".join(parts[:2]) in repositories:
                file = repositories["/".join(parts[:2])] / "/".join(parts[4:])
                if file.is_file():
                    data = file.read_bytes()
                    etag = hashlib.sha256(data).hexdigest()
                    return self.send(200, data, body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
            return self.send(404, b"", body, {"X-Error-Code": "EntryNotFound"})

        def send(self, status: int, data: bytes, body: bool, headers: dict[str, str] | None = None):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
