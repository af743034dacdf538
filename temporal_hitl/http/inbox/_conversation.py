"""What an agent has said so far, beside what it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporal_hitl.conversation import Said
from temporal_hitl.drafts import OF_AGENTS
from temporal_hitl.errors import NoConversation, OperatorError, RunError
from temporal_hitl.http._service import Service
from temporal_hitl.http.inbox._showing import Shown, shown
from temporal_hitl.requirements import AnyRequirement

LAST = 30
"""Messages that a page shows, the latest; the HTTP API has all."""


@dataclass(frozen=True)
class Heard:
    """One thing that was said, as it is shown."""

    role: str
    text: Shown | None
    calls: list[tuple[str, Shown]]
    """The tools that the agent calls with it, with the arguments that it gives."""
    results: list[tuple[str, str, Shown]]
    """What came of calls: the tool, how it ended, and the result."""


async def heard(here: Service, run_id: str, asked: AnyRequirement) -> tuple[list[Heard], int]:
    """Return the latest of what the agent that asks has said and was told, and how much was before;
    nothing where no agent asks, or nobody is there to tell.
    """
    if not isinstance(asked, OF_AGENTS):
        return [], 0
    try:
        said = (await here.client.conversation(run_id, asked.path)).messages
    except (NoConversation, OperatorError, RunError):
        return [], 0
    return [_heard(each) for each in said[-LAST:]], max(0, len(said) - LAST)


def _heard(said: Said) -> Heard:
    raw: Sequence[Any] = [] if said.raw is None else [said.raw]
    text = shown(said.text) if said.text else shown(raw[0]) if raw else None
    return Heard(
        said.role,
        text,
        [(each.tool, shown(each.arguments)) for each in said.calls],
        [(each.tool or "", each.outcome, shown(each.result)) for each in said.results],
    )
