"""`temporal-hitl` starts runs, lists and shows them, and stops them."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    OpenRequirement,
    ResolutionRecord,
    RunStatus,
    Step,
    StepInput,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.cli._exits import Exit
from temporal_hitl.client import RunRow
from temporal_hitl.requirements import AnyRequirement
from tests.desk import Desk
from tests.shell import Shell, typed
from tests.stage import ended, paused, replays, serving, until

HOSTILE = "\x1b[2Jclear\x07 \x9b31m \u202egnp.exe [red]markup[/red]"


def take(step_input: StepInput) -> Any:
    return [step_input.input, step_input.additional_data]


def fail(step_input: StepInput) -> None:
    raise ValueError("no good")


def plain(name: str = "cli_plain") -> Workflow:
    return Workflow(name, [Step("take", take)])


def asking(name: str, message: str = "Go?", deadline: timedelta | None = None) -> Workflow:
    gate = Step(
        "go_on",
        take,
        requires_confirmation=True,
        confirmation_message=message,
        hitl_timeout=deadline,
    )
    return Workflow(name, [gate])


@pytest.mark.parametrize(
    ("words", "given", "content"),
    [
        ([], None, [None, {}]),
        (["users"], None, ["users", {}]),
        (['{"rows": [1]}'], None, [{"rows": [1]}, {}]),
        (["5"], None, [5, {}]),
        (['"5"'], None, ["5", {}]),
        (["-"], '{"from": "stdin"}', [{"from": "stdin"}, {}]),
        (["a", "--additional-data", '{"team": 1}'], None, ["a", {"team": 1}]),
    ],
    ids=["none", "text", "object", "number", "quoted", "stdin", "options"],
)
async def test_run_to_its_end(
    env: WorkflowEnvironment, words: list[str], given: str | None, content: Any
) -> None:
    """A run is started with what was typed: JSON as data, anything else as text."""
    shell = Shell(env)
    async with serving(env, plain()) as client:
        queue = ["--task-queue", client.task_queue]
        said = await shell("run", "cli_plain", *words, *queue, "--wait", "--json", given=given)
        output = WorkflowRunOutput.model_validate(said.data)

    assert (0, "") == (said.code, said.err)
    assert (RunStatus.completed, content) == (output.status, output.content)
    await replays(client.handle(output.run_id), plain())


async def test_run_and_do_not_wait(env: WorkflowEnvironment) -> None:
    """A run is started once: its id alone is written, and the same id again is refused."""
    shell, definition, mine = Shell(env), asking("cli_once"), f"mine-{uuid.uuid4().hex[:8]}"
    async with serving(env, definition) as client:
        words = ["run", "cli_once", "in", "--run-id", mine, "-t", client.task_queue]
        first, again = await shell(*words), await shell(*words)
        waiting = await shell("run", "cli_once", "in", "-t", client.task_queue, "--wait")
        stopped = await shell("cancel", mine)
        output = await ended(client, mine)
        ends = await shell("cancel", waiting.out.split()[0], "--wait")
        nowhere = await shell("cancel", f"{mine}x")

    assert (0, f"{mine}\n") == (first.code, first.out)
    assert (Exit.decided, "") == (again.code, again.out)
    assert f"temporal-hitl show {mine}" in again.err
    assert 0 == waiting.code and "PAUSED" in waiting.out
    assert (0, 0, Exit.not_there) == (stopped.code, ends.code, nowhere.code)
    assert f"temporal-hitl cancel {mine}\n" in nowhere.err or "runs` lists" in nowhere.err
    assert output.is_cancelled and "CANCELLED" in ends.out


async def test_a_run_that_fails(env: WorkflowEnvironment) -> None:
    """A run that was waited for and ended badly ends the command with a code of its own."""
    definition = Workflow("cli_fails", [Step("fail", fail, on_error="fail", max_retries=0)])
    async with serving(env, definition) as client:
        said = await Shell(env)("run", "cli_fails", "--wait", "-t", client.task_queue)

    assert Exit.not_well == said.code
    assert "ERROR" in said.out and "no good" in said.out
    await replays(client.handle(said.out.split()[0]), definition)


async def test_the_list_of_what_waits(env: WorkflowEnvironment) -> None:
    """The list has what waits in all runs, the nearest deadline first, narrowed as one wants."""
    soon, late = timedelta(hours=1), timedelta(days=2)
    definitions = [
        asking("cli_l1"),
        asking("cli_l2", deadline=late),
        asking("cli_l3", deadline=soon),
    ]
    shell = Shell(env)
    async with serving(env, *definitions) as client:
        mine = ["--query", f"TaskQueue = '{client.task_queue}'"]
        runs = [(await paused(client, await client.start(each))).run_id for each in definitions]

        async def listed(*words: str) -> list[OpenRequirement]:
            said = await shell("list", *mine, *words, "--json")
            return TypeAdapter(list[OpenRequirement]).validate_python(said.data)

        await until(lambda: _count(listed(), 3))
        by_deadline = [each.run_id for each in await listed()]
        by_age = [each.run_id for each in await listed("--sort", "age")]
        asked = [["--pipeline", "cli_l2"], ["--run", runs[2]], ["--root-run", runs[0]]]
        asked += [["--kind", "confirmation", "--limit", "1"], ["--kind", "route"], ["--overdue"]]
        narrowed = [[each.run_id for each in await listed(*words)] for words in asked]
        table = await shell("list", *mine)
        for each in runs:
            await client.cancel(each)

    assert [runs[2], runs[1], runs[0]] == by_deadline
    assert runs == by_age
    assert [[runs[1]], [runs[2]], [runs[0]], [runs[2]], [], []] == narrowed
    assert 0 == table.code
    first = table.out.splitlines()[1].split("  ")
    assert [runs[2], "go_on", "confirmation", "Go?"] == [each for each in first if each][:4]


async def _count(rows: Any, wanted: int) -> bool:
    return wanted == len(await rows)


async def test_the_list_of_runs(env: WorkflowEnvironment) -> None:
    """Each run stands once in the list, with how it stands, whether it waits or has ended."""
    shell, waits, done = Shell(env), asking("cli_r1"), plain("cli_r2")
    async with serving(env, waits, done) as client:
        mine = ["--query", f"TaskQueue = '{client.task_queue}'"]
        first, second = await client.start(waits, "in"), await client.start(done, "in")
        await paused(client, first)
        await ended(client, second)

        async def listed(*words: str) -> dict[str, RunRow]:
            said = await shell("runs", *mine, *words, "--json")
            rows = TypeAdapter(list[RunRow]).validate_python(said.data)
            return {each.run_id: each for each in rows}

        async def settled() -> dict[str, RunRow] | None:
            rows = await listed()
            return (
                rows if {"PAUSED", "COMPLETED"} == {each.status for each in rows.values()} else None
            )

        rows = await until(settled)
        narrowed = [
            list(await listed(*words))
            for words in (
                ["--status", "paused"],
                ["--status", "completed"],
                ["--status", "blocked"],
                ["--pipeline", "cli_r1"],
                ["--limit", "1"],
            )
        ]
        await client.cancel(first)

    assert (1, 0) == (rows[first].open, rows[second].open)
    assert [[first], [second], [], [first], [first]] == narrowed


async def test_what_is_shown_is_the_librarys_own(env: WorkflowEnvironment) -> None:
    """JSON is that of the library's models, so programs need no second shape; people read what is
    decided about, how, and until when.
    """
    shell, asks = (
        Shell(env),
        [{"kind": "output_review", "name": "look", "output": {"a": [1, None]}}],
    )
    async with serving(env, workflows=[Desk]) as client:
        run = await client.start("Desk", asks)
        await paused(client, run)
        as_json = await shell("show", run, "look", "--json")
        as_text = await shell("show", run, "look")
        answered = await shell("edit", run, "look", "-o", "-", "--json", given="by hand\n")
        await ended(client, run)

    asked: Any = TypeAdapter(AnyRequirement).validate_python(as_json.data)
    assert {"a": [1, None]} == asked.output
    for shown in ("look  output_review", "Well?", '"a": [', asked.digest):
        assert shown in as_text.out
    assert f"temporal-hitl edit {run} look --output '...'" in as_text.out
    assert "by hand\n" == ResolutionRecord.model_validate(answered.data).output


async def test_hostile_text_steers_no_terminal(env: WorkflowEnvironment) -> None:
    """What a run says reaches a terminal spelt out: no escape sequences, no turned lines, no
    markup; and JSON is plain ASCII.
    """
    shell, definition = Shell(env), asking("cli_hostile", message=HOSTILE)
    async with serving(env, definition) as client:
        mine = ["--query", f"TaskQueue = '{client.task_queue}'"]
        run = await client.start(definition, HOSTILE)
        await paused(client, run)

        async def table() -> Any:
            said = await shell("list", *mine)
            return said if run in said.out else None

        said = [await until(table), await shell("show", run), await shell("confirm", run)]
        as_json = await shell("show", run, "--json")
        await shell("confirm", run, "go_on", "--comment", HOSTILE)
        said.append(await shell("show", run))
        await ended(client, run)

    for each in said:
        text = each.out + each.err
        assert not set(text) & set("\x1b\x07\x9b\u202e"), text
        assert r"\x1b[2Jclear\x07 \x9b31m \u202egnp.exe [red]markup[/red]" in text
    assert as_json.out.isascii()
    assert HOSTILE == as_json.data["requirements"][0]["message"]


async def test_what_was_typed_wrongly() -> None:
    """A word that is no command, and an option that is none, end with the code for it."""
    for words in (["nothing"], ["list", "--nothing"], ["runs", "--status", "odd"], ["show"]):
        said = await typed(*words)
        assert (Exit.usage, "") == (said.code, said.out), words
        assert "Usage:" in said.err, words
    assert "Exit codes: 0 done" in (await typed("--help")).out
    assert (await typed("--version")).out.startswith("temporal-hitl 0.")


async def test_errors_for_programs(env: WorkflowEnvironment) -> None:
    """With `--json` an error is JSON too, on standard error, with the name of its exit code."""
    said = await Shell(env)("show", "no-such-run", "--json")

    told = json.loads(said.err)
    assert (Exit.not_there, "") == (said.code, said.out)
    assert ("not_there", None) == (told["error"], told["record"])
    assert "no-such-run" in told["message"]
