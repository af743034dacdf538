"""Nothing but the plain `temporal` command: start a pipeline, see what it asks, and answer it."""

from __future__ import annotations

import json
import re
import shlex
import uuid
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import HitlClient, RunStatus, Step, StepInput, Workflow
from tests.stage import cli, ended, paused, replays, serving, until


def load(step_input: StepInput) -> str:
    return f"loaded {step_input.input} for {step_input.additional_data.get('team')}"


def save(step_input: StepInput) -> str:
    return f"saved: {step_input.previous_step_content}"


NAME = "cli_pipeline"
QUESTION = "Save it for 'ana' & co; $HOME `id` \"now\"?"


def pipeline() -> Workflow:
    gated = Step("save it", save, requires_confirmation=True, confirmation_message=QUESTION)
    return Workflow(NAME, [Step("load", load), gated])


def a_run() -> str:
    """Return a workflow id that a shell would take apart, were it not quoted."""
    return f"it's $run & {uuid.uuid4().hex[:8]}"


def start(client: HitlClient, run: str, *inputs: str) -> list[str]:
    given = [part for each in inputs for part in ("--input", each)]
    where = ["--task-queue", client.task_queue, "--type", NAME, "-w", run]
    return ["workflow", "start", *where, *given, "-o", "json"]


async def pasted(env: WorkflowEnvironment, command: str) -> tuple[int, Any, str]:
    """Run a command as a shell would that it is pasted into."""
    words = shlex.split(command)
    assert words[0] == "temporal", command
    return await cli(env, *words[1:])


async def refused(env: WorkflowEnvironment, run: str, name: str, *inputs: Any) -> str:
    """Send an update that must be refused, and return what the terminal then shows."""
    given = [part for each in inputs for part in ("--input", json.dumps(each))]
    code, out, err = await cli(
        env, "workflow", "update", "execute", "-w", run, "--name", name, *given
    )
    assert code != 0, f"not refused: {out}"
    return f"{out}{err}"


@pytest.mark.parametrize(
    ("inputs", "content"),
    [
        pytest.param(['"text"'], "saved: loaded text for None", id="text"),
        pytest.param(["null"], "saved: loaded None for None", id="null"),
        pytest.param(['{"rows": [1]}'], "saved: loaded {'rows': [1]} for None", id="object"),
        pytest.param(
            ['"text"', '{"additional_data": {"team": "blue"}}'],
            "saved: loaded text for blue",
            id="two-the-second-being-options",
        ),
    ],
)
async def test_start_by_name(env: WorkflowEnvironment, inputs: list[str], content: str) -> None:
    """Who knows a pipeline's name starts it with one input, and with run options beside it."""
    async with serving(env, pipeline()) as client:
        run = a_run()
        code, _, err = await cli(env, *start(client, run, *inputs))
        asked = await paused(client, run)
        await cli(
            env, "workflow", "update", "execute", "-w", run, "--name", "confirm",
            "--input", '"save_it"',
        )  # fmt: skip
        output = await ended(client, run)

    assert (code, err) == (0, "")
    assert [each.message for each in asked.requirements] == [QUESTION]
    assert (RunStatus.completed, content) == (output.status, output.content)
    await replays(client.handle(run), pipeline())


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        pytest.param([], "takes one input, and it got 0", id="none"),
        pytest.param(['"a"', '"b"'], "the second input, 'b', is not run options", id="two-texts"),
        pytest.param(['"a"', '{"teem": 1}'], "additional_data, session_state", id="wrong-key"),
        pytest.param(['"a"', "{}", "{}"], "takes one input, and it got 3", id="three"),
    ],
)
async def test_start_with_broken_input(
    env: WorkflowEnvironment, inputs: list[str], sentence: str
) -> None:
    """A run that was started with no or too many inputs ends at once, saying what to write."""
    async with serving(env, pipeline()) as client:
        run = a_run()
        await cli(env, *start(client, run, *inputs))
        output = await ended(client, run)
        _, told, _ = await cli(env, "workflow", "result", "-w", run, "-o", "json")

    assert RunStatus.error is output.status
    assert sentence in (output.error or "")
    failure = told["closeEvent"]["workflowExecutionFailedEventAttributes"]["failure"]
    assert told["status"] == "FAILED"
    assert sentence in failure["message"]
    assert failure["applicationFailureInfo"]["type"] == "DefinitionError"
    await replays(client.handle(run), pipeline())


