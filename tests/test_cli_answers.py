"""`temporal-hitl` answers every kind of requirement, and helps where an id is not right."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    HitlClient,
    Loop,
    Router,
    RunStatus,
    Step,
    StepInput,
    UserInputField,
    Workflow,
)
from temporal_hitl.cli._exits import Exit
from tests.shell import Said, Shell
from tests.stage import ended, new_queue, paused, replays, serving, until

FORM = [
    UserInputField("format", allowed_values=("pdf", "html")),
    UserInputField("pages", "int"),
    UserInputField("charts", "bool", required=False, value=True),
    UserInputField("tags", "list", required=False),
]


def work(step_input: StepInput) -> Any:
    return step_input.previous_step_content


def told(step_input: StepInput) -> Any:
    return step_input.additional_data["user_input"]


def draft(step_input: StepInput) -> str:
    feedback = step_input.additional_data.get("rejection_feedback")
    return f"draft {feedback}" if feedback else "draft"


def breaks(step_input: StepInput) -> None:
    raise OSError("no such table")


def every_kind() -> Workflow:
    quick, deep = Step("quick", work), Step("deep", work)
    return Workflow(
        "cli_every_kind",
        [
            Step("begin", work, requires_confirmation=True),
            Step("form", told, requires_user_input=True, user_input_schema=FORM),
            Router([quick, deep], name="depth", requires_user_input=True),
            Step("draft", draft, requires_output_review=True, on_reject="retry"),
            Loop([Step("round", work)], name="rounds", requires_iteration_review=True),
            Step("broken", breaks, on_error="pause", max_retries=0),
        ],
    )


def asking(name: str) -> Workflow:
    question = f"Go on with {name}?"
    return Workflow(
        name, [Step("go_on", work, requires_confirmation=True, confirmation_message=question)]
    )


async def in_turn(client: HitlClient, shell: Shell, run: str, *commands: list[str]) -> list[Said]:
    """Type each command once the run waits for a person."""
    said = list[Said]()
    for verb, *words in commands:
        await paused(client, run)
        said.append(await shell(verb, run, *words, "--by", "ana"))
    return said


async def test_every_kind_is_answered(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """Each kind of requirement has its command, and the values come as the form wants them."""
    (tmp_path / "new.json").write_text('{"text": null}')
    shell = Shell(env)
    async with serving(env, every_kind()) as client:
        run = await client.start(every_kind(), "in")
        values = ["--set", "format=pdf", "--set", "pages=5", "--set", "charts=no"]
        said = await in_turn(
            client,
            shell,
            run,
            ["confirm", "begin", "--comment", "looked"],
            ["answer", "form", *values, "--set", "tags=a, b"],
            ["select", "depth", "deep"],
            ["reject", "draft", "--feedback", "again"],
            ["edit", "draft~2", "--output", f"@{tmp_path / 'new.json'}"],
            ["confirm", "rounds.1"],
            ["retry", "broken"],
            ["skip", "broken~2"],
        )
        output = await ended(client, run)

    assert [(0, "")] * 8 == [(each.code, each.err) for each in said]
    assert "begin: ana decided 'confirm' by update at" in said[0].out
    assert said[0].out.endswith(": looked\n")
    records = {each.requirement_id: each for each in output.resolutions}
    assert {"format": "pdf", "pages": 5, "charts": False, "tags": ["a", "b"]} == records[
        "form"
    ].values
    assert ("deep",) == records["depth"].choices
    assert {"text": None} == records["draft~2"].output
    assert ["ana"] * 8 == [each.resolved_by for each in output.resolutions]
    assert ["retry", "skip"] == [records[each].action for each in ("broken", "broken~2")]
    assert RunStatus.completed is output.status
    await replays(client.handle(run), every_kind())


async def test_what_does_not_fit(env: WorkflowEnvironment) -> None:
    """An answer that does not fit is refused with the reason and an exit code, and changes
    nothing; none is a traceback.
    """
    shell = Shell(env)
    async with serving(env, every_kind()) as client:
        run = await client.start(every_kind(), "in")
        await in_turn(client, shell, run, ["confirm", "begin"])
        await paused(client, run)
        cases: list[tuple[list[str], Exit, str]] = [
            (["answer", run, "form"], Exit.usage, "the form has format (pdf or html), pages"),
            (["answer", run, "form", "--set", "pages"], Exit.usage, "NAME=VALUE, not 'pages'"),
            (["answer", run, "form", "--values", "[1]"], Exit.usage, "a JSON object"),
            (["answer", run, "form", "--values", "{"], Exit.usage, "this is no JSON"),
            (["answer", run, "form", "--values", "@nowhere"], Exit.usage, "cannot read 'nowhere'"),
            (["answer", run, "form", "--set", "format=doc"], Exit.refused, "'doc' is not one of"),
            (["answer", run, "form", "--set", "pages=x"], Exit.refused, "'x' is not of type"),
            (["answer", run, "form", "--set", "format=pdf"], Exit.refused, "missing: pages"),
            (["confirm", run, "form"], Exit.refused, "use answer, reject"),
            (["select", run, "form", "a"], Exit.refused, "use answer, reject"),
            (["confirm", run, "begin"], Exit.decided, "ana decided 'confirm'"),
            (["reject", run, "form", "--digest", "old"], Exit.refused, "look again"),
        ]
        said = [await shell(*words) for words, _, _ in cases]
        output = await client.get(run)
        await client.cancel(run)

    for (words, code, sentence), each in zip(cases, said, strict=True):
        assert (code, "") == (each.code, each.out), words
        assert each.err.startswith("error: ") and 1 == each.err.count("\n"), words
        assert sentence in each.err, words
    assert ["form"] == [each.id for each in output.requirements]
    assert ["begin"] == [each.requirement_id for each in output.resolutions]


async def test_nothing_is_answered_that_was_not_named(env: WorkflowEnvironment) -> None:
    """Where the run or the requirement is left out nothing is decided, even if one alone waits; the
    commands that would are told, and work when they are pasted.
    """
    shell, definition = Shell(env), asking("cli_unnamed")
    async with serving(env, definition) as client:
        run = await client.start(definition, "in", run_id=f"it's $run & {uuid.uuid4().hex[:8]}")
        await paused(client, run)
        bare = await shell("confirm")
        no_requirement = await shell("reject", run, "--feedback", "not now")
        untouched = await client.get(run)
        command = no_requirement.err.splitlines()[1].strip()
        pasted = await shell.pasted(command)
        output = await ended(client, run)

    assert (Exit.usage, Exit.usage) == (bare.code, no_requirement.code)
    assert "name a run and a requirement" in bare.err
    assert [] == untouched.resolutions
    assert "go_on --feedback 'not now'  # Go on with cli_unnamed?" in command
    assert (0, "not now") == (pasted.code, output.resolutions[0].feedback)
    await replays(client.handle(run), definition)


async def test_ids_that_are_almost_right(env: WorkflowEnvironment) -> None:
    """Part of an id, and an id with a slip, are answered with what was meant; quotes, spaces and a
    page of the Web UI around an id are taken off.
    """
    shell, definition = Shell(env), asking("cli_almost")
    async with serving(env, definition) as client:
        run = await client.start(definition, "in", run_id=f"almost-{uuid.uuid4().hex[:8]}")
        await paused(client, run)
        part = await shell("confirm", run, "go")
        slip = await shell("confirm", run, "go-on")
        nothing_like = await shell("show", run, "zzz")
        no_run = await until(lambda: helped(shell("confirm", run[:-3], "go_on")))
        nowhere = await shell("show", uuid.uuid4().hex)
        page = f"http://localhost:8233/namespaces/default/workflows/{run}/some-id/history"
        shown = await shell("show", page, "--json")
        pasted = await shell("confirm", f" '{run}' ", "`go_on`")
        await ended(client, run)
        too_late = await shell("answer", run, "go_on", "--set", "a=1")

    for each in (part, slip, nothing_like, no_run, nowhere, too_late):
        assert (Exit.not_there, "") == (each.code, each.out)
    for each in (part, slip):
        assert re.search(rf"did you mean:\n  temporal-hitl confirm {run} go_on  # Go on", each.err)
    assert f"it waits for:\n  temporal-hitl show {run} go_on" in nothing_like.err
    assert f"did you mean:\n  temporal-hitl confirm {run} go_on\n" in no_run.err
    assert "`temporal-hitl runs` lists those that there are" in nowhere.err
    assert (0, run) == (shown.code, shown.data["run_id"])
    assert 0 == pasted.code
    assert "nothing at all now" in too_late.err


async def helped(said: Awaitable[Said]) -> Said | None:
    """Return what was said once the list of runs, which lags, knows what was meant."""
    return told if "did you mean" in (told := await said).err else None


async def test_two_reviewers(env: WorkflowEnvironment) -> None:
    """Who comes second is told who was first, for programs with the record; who sends the same
    decision again has success again.
    """
    shell, definition = Shell(env), asking("cli_race")
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        await paused(client, run)
        first = await shell(
            "confirm", run, "go_on", "--decision-id", "one", "--by", "ana", "--json"
        )
        again = await shell(
            "confirm", run, "go_on", "--decision-id", "one", "--by", "ana", "--json"
        )
        second = await shell("--json", "reject", run, "go_on", TEMPORAL_HITL_USER="bob")
        other = await shell("reject", run, "go_on", "--decision-id", "one", "--by", "ana")
        await ended(client, run)

    assert (0, 0) == (first.code, again.code)
    assert first.data == again.data
    assert "confirm" == first.data["resolution"]["action"]
    assert (Exit.decided, Exit.decided) == (second.code, other.code)
    told_second = Said(0, second.err, "").data
    assert ("decided", first.data) == (told_second["error"], told_second["record"])
    await replays(client.handle(run), definition)


async def test_a_child_runs_requirement(env: WorkflowEnvironment) -> None:
    """What a child run asks is told with the child's own id, and answered there."""
    inner = asking("cli_inner")
    outer, shell = Workflow("cli_outer", [Step("inner", workflow=inner)]), Shell(env)
    async with serving(env, outer) as client:
        run = await client.start(outer, "in")
        await paused(client, run)
        of_parent = await shell("confirm", run, "go_on")
        unnamed = await shell("confirm", run)
        shown = await shell("show", run)
        answered = await shell.pasted(of_parent.err.splitlines()[1].strip())
        output = await ended(client, run)

    assert (Exit.not_there, Exit.usage) == (of_parent.code, unnamed.code)
    assert f"temporal-hitl confirm {run}.inner go_on" in unnamed.err
    assert f"temporal-hitl show {run}.inner" in shown.out
    assert (0, RunStatus.completed) == (answered.code, output.status)
    await replays(client.handle(run), outer, inner)


