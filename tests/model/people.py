"""What people do in a random run: the answer to each question, and what they try around it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from temporal_hitl import Answer, Confirm, HitlClient, Retry, Select, Skip
from temporal_hitl.errors import AlreadyResolved, MalformedResolution, UnknownRequirement
from temporal_hitl.requirements import AnyRequirement, AnyResolution, parse_resolution
from tests.model.trees import Asks, Box, Turn

WAITS = "time_out"
"""The action of somebody who does not answer."""


@dataclass(frozen=True)
class Asked:
    """A question, as far as an answer to it depends on it."""

    kind: str
    count: int
    """How many questions of its node came before it."""
    retries: int = 0
    """How many of its retries are used."""


@dataclass(frozen=True)
class Way:
    """What becomes of a question: an action, and what goes with it."""

    action: str
    payload: Any = None


def turn_of(node: Any, asked: Asked) -> Turn:
    return node.asks.turns[asked.count % len(node.asks.turns)]


def way(node: Any, asked: Asked) -> Way:
    """Return how this question is answered: the same to the model and to the real run."""
    pick = turn_of(node, asked).pick
    possible = ways(node, asked, pick // 4)
    return possible[pick % len(possible)]


def ways(node: Any, asked: Asked, variant: int) -> list[Way]:
    asks: Asks = node.asks
    waits = [Way(WAITS)] * 2 if asks.on_timeout else []
    no = Way("reject", "better" if variant else None)
    match asked.kind:
        case "user_input":
            return [Way("answer", values(asks.form, variant)), no, *waits]
        case "route":
            return [Way("select", choices(node, variant)), no, *waits]
        case "error":
            used = 2 if asks.max_error_retries is None else asks.max_error_retries
            again = [Way("retry")] * 2 if asked.retries < used else []
            return [*again, Way("skip"), *waits]
        case "confirmation":
            return [Way("confirm"), no, *waits]
        case _:
            no = [] if ends_the_run(asks, asked) and not asks.fatal else [no, no]
            return [Way("confirm"), *no, Way("edit", f"edited {asked.count}"), *waits]


def ends_the_run(asks: Asks, asked: Asked) -> bool:
    """Return whether a rejection would ask for one retry too many."""
    review = asked.kind == "output_review"
    return review and asks.on_reject == "retry" and asked.retries >= asks.max_retries


def values(form: str | None, variant: int) -> dict[str, Any]:
    """Return what somebody fills in: all of it, or as little as possible."""
    if variant:
        return {"n": variant, "note": "x"}
    return {"n": 0} if form == "required" else {}


def choices(node: Box, variant: int) -> list[str]:
    """Return what somebody selects: one choice, or two where that is allowed."""
    names = [child.name for child in node.children]
    start = variant % len(names)
    turned = [*names[start:], *names[:start]]
    return turned[: 2 if node.asks.several else 1]


# What reaches the run

WRONG = {
    "confirmation": Retry,
    "user_input": Confirm,
    "route": Skip,
    "output_review": Skip,
    "iteration_review": Retry,
    "error": Confirm,
}


PAYLOAD = {"answer": "values", "select": "choices", "edit": "output", "reject": "feedback"}
"""The field of each action that has one of its own."""


def resolution(given: Way, key: str) -> AnyResolution:
    sent = {"requirement_id": key, "decision_id": uuid.uuid4().hex, "action": given.action}
    payload = PAYLOAD.get(given.action)
    return parse_resolution(sent if payload is None else {**sent, payload: given.payload})


def wrong(node: Any, asked: Asked, key: str) -> AnyResolution:
    """Return what somebody tries that does not answer the question."""
    match turn_of(node, asked).first, asked.kind:
        case "id", _:
            return Confirm(requirement_id=f"{key}.nowhere")
        case "values", "user_input" if node.asks.form != "any":
            return Answer(requirement_id=key, values={"n": "many", "what": 1})
        case "values", "route":
            names = [node.children[0].name] * 2 if len(key) % 2 else ["nowhere"]
            return Select(requirement_id=key, choices=tuple(names))
        case "values", "error" if asked.retries == node.asks.max_error_retries:
            return Retry(requirement_id=key)
        case _, kind:
            return WRONG[kind](requirement_id=key)


async def answer(
    client: HitlClient, run: str, node: Any, asked: Asked, requirement: AnyRequirement
) -> None:
    """Do with a question what its turn says; what is wrong is refused, and changes nothing."""
    turn, key = turn_of(node, asked), requirement.id
    if turn.first is not None:
        await refuse(client, run, wrong(node, asked, key), turn)
    sent = resolution(way(node, asked), key)
    if turn.door == "signal":
        await client.handle(run).signal("resolve", sent.model_dump(mode="json"))
    else:
        await client.resolve(run, sent)
    if turn.again == "same":
        record = await client.resolve(run, sent)
        assert (sent, turn.door) == (record.resolution, record.door)
    if turn.again == "other":
        other = resolution(way(node, asked), key)
        with pytest.raises(AlreadyResolved) as lost:
            await client.resolve(run, other)
        assert lost.value.record is not None


async def refuse(client: HitlClient, run: str, tried: AnyResolution, turn: Turn) -> None:
    if turn.door == "signal":
        # Nobody is told; the run counts it among what it refused.
        await client.handle(run).signal("resolve", tried.model_dump(mode="json"))
        return
    with pytest.raises(UnknownRequirement if turn.first == "id" else MalformedResolution):
        await client.resolve(run, tried)
