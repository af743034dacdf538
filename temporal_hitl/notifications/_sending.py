"""Sends one notice to one URL: a signed webhook, or whatever apprise knows.

Blocking: called in a thread. What it returns and raises holds nothing of the URL; what the packages
below would log while it sends is left out, as they repeat URLs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from temporal_hitl._notices import Notice
from temporal_hitl._subscribers import secret_of
from temporal_hitl.notifications._subscribers import WEBHOOK, CannotTell, Subscriber
from temporal_hitl.notifications._texts import body, text, title

TIMEOUT = 5.0, 10.0
"""Seconds for a connection, and for the answer of a webhook."""
_LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry")
_sending = ContextVar("temporal_hitl_sending", default=False)
"""Not by thread: apprise sends in threads of its own, with the context of who calls."""


def send(notice: Notice, to: Subscriber, url: str) -> None:
    """Send the notice; raises `CannotTell`."""
    with _unlogged():
        try:
            why = _post(notice, to, url) if url.startswith(WEBHOOK) else _notify(notice, url)
        except ImportError as missing:
            why = f"the package {missing.name!r} is missing; pip install 'temporal-hitl[notify]'"
        except Exception as error:  # Whatever a package raises may repeat the URL.
            why = f"it cannot be sent: {type(error).__name__}"
    if why is not None:
        raise CannotTell(why)


def _post(notice: Notice, to: Subscriber, url: str) -> str | None:
    import requests
    from standardwebhooks.webhooks import Webhook

    if to.secret is None:
        return f"its webhooks cannot be signed: set {secret_of(to.name)} to whsec_..."
    try:
        signer = Webhook(to.secret)
    except Exception:  # Of base64, or of its own.
        return f"{secret_of(to.name)} is no secret of webhooks: whsec_ and base64"
    content, now = body(notice), datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "temporal-hitl",
        "webhook-id": notice.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signer.sign(notice.id, now, content),
    }
    # Only the status is read, however much there is behind it.
    options: dict[str, Any] = {"timeout": TIMEOUT, "allow_redirects": False, "stream": True}
    try:
        with requests.post(
            url.removeprefix(WEBHOOK), data=content.encode(), headers=headers, **options
        ) as answer:
            return None if 200 <= answer.status_code < 300 else f"it answered {answer.status_code}"
    except requests.RequestException as error:
        return f"no answer: {type(error).__name__}"


def _notify(notice: Notice, url: str) -> str | None:
    import apprise as untyped

    apprise: Any = untyped
    service = apprise.Apprise.instantiate(
        url, asset=apprise.AppriseAsset(app_id="temporal-hitl", async_mode=False)
    )
    if service is None:
        return f"the URL is none that apprise knows; webhooks are spelled {WEBHOOK}https://..."
    sent = apprise.Apprise(service).notify(
        title=title(notice), body=text(notice), body_format=apprise.NotifyFormat.TEXT
    )
    return None if sent else "apprise could not send it"


class _Unlogged(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _sending.get()


_unlogged_filter = _Unlogged()


@contextlib.contextmanager
def _unlogged() -> Generator[None]:
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_unlogged_filter)  # Once, however often it is added.
    before = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(before)