async def test_no_worker(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no worker answers, a command says so, and how the same decision is sent again; then it
    counts once.
    """
    for module in ("_reach", "_answering"):
        monkeypatch.setattr(f"temporal_hitl.{module}.PATIENCE", timedelta(seconds=1))
    shell, definition, queue = Shell(env), asking("cli_nobody"), new_queue()
    with env.with_time_skipping_disabled():
        run = await HitlClient(env.client, task_queue=queue).start(definition, "in")
        unheard = await shell("confirm", run, "go_on", "--by", "ana", "--comment", "it's me")
        untold = await shell("answer", run, "go_on", "--set", "a=1")
    async with serving(env, definition, queue=queue) as client:
        await paused(client, run)
        sent = await shell.pasted(re.findall(r"temporal-hitl confirm .*", unheard.err)[0])
        output = await ended(client, run)

    assert [Exit.unreachable, Exit.unreachable] == [unheard.code, untold.code]
    for each in (unheard, untold):
        assert f"no worker answers for run {run!r} on task queue {queue!r}" in each.err
        assert 1 == each.err.count("\n")
    assert 0 == sent.code
    assert [("ana", "it's me")] == [(each.resolved_by, each.comment) for each in output.resolutions]
    await replays(client.handle(run), definition)


async def test_what_nobody_expected(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours ends a command in one line too; a variable shows where it is."""

    async def breaks(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oh\x1b[2J")

    monkeypatch.setattr(HitlClient, "cancel", breaks)
    said = await Shell(env)("cancel", "any")
    with pytest.raises(ZeroDivisionError):
        await Shell(env)("cancel", "any", TEMPORAL_HITL_TRACEBACK="1")

    assert (Exit.unexpected, "") == (said.code, said.out)
    assert (
        said.err
        == "error: ZeroDivisionError: oh\\x1b[2J; set TEMPORAL_HITL_TRACEBACK=1 to see where\n"
    )
