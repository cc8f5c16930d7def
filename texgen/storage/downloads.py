"""Files from addresses that a user wrote down: https only, with limits, and no server is believed.

The address itself may be anywhere, an intranet included. Where a server redirects to must be https and
public: a name is resolved once, its address is checked, and that very address is connected to.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from texgen.errors import PlainError
from texgen.storage.plain_text import UNSHOWABLE, plain, shortened, without_passwords

IDLE_SECONDS = 60.0
SLOWEST = 1024  # bytes a second, over a time of IDLE_SECONDS
TOTAL_SECONDS = 6 * 3600.0
MOST_BYTES = 512 << 20
LONGEST_NAME = 120
_BLOCK = 1 << 18


class DownloadError(PlainError):
    """A file cannot be downloaded; the message is one sentence without passwords."""


def public_address(address: str) -> str:
    """An address as it may be shown: without user, password and fragment, in printable signs, shortened."""
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        address = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    except ValueError:  # e.g. brackets that are not closed
        address = without_passwords(address.partition("#")[0])
    return shortened(address)


def shown_source(source: str) -> str:
    """A mesh's source as tables and records show it: an address without its password."""
    return public_address(source) if source.startswith("https:") else without_passwords(source)


def file_name(address: str) -> str:
    """The name of the file behind an address, "download" where it has none. Raises DownloadError."""
    shown = public_address(address)
    try:
        address.encode("ascii")
        name = Path(unquote(urlsplit(address).path, errors="strict")).name or "download"
    except ValueError as error:
        raise DownloadError(f"{shown} is not an address ({shortened(error)}); check it.") from None
    if UNSHOWABLE.search(name):
        raise DownloadError(
            f"{shown} names a file with characters that cannot be printed; check the address."
        )
    if len(name.encode()) > LONGEST_NAME:
        raise DownloadError(
            f"{shown} names a file with {len(name)} letters; download it under a shorter name and use that."
        )
    return name


def download(
    address: str,
    target: Path,
    idle_seconds: float | None = None,
    total_seconds: float | None = None,
    most_bytes: int | None = None,
) -> None:
    """Write what an https address gives into a file. None: the limits of this module.

    idle_seconds: within it, a server must send SLOWEST bytes a second on average. Raises DownloadError in one
    sentence; what has been written until then stays, under a name that the caller removes.
    """
    shown = public_address(address)
    watch = _Watch(idle_seconds or IDLE_SECONDS, total_seconds or TOTAL_SECONDS)
    most = most_bytes or MOST_BYTES
    try:
        with watch, open_address(request_for(address), watch) as answer, open(target, "wb") as file:
            _copy(answer, file, most, watch, shown)
    except DownloadError:
        raise
    except urllib.error.HTTPError as error:
        raise DownloadError(
            f"{shown} answers {error.code} {shortened(error.reason, 80)}; check the address."
        ) from None
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of our own disk
        cause = getattr(error, "reason", None)
        if isinstance(cause, DownloadError):
            raise cause from None
        reason = watch.expired or shortened(without_passwords(cause or error or type(error).__name__), 160)
        raise DownloadError(f"{shown} cannot be downloaded ({reason})") from None


def request_for(
    address: str, method: str | None = None, schemes: Collection[str] = ("https",)
) -> urllib.request.Request:
    """A request for an address; a user and password in it go to its own host only, never to another.

    Raises ValueError when it is not an address of one of the schemes.
    """
    parts = urlsplit(address)
    credentials, _, host = parts.netloc.rpartition("@")
    if parts.scheme not in schemes or not host or UNSHOWABLE.search(address) or " " in address:
        raise ValueError(f"it is no {' or '.join(schemes)} address")
    request = urllib.request.Request(
        urlunsplit((parts.scheme, host, parts.path, parts.query, "")),
        headers={"User-Agent": "texreward"},
        method=method,
    )
    if credentials:
        token = base64.b64encode(unquote(credentials).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _copy(answer: Any, file: IO[bytes], most: int, watch: _Watch, shown: str) -> None:
    headers = getattr(answer, "headers", None)
    claimed = str(headers.get("Content-Length") or "") if headers is not None else ""
    size = int(claimed) if claimed.isascii() and claimed.isdigit() and len(claimed) < 20 else 0
    written = 0
    while size <= most and written <= most:
        block = answer.read(_BLOCK)
        if not block:
            break
        file.write(block)
        written += len(block)
        watch.bytes = written
    if max(size, written) > most:
        raise DownloadError(f"{shown} is larger than {most >> 20} MiB; download it yourself and use file:.")
    if watch.expired:
        raise OSError(watch.expired)
    if written < size:
        raise OSError(f"the connection ended after {written} of {size} bytes")


def open_address(request: urllib.request.Request, watch: _Watch) -> Any:
    """The answer to a request, after redirections; its connections are closed when the watch expires."""
    opener = urllib.request.OpenerDirector()
    handler = _Https(watch)
    for each in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirect(handler),
        urllib.request.HTTPErrorProcessor(),
        handler,
    ):
        opener.add_handler(each)
    return opener.open(request, timeout=watch.idle)