async def test_the_sentence_about_a_missing_input_can_be_pasted(env: WorkflowEnvironment) -> None:
    """The command in the sentence of a run that got no input starts one that works."""
    async with serving(env, pipeline()) as client:
        await cli(env, *start(client, broken := a_run()))
        said = (await ended(client, broken)).error or ""
        command = re.findall(r"`(temporal [^`]*)`", said)[0]
        code, told, err = await pasted(
            env, f"{command.replace('queue hitl', f'queue {client.task_queue}')} -o json"
        )
        assert code == 0, err
        run = told["workflowId"]
        await paused(client, run)
        await client.resolve(run, {"requirement_id": "save_it", "action": "confirm"})
        output = await ended(client, run)

    assert output.content == "saved: loaded text for None"


async def test_see_what_waits(env: WorkflowEnvironment) -> None:
    """A list names the runs that wait, a query what they ask; once answered neither does."""
    pending = "HitlStatus='pending' AND ExecutionStatus='Running'"
    async with serving(env, pipeline()) as client:
        mine = f"{pending} AND TaskQueue='{client.task_queue}'"
        await cli(env, *start(client, run := a_run(), '"text"'))
        await paused(client, run)

        async def listed(query: str) -> list[str]:
            _, told, _ = await cli(env, "workflow", "list", "--query", query, "-o", "json")
            return [each["execution"]["workflowId"] for each in told]

        await until(lambda: listed(mine))
        everybody = await listed(pending)
        _, asked, _ = await cli(
            env, "workflow", "query", "-w", run, "--type", "requirements", "-o", "json"
        )
        _, state, _ = await cli(
            env, "workflow", "query", "-w", run, "--type", "run_output", "-o", "json"
        )
        await cli(env, "workflow", "signal", "-w", run, "--name", "confirm", "--input", '"save_it"')
        await ended(client, run)
        _, after, _ = await cli(
            env, "workflow", "query", "-w", run, "--type", "requirements", "--input", "true",
            "-o", "json",
        )  # fmt: skip
        all_closed = await listed(mine)

    (told,), (state,), (after,) = asked["queryResult"], state["queryResult"], after["queryResult"]
    assert run in everybody
    assert [each["id"] for each in told["open"]] == ["save_it"]
    assert not told["refused"] and "resolved" not in told
    assert (state["status"], state["step_results"][0]["step_name"]) == ("PAUSED", "load")
    assert not after["open"]
    assert [each["requirement_id"] for each in after["resolved"]] == ["save_it"]
    assert all_closed == []
    await replays(client.handle(run), pipeline())


ANSWERS = [
    pytest.param(
        "resolve",
        [{"requirement_id": "save_it", "action": "confirm", "resolved_by": "ana"}],
        ("confirm", "ana", None, None),
        id="resolve-confirm",
    ),
    pytest.param(
        "resolve",
        [{"requirement_id": "save_it", "action": "reject", "feedback": "not now"}],
        ("reject", None, None, "not now"),
        id="resolve-reject",
    ),
    pytest.param("confirm", ["save_it"], ("confirm", None, None, None), id="confirm"),
    pytest.param("confirm", ["save_it", "ok"], ("confirm", None, "ok", None), id="confirm-comment"),
    pytest.param("reject", ["save_it"], ("reject", None, None, None), id="reject"),
    pytest.param("reject", ["save_it", "no"], ("reject", None, None, "no"), id="reject-feedback"),
]


@pytest.mark.parametrize("channel", ["update", "signal"])
@pytest.mark.parametrize(("door", "inputs", "decision"), ANSWERS)
async def test_answer(
    env: WorkflowEnvironment, channel: str, door: str, inputs: list[Any], decision: tuple[Any, ...]
) -> None:
    """Each door takes the answer by update, which returns the record, and by signal."""
    how = ["update", "execute"] if channel == "update" else ["signal"]
    given = [part for each in inputs for part in ("--input", json.dumps(each))]
    async with serving(env, pipeline()) as client:
        run = await client.start(NAME, "text", run_id=a_run())
        await paused(client, run)
        out = ["-o", "json"] if channel == "update" else []
        code, told, err = await cli(env, "workflow", *how, "-w", run, "--name", door, *given, *out)
        output = await ended(client, run)

    (record,) = output.resolutions
    approved = decision[0] == "confirm"
    told_back = told["result"] if channel == "update" else record.model_dump(mode="json")
    assert (code, err.strip()) == (0, "")
    assert decision == (record.action, record.resolved_by, record.comment, record.feedback)
    assert (record.channel, record.door, record.decided_by) == ("temporal", channel, "human")
    assert approved == str(output.content).startswith("saved")
    assert record.model_dump(mode="json") == told_back
    await replays(client.handle(run), pipeline())


