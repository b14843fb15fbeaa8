"""A web server for one person at this machine: bound to 127.0.0.1, behind a secret link, without scripts or outside resources.

The one place for what keeps a local page safe from other pages and other users of the machine:

- a token of 256 bits, drawn at every start, in the link that is printed; the first visit trades it for a cookie, so that it
  stands in no address bar (HttpOnly; SameSite=Lax, for the first visit comes from a file of ours, and no GET changes anything);
- the Host header must name this server (no DNS rebinding), the Origin of a form must be this server's (no foreign forms);
- a Content-Security-Policy that allows no script, no frame and nothing from elsewhere;
- bounded requests, no log, no name of the software.

What is shown is the application's business, and text from outside has to be escaped there (``jinja2`` with autoescape).
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from palpate.errors import RunError

HOST = "127.0.0.1"
COOKIE = "palpate"
LARGEST_FORM = 64 * 1024
PATIENCE = 15.0  # seconds a connection may stay silent
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a page is asked: GET or POST, the path, and the fields of its query or form."""

    method: str
    path: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a page answers. ``to``: go there instead, by GET."""

    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    to: str = ""


App = Callable[[Request], Reply]


class LocalServer:
    """Serves an application to whoever has the link. One request at a time reaches the application. Use as a context manager."""

    def __init__(self, app: App, *, port: int = 0) -> None:
        self._app, self._lock = app, threading.Lock()
        self.token = secrets.token_urlsafe(32)
        try:
            self._server = ThreadingHTTPServer((HOST, port), _handler(self))
        except (OSError, OverflowError) as fault:
            raise RunError(
                f"port {port} cannot be used: {fault}", where="--port", hint="leave --port out: a free one is taken"
            ) from None
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    @property
    def link(self) -> str:
        """Where the page is, token included: for the person alone."""
        return f"http://{HOST}:{self.port}/?token={self.token}"

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def serve(self) -> None:
        """Answer until ``stop`` is called, or Ctrl-C."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """End ``serve`` from another thread, or from a request."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()

    def close(self) -> None:
        """Free the port."""
        self._server.server_close()

    def answer(self, request: Request) -> Reply:
        """The application's reply."""
        with self._lock:
            return self._app(request)

    def hosts(self) -> set[str]:
        """What a Host header may say."""
        return {f"{name}:{self.port}" for name in (HOST, "localhost")}

    def knows(self, token: str | None) -> bool:
        """Whether that is the token, compared in constant time."""
        return token is not None and hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())


def _handler(server: LocalServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        timeout = PATIENCE
        server_version, sys_version = "local", ""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            fields = _fields(url.query)
            if not self._from_here():
                self._send(_refusal(403, "This address is not the page's own."))
            elif server.knows(fields.get("token")):
                rest = urlencode({name: value for name, value in fields.items() if name != "token"}, errors="replace")
                self._send(Reply(status=303, to=(url.path or "/") + (f"?{rest}" if rest else "")), cookie=True)
            elif not server.knows(self._cookie()):
                self._send(_refusal(403, "Open the link that the terminal shows."))
            else:
                self._send(server.answer(Request("GET", url.path, fields)))

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not self._from_here() or not server.knows(self._cookie()):
                self._send(_refusal(403, "Open the link that the terminal shows."))
            elif not length.isdecimal() or int(length) > LARGEST_FORM:
                self._send(_refusal(413, "Too much was sent."))
            else:
                form = self.rfile.read(int(length)).decode("utf-8", "replace")
                self._send(server.answer(Request("POST", urlsplit(self.path).path, _fields(form))))

        def _from_here(self) -> bool:
            """Host, and Origin where there is one, are this server's."""
            hosts, origin = server.hosts(), self.headers.get("Origin")
            own = origin is None or origin in {f"http://{host}" for host in hosts}
            return self.headers.get("Host", "") in hosts and own and len(self.headers.get_all("Host") or ()) == 1

        def _cookie(self) -> str | None:
            try:
                found = SimpleCookie(self.headers.get("Cookie", "")).get(f"{COOKIE}-{server.port}")
            except CookieError:
                return None
            return None if found is None else found.value

        def _send(self, reply: Reply, *, cookie: bool = False) -> None:
            self.send_response(reply.status)
            for name, value in SECURITY.items():
                self.send_header(name, value)
            if cookie:
                flags = "HttpOnly; SameSite=Lax; Path=/"
                self.send_header("Set-Cookie", f"{COOKIE}-{server.port}={server.token}; {flags}")
            if reply.to:
                self.send_header("Location", reply.to)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it overrides
            """Nothing is logged: a link holds the token, a form what a person read."""

    return Handler


def _fields(text: str) -> dict[str, str]:
    try:
        return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True, max_num_fields=50).items()}
    except ValueError:
        return {}


def _refusal(status: int, why: str) -> Reply:
    return Reply(why.encode(), "text/plain; charset=utf-8", status)
