"""What an operator sees of each kind of question, and the commands there, pasted as they are."""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import Any

from pydantic import BaseModel
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import HitlClient, Loop, Router, RunStatus, Step, StepInput, Workflow
from temporal_hitl.primitives import Node
from tests.modes import AFTER, draft
from tests.stage import cli, details, ended, paused, replays, serving


class Address(BaseModel):
    city: str
    zip: int | None = None


class Parcel(BaseModel):
    to: Address
    weight: float
    fragile: bool
    tags: list[str] = []


def told(step_input: StepInput) -> Any:
    return step_input.additional_data.get("user_input")


def secret(step_input: StepInput) -> Any:
    return {"key": "sk-live"}


def fails(step_input: StepInput) -> None:
    raise ConnectionError("unreachable & 'closed'")


FORM: dict[str, Any] = {"requires_user_input": True, "user_input_schema": Parcel}
REVIEW: dict[str, Any] = {"requires_output_review": True, "on_reject": "cancel"}
PAUSE: dict[str, Any] = {"on_error": "pause", "max_retries": 0}
ROUNDS: dict[str, Any] = {"requires_iteration_review": True}
FILLED = {"to": {"city": "...", "zip": None}, "weight": 0.0, "fragile": False, "tags": []}
WAYS = [Step("by air", draft), Step("by sea", draft)]
ASKED: dict[str, tuple[Node, str, list[tuple[str, Any]]]] = {
    "form": (
        Step("work", told, user_input_message="Where to, $HOME & `id`?", **FORM),
        "Where to, $HOME & `id`?",
        [("answer", [FILLED]), ("reject", [None])],
    ),
    "route": (
        Router(WAYS, name="work", requires_user_input=True),
        "Select a route from: by air, by sea",
        [("select", ["draft"]), ("reject", [None])],
    ),
    "review": (
        Step("work", draft, **REVIEW),
        "Review output of step 'work'?",
        [("confirm", ["draft"]), ("reject", None), ("edit", ["..."])],
    ),
    "iteration": (
        Loop([Step("in", draft)], "work", **ROUNDS),
        "Loop 'work' completed iteration 1 of 3. Accept it?"
        " (yes: the loop ends; no: the loop ends and its output is dropped)",
        [("confirm", ["draft"]), ("reject", [None]), ("edit", ["..."])],
    ),
    "error": (
        Step("work", fails, **PAUSE),
        "Step 'work' failed: builtins.ConnectionError: unreachable & 'closed'. Retry or skip?",
        [("retry", None), ("skip", [None])],
    ),
}


async def test_each_command_works(env: WorkflowEnvironment) -> None:
    """The details name the question, and each command there does what it says: the plain `temporal`
    command takes it as it stands.
    """
    definitions = {
        key: Workflow(f"paste {key}", [node, AFTER]) for key, (node, *_) in ASKED.items()
    }

    async def one(client: HitlClient, key: str, index: int) -> None:
        _, question, expected = ASKED[key]
        action, content = expected[index]
        run = await client.start(definitions[key])
        await paused(client, run)
        shown = await details(client.handle(run))
        commands = re.findall(r"^temporal .*$", shown, re.MULTILINE)
        assert len(expected) == len(commands), shown
        code, out, err = await cli(env, *shlex.split(commands[index])[1:])
        assert (code, err) == (0, ""), (commands[index], out)
        if action == "retry":
            await paused(client, run)
            await client.cancel(run)
        output = await ended(client, run)
        await replays(client.handle(run), definitions[key])

        assert f"### Waits for a person: {question}\n" in shown
        assert action == output.resolutions[0].action
        assert content == (output.content if output.status is RunStatus.completed else None)

    async with serving(env, *definitions.values()) as client:
        pastes = [(key, n) for key, (_, _, how) in ASKED.items() for n in range(len(how))]
        await asyncio.gather(*(one(client, *each) for each in pastes))


async def test_what_is_under_review_is_a_command_away(env: WorkflowEnvironment) -> None:
    """The details of a review do not hold what is reviewed; the command beside it shows it."""
    definition = Workflow("seen", [Step("work", secret, **REVIEW)])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        shown = await details(client.handle(run))
        (command,) = re.findall(r"What it has made: `(temporal [^`]*)`", shown)
        code, told, _ = await cli(env, *shlex.split(command)[1:], "-o", "json")
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), definition)

    assert (0, {"key": "sk-live"}) == (code, told["queryResult"][0]["open"][0]["output"])
    assert "sk-live" not in shown
