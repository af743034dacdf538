"""A place that subscribers are told at: a real HTTP server, which answers as a test wants."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

SECRET = "whsec_c2VjcmV0LW9mLXRoZS13ZWJob29r"
SECRETS = ("c2VjcmV0LW9mLXRoZS13ZWJob29r", "path-with-a-token")
"""What must stand nowhere."""


@dataclass
class Call:
    """One request that came."""

    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> str:
        return self.body["type"]

    @property
    def data(self) -> dict[str, Any]:
        return self.body["data"]

    def verified(self) -> Any:
        """Return the body; raises where the signature is not of `SECRET`, or old."""
        return Webhook(SECRET).verify(self.text, self.headers)


@dataclass
class Sink:
    """What came, in order, and how it is answered: each status once, then 204."""

    port: int
    calls: list[Call] = field(default_factory=list[Call])
    statuses: list[int] = field(default_factory=list[int])
    delay: float = 0.0

    @property
    def webhook(self) -> str:
        return f"webhook+http://127.0.0.1:{self.port}/path-with-a-token"

    def told(self) -> list[tuple[str, str]]:
        """Return the events, and of which requirements."""
        return [(each.event, each.data["requirement_id"]) for each in self.calls]


@contextlib.contextmanager
def sink(port: int = 0, statuses: Sequence[int] = (), delay: float = 0.0) -> Generator[Sink]:
    """Listen for the length of the block; on a free port unless one is given."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            call = Call(
                {k.lower(): v for k, v in self.headers.items()}, self.rfile.read(length).decode()
            )
            here.calls.append(call)
            time.sleep(here.delay)
            with contextlib.suppress(ConnectionError):
                self.send_response(here.statuses.pop(0) if here.statuses else 204)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    here = Sink(server.server_address[1], statuses=list(statuses), delay=delay)
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
