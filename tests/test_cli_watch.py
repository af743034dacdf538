"""`temporal-hitl watch` follows a run."""

from __future__ import annotations

import asyncio
import json
import uuid

from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, Loop, Step, Workflow
from temporal_hitl.cli._exits import Exit
from tests.shell import Shell
from tests.stage import ended, paused, replays, serving


def work() -> str:
    return "done"


def fail() -> None:
    raise ValueError("no good")


def inner() -> Workflow:
    return Workflow("cli_watched_inner", [Step("below", work)])


def outer() -> Workflow:
    gate = Step("go_on", work, requires_confirmation=True)
    rounds = Loop([Step("round", work)], name="rounds", max_iterations=2)
    return Workflow("cli_watched", [Step("inner", workflow=inner()), rounds, gate])


async def test_a_run_is_followed_to_its_end(env: WorkflowEnvironment) -> None:
    """Each thing that happens is a line, what waits comes with the commands that answer it, and the
    child run's lines stand further in; for programs each event is a line of JSON.
    """
    shell = Shell(env)
    async with serving(env, outer()) as client:
        run = await client.start(outer())
        await paused(client, run)
        until_paused = await shell("watch", run, "--until-paused")
        following = asyncio.create_task(shell("watch", run, "--json"))
        await client.resolve(run, Confirm(requirement_id="go_on", resolved_by="ana"))
        await ended(client, run)
        followed = await following

    told = [line[10:] for line in until_paused.out.splitlines()]
    assert (0, 0) == (until_paused.code, followed.code)
    assert f"{run} cli_watched begins" == told[0]
    assert {"inner begins", "  below is done", "rounds.2 begins, iteration 2 of 2 at most"} <= {
        *told
    }
    assert told[-2:] == [
        f"temporal-hitl confirm {run} go_on",
        f"temporal-hitl reject {run} go_on --feedback '...'",
    ]
    events = [json.loads(line) for line in followed.out.splitlines()]
    assert ("WorkflowStarted", "WorkflowCompleted") == (events[0]["event"], events[-1]["event"])
    assert "StepContinued" in {each["event"] for each in events}
    await replays(client.handle(run), outer())


async def test_how_it_ended(env: WorkflowEnvironment) -> None:
    """A run that fails or is cancelled ends the command with the code for it; so does none."""
    failing = Workflow("cli_watched_fails", [Step("fail", fail, on_error="fail", max_retries=0)])
    shell = Shell(env)
    async with serving(env, failing, outer()) as client:
        fails, stopped = await client.start(failing), await client.start(outer())
        await paused(client, stopped)
        await client.cancel(stopped)
        said = [await shell("watch", each) for each in (fails, stopped)]
        nowhere = await shell("watch", uuid.uuid4().hex)

    assert [Exit.not_well, Exit.not_well] == [each.code for each in said]
    assert "failed: " in said[0].out and "no good" in said[0].out
    assert f"{stopped} cancelled: " in said[1].out
    assert (Exit.not_there, "") == (nowhere.code, nowhere.out)
