"""Questions with places that a run fills in: `"Delete {rows} records?"`."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Loop, OnTimeout, Step, Workflow
from temporal_hitl._messages import LONGEST, fill_in, values_of
from temporal_hitl.workflow import MEMO_KEY
from tests.stage import details, ended, paused, replays, serving, until

VALUES = values_of({"table": "users", "rows": 1}, {"rows": 12_345, "share": 0.127}, 2)


@pytest.mark.parametrize(
    ("message", "filled"),
    [
        ("Delete {rows} of {table}?", "Delete 12345 of users?"),
        ("{rows:,} rows, {share:.0%}", "12,345 rows, 13%"),
        ("Round {iteration}: {previous_step_content}", 'Round 2: {"rows": 12345, "share": 0.127}'),
        ("{input}", '{"table": "users", "rows": 1}'),
        ("no place", "no place"),
        ("{{rows}} is {rows}", "{rows} is 12345"),
        ("Delete {nothing}?", "Delete {nothing}?"),
        ("{rows.__class__} {rows[0]} {} {0}", "{rows.__class__} {rows[0]} {} {0}"),
        ("{table:d} {rows!r} {rows:{share}}", "{table:d} {rows!r} {rows:{share}}"),
        ("{rows:9999999999}", "{rows:9999999999}"),
        ("a single { brace", "a single { brace"),
        ("}{", "}{"),
    ],
)
def test_what_is_filled_in(message: str, filled: str) -> None:
    """Names are filled in and nothing else; what cannot be stays as written, and never raises."""
    assert filled == fill_in(message, VALUES)


def test_a_long_value() -> None:
    """A long value is cut, and shows that it was."""
    assert f"Keep {'x' * LONGEST} ...?" == fill_in("Keep {input}?", {"input": "x" * 10_000})


def count() -> dict[str, Any]:
    return {"rows": 3, "customer": "Ada Lovelace"}


async def test_in_a_run(env: WorkflowEnvironment) -> None:
    """A person sees the question filled in; lists of all runs show it as its author wrote it."""
    asking = Step(
        "delete",
        count,
        requires_confirmation=True,
        confirmation_message="Delete {rows} rows of {customer} in {table}, {what}?",
    )
    definition = Workflow("fills", [Step("count", count), asking])
    async with serving(env, definition) as client:
        run = await client.start(definition, {"table": "orders"})
        (asked,) = (await paused(client, run)).requirements
        shown = await details(client.handle(run))
        memo = await (await client.handle(run).describe()).memo()
        (row,) = await until(lambda: listed(client, run))
        await client.resolve(run, Confirm(requirement_id="delete", digest=asked.digest))
        await ended(client, run)
        await replays(client.handle(run), definition)

    template = "Delete {rows} rows of {customer} in {table}, {what}?"
    assert "Delete 3 rows of Ada Lovelace in orders, {what}?" == asked.message
    assert asked.message in shown
    assert template == asked.template == row.message
    assert "Lovelace" not in str(memo[MEMO_KEY])


async def listed(client: HitlClient, run: str) -> list[Any]:
    return [row async for row in client.list_requirements(f"WorkflowId = '{run}'")]


async def test_in_each_iteration(env: WorkflowEnvironment) -> None:
    """In a loop the question names the iteration that it is about, and what that one is given."""

    def grow(step_input: Any) -> str:
        return f"{step_input.input}+"

    body = Step(
        "grow",
        grow,
        requires_confirmation=True,
        confirmation_message="Round {iteration} on {input}?",
        hitl_timeout=60,
        on_timeout=OnTimeout.approve,
    )
    loop = Loop([body], name="rounds", max_iterations=3, forward_iteration_output=True)
    definition = Workflow("iterates", [loop])
    messages: list[str] = []
    async with serving(env, definition) as client:
        run = await client.start(definition, "x")
        while (output := await client.wait(run, timeout=20)).is_paused:
            (asked,) = output.requirements
            messages.append(asked.message)
            await client.resolve(run, Confirm(requirement_id=asked.id))
        await replays(client.handle(run), definition)

    assert ["Round 1 on x?", "Round 2 on x+?", "Round 3 on x++?"] == messages