def _any_connection(connection: Any, place: tuple[str, int], *rest: Any) -> socket.socket:
    return socket.create_connection(place, *rest)


class _Watch(threading.Thread):
    """Ends a download that takes too long or all but stands still, wherever in it the server keeps us."""

    def __init__(self, idle: float, total: float) -> None:
        super().__init__(daemon=True)
        self.idle, self.total = idle, total
        self.bytes = 0
        self.expired = ""
        self.sockets: list[int] = []
        self._done = threading.Event()

    def run(self) -> None:
        began = since = time.monotonic()
        before = 0
        while not self._done.wait(min(0.2, self.idle / 4)):
            now = time.monotonic()
            if now - began > self.total:
                self.expired = f"it takes longer than {self.total:g} s"
            elif now - since > self.idle:
                if self.bytes - before < SLOWEST * self.idle:
                    self.expired = f"the server sent {self.bytes - before} bytes in {self.idle:g} s"
                since, before = now, self.bytes
            if self.expired:
                for connection in self.sockets:
                    _hang_up(connection)
                return

    def __enter__(self) -> _Watch:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()


def _hang_up(descriptor: int) -> None:
    """End what is sent and received on a socket, which whoever reads from it notices."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Redirections to https alone; from the first one on, all hosts must be public."""

    def __init__(self, https: _Https) -> None:
        self.https = https

    def redirect_request(self, request, file, code, message, headers, address):
        parts = urlsplit(address)
        if parts.scheme != "https" or "@" in parts.netloc:
            raise DownloadError(
                f"{public_address(request.full_url)} leads to {public_address(address)}, which is not a "
                "plain https address; use another source."
            )
        self.https.public_only = True
        return super().redirect_request(request, file, code, message, headers, address)


class _Https(urllib.request.HTTPSHandler):
    """Connections that the watch knows, and that refuse private hosts once there was a redirection."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch
        self.public_only = False

    def https_open(self, request):
        context = self._context  # type: ignore[attr-defined]  # the standard library's, without a stub
        return self.do_open(self._connection, request, context=context)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(host, **options)

        # Kept by themselves: a connection lets go of its socket once an answer reads from it.
        def connect(place: tuple[str, int], *rest: Any) -> socket.socket:
            make = self._public_connection if self.public_only else _any_connection
            made = make(connection, place, *rest)
            # TLS takes the socket over and leaves an empty one: the descriptor stays the same.
            self.watch.sockets.append(made.fileno())
            return made

        connection._create_connection = connect  # type: ignore[attr-defined]  # likewise
        return connection

    @staticmethod
    def _public_connection(connection: Any, place: tuple[str, int], *rest: Any) -> socket.socket:
        """Connect to a checked address of a host; behind a proxy, check the host that it is asked for."""
        host = connection._tunnel_host or place[0]
        try:
            found = socket.getaddrinfo(host, place[1], type=socket.SOCK_STREAM)
        except OSError:
            if connection._tunnel_host:  # the proxy resolves names that this machine cannot
                return socket.create_connection(place, *rest)
            raise
        addresses = [str(entry[4][0]) for entry in found]
        for each in addresses:
            if not ipaddress.ip_address(each.partition("%")[0]).is_global:
                raise DownloadError(
                    f"a redirection leads to {plain(host)}, which is not a public host ({each}); "
                    "use another source."
                )
        if connection._tunnel_host:
            return socket.create_connection(place, *rest)
        return socket.create_connection((addresses[0], place[1]), *rest)
