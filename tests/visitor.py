"""A browser of sorts, for the pages that are served to this machine."""

from __future__ import annotations

import http.client
from urllib.parse import urlencode

from palpate.serve.local import LocalServer


class Client:
    """A browser of sorts: keeps its cookie, follows nothing."""

    def __init__(self, server: LocalServer) -> None:
        self.server, self.cookie = server, ""

    def send(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        sent = {"Host": f"127.0.0.1:{self.server.port}", **({"Cookie": self.cookie} if self.cookie else {}), **headers}
        connection.request(method, path, body or None, sent)
        reply = connection.getresponse()
        text = reply.read().decode("utf-8", "replace")
        found = dict(reply.getheaders())
        connection.close()
        return reply.status, found, text

    def enter(self) -> Client:
        status, headers, _ = self.send("GET", f"/?token={self.server.token}")
        assert (status, headers["Location"]) == (303, "/")
        self.cookie = headers["Set-Cookie"].split(";")[0]
        return self

    def post(self, path: str = "/", **fields: object) -> tuple[int, dict[str, str], str]:
        return self.send("POST", path, urlencode(fields))
