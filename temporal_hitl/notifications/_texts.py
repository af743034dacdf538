"""What a notice says: a title and a text for people, and a JSON body for programs."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from temporal_hitl._notices import Event, Notice

ADDRESS = "HITL_URL"
"""The environment variable with the public address of the inbox."""
_TITLES = {
    Event.opened: "Waits for a decision",
    Event.due: "About to be late",
    Event.closed: "Decided",
}


def link(notice: Notice, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the requirement's page, where the environment says where pages are."""
    address = environ.get(ADDRESS, "").strip().rstrip("/")
    if not address:
        return None
    run, asked = quote(notice.run_id, safe=""), quote(notice.requirement_id, safe="")
    return f"{address}/inbox/runs/{run}/requirements/{asked}"


def command(notice: Notice) -> str:
    """Return the command that shows the requirement."""
    return shlex.join(["temporal-hitl", "show", notice.run_id, notice.requirement_id])


def payload(notice: Notice) -> dict[str, Any]:
    """Return the notice as the body of a webhook."""
    data = notice.model_dump(mode="json", exclude={"event", "at", "chain"})
    data |= {"link": link(notice), "command": command(notice)}
    return {"type": notice.event.value, "timestamp": notice.at.isoformat(), "data": data}


def body(notice: Notice) -> str:
    """Return the payload as JSON text."""
    return json.dumps(payload(notice), ensure_ascii=True)


def title(notice: Notice) -> str:
    """Return what stands in a subject: one line."""
    said = _TITLES[notice.event]
    if notice.outcome is not None and notice.outcome.action == "withdraw":
        said = "No longer asked"
    return " ".join(f"{said}: {notice.pipeline}, {notice.name}".split())


def text(notice: Notice) -> str:
    """Return the message below it."""
    lines = [notice.message, "", f"{notice.requirement_id} ({notice.kind}) of run {notice.run_id}"]
    if notice.outcome is not None:
        lines += [f"{notice.outcome.told} (identity: {notice.outcome.identity.value})"]
    elif notice.deadline is not None and notice.on_timeout is not None:
        until = _when(notice.deadline)
        lines += [f"until {until}; then the deadline acts: {notice.on_timeout.value}"]
    return "\n".join([*lines, "", link(notice) or command(notice)])


def _when(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