async def test_a_wrong_answer_is_told_what_would_be_right(env: WorkflowEnvironment) -> None:
    """A refused update says what is open and which actions there are, and leaves no event."""
    async with serving(env, pipeline()) as client:
        run = await client.start(NAME, "text", run_id=a_run())
        await paused(client, run)
        events = (await client.handle(run).describe()).history_length
        unknown = await refused(env, run, "resolve", {"requirement_id": "sav", "action": "confirm"})
        by_short_name = await refused(env, run, "confirm", "sav")
        wrong_action = await refused(
            env, run, "resolve", {"requirement_id": "save_it", "action": "select", "choices": ["x"]}
        )
        no_action = await refused(
            env, run, "resolve", {"requirement_id": "save_it", "action": "approve"}
        )
        two = await refused(env, run, "resolve", {"requirement_id": "save_it"}, "confirm")
        after = (await client.handle(run).describe()).history_length
        await client.resolve(run, {"requirement_id": "save_it", "action": "confirm"})
        await ended(client, run)
        late = await refused(env, run, "confirm", "save_it")

    assert "this run has no requirement 'sav'; open: save_it" in unknown
    assert "this run has no requirement 'sav'; open: save_it" in by_short_name
    assert "'save_it' is a confirmation: 'select' does not answer it; use confirm, reject" in (
        wrong_action
    )
    assert "'approve'" in no_action and "'confirm'" in no_action
    assert 'it got 2 inputs. Write {"requirement_id": "...", "action": "confirm"}' in two
    assert events == after
    assert "workflow execution already completed" in late
    await replays(client.handle(run), pipeline())


@pytest.mark.parametrize(
    ("door", "inputs"), [("confirm", []), ("reject", []), ("confirm", [None]), ("reject", [7])]
)
async def test_a_missing_id_gets_the_command_to_paste(
    env: WorkflowEnvironment, door: str, inputs: list[Any]
) -> None:
    """A shorthand without an id decides nothing: it gives the full command, which then works."""
    async with serving(env, pipeline()) as client:
        run = await client.start(NAME, "text", run_id=a_run())
        await paused(client, run)
        told = await refused(env, run, door, *inputs)
        still_open = (await client.get(run)).requirements
        (command,) = re.findall(r"^\s*(temporal workflow .*)$", told, re.MULTILINE)
        code, _, err = await pasted(env, command)
        assert (code, err) == (0, ""), f"{command!r} did not work"
        output = await ended(client, run)

    assert [each.id for each in still_open] == ["save_it"]
    assert "open: save_it" in told
    assert (code, err) == (0, "")
    assert [door] == [each.action for each in output.resolutions]
    await replays(client.handle(run), pipeline())


@pytest.mark.parametrize("index", [0, 1], ids=["confirm", "reject"])
async def test_the_commands_in_the_details_work(env: WorkflowEnvironment, index: int) -> None:
    """The run's current details hold the commands that answer it; pasted as they are, they do."""
    async with serving(env, pipeline()) as client:
        run = await client.start(NAME, "text", run_id=a_run())
        await paused(client, run)
        _, told, _ = await cli(env, "workflow", "metadata", "-w", run, "-o", "json")
        details = told["queryResult"][0]["currentDetails"]
        commands = re.findall(r"^temporal .*$", details, re.MULTILINE)
        code, _, err = await pasted(env, commands[index])
        output = await ended(client, run)

    assert QUESTION in details
    assert ["confirm", "reject"] == [shlex.split(each)[5] for each in commands]
    assert (code, err) == (0, "")
    assert [["confirm", "reject"][index]] == [each.action for each in output.resolutions]
    await replays(client.handle(run), pipeline())


async def test_the_doors_are_listed(env: WorkflowEnvironment) -> None:
    """`temporal workflow metadata`, and so the Web UI, names every door and query of a run."""
    async with serving(env, pipeline()) as client:
        run = await client.start(NAME, "text", run_id=a_run())
        await paused(client, run)
        _, told, _ = await cli(env, "workflow", "metadata", "-w", run, "-o", "json")
        await client.resolve(run, {"requirement_id": "save_it", "action": "confirm"})
        await ended(client, run)

    definition = told["queryResult"][0]["definition"]
    doors = {"confirm", "reject", "resolve"}
    assert doors <= {each["name"] for each in definition["signalDefinitions"]}
    assert doors <= {each["name"] for each in definition["updateDefinitions"]}
    queries = {each["name"] for each in definition["queryDefinitions"]}
    assert {"requirements", "run_output"} <= queries
    await replays(client.handle(run), pipeline())
