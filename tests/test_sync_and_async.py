"""`Workflow.run` and its kin, sync and async, in this process and in others (seeds 000 and 002)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    HitlClient,
    OnReject,
    OperatorError,
    Parallel,
    PostgresDb,
    RunFailed,
    RunStatus,
    SqliteDb,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl.errors import AlreadyResolved, RunNotFound
from tests.stage import WAIT, embedded_client, new_queue, paused, replays, serving


def fetch(step_input: StepInput) -> str:
    return f"{step_input.input} fetched"


def process(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content} processed"


async def save(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content} saved"


def data_pipeline(db: SqliteDb | PostgresDb | None = None, **options: Any) -> Workflow:
    gated = Step(
        name="process_data",
        executor=process,
        requires_confirmation=True,
        confirmation_message="Process sensitive data?",
        on_reject=OnReject.skip,
    )
    steps = [Step(name="fetch_data", executor=fetch), gated, Step(name="save", executor=save)]
    return Workflow(name="data_pipeline", db=db, steps=steps, **options)


def both(db: SqliteDb) -> Workflow:
    gates = [Step(name, fetch, requires_confirmation=True) for name in ("left", "right")]
    return Workflow("both_pipeline", [Parallel(*gates, name="both")], db=db)


async def replayed(db: SqliteDb, workflow: Workflow, run_id: str) -> None:
    async with embedded_client(db) as client:
        await replays(client.handle(run_id), workflow)


# In one process


def test_as_the_seed_has_it(embedded: SqliteDb) -> None:
    """Run, confirm, continue, with plain calls; the session and the run are there afterwards."""
    workflow = data_pipeline(embedded)
    run_output = workflow.run("users")
    waited = run_output.is_paused
    messages = [req.confirmation_message for req in run_output.steps_requiring_confirmation]
    for req in run_output.steps_requiring_confirmation:
        req.confirm()
    run_output = workflow.continue_run(run_output)

    assert (waited, messages) == (True, ["Process sensitive data?"])
    assert (RunStatus.completed, "users fetched processed saved") == (
        run_output.status,
        run_output.content,
    )
    assert run_output == workflow.get_run_output(run_output.run_id)
    assert run_output == workflow.get_session().runs[-1]
    asyncio.run(replayed(embedded, workflow, run_output.run_id))


async def test_the_async_twins(embedded: SqliteDb) -> None:
    """The same with `await`: run, reject, continue; session, run, cancel."""
    workflow = data_pipeline(embedded)
    run_output = await workflow.arun("users")
    waits = await workflow.aget_run_output(run_output.run_id)
    run_output.steps_requiring_confirmation[0].reject("not today")
    run_output = await workflow.acontinue_run(run_output)
    other = await workflow.arun("more")
    cancelled = await workflow.acancel_run(other.run_id)

    assert (True, RunStatus.paused) == (waits.is_paused, waits.status)
    assert run_output.content == "users fetched saved"
    assert run_output.resolutions[0].feedback == "not today"
    assert (RunStatus.cancelled, []) == (cancelled.status, cancelled.requirements)
    assert [run_output, cancelled] == (await workflow.aget_session()).runs
    await replayed(embedded, workflow, run_output.run_id)
    await replayed(embedded, workflow, other.run_id)


def test_cancel_run(embedded: SqliteDb) -> None:
    """A plain call cancels a run that waits, and nothing can be decided in it any more."""
    workflow = data_pipeline(embedded)
    run_output = workflow.run("users")
    cancelled = workflow.cancel_run(run_output.run_id)
    run_output.steps_requiring_confirmation[0].confirm()
    with pytest.raises(AlreadyResolved, match="stopped asking"):
        workflow.continue_run(run_output)

    assert (RunStatus.cancelled, "withdraw") == (
        cancelled.status,
        cancelled.resolutions[0].action,
    )
    assert cancelled == workflow.get_run_output(run_output.run_id)
    asyncio.run(replayed(embedded, workflow, run_output.run_id))


def test_two_event_loops(embedded: SqliteDb) -> None:
    """What one `asyncio.run` started, another one, or a plain call, continues."""
    workflow = data_pipeline(embedded)
    first, second = (asyncio.run(workflow.arun(name)) for name in ("one", "two"))
    for output in (first, second):
        output.steps_requiring_confirmation[0].confirm()
    contents = [
        asyncio.run(workflow.acontinue_run(first)).content,
        workflow.continue_run(second).content,
    ]

    assert [f"{name} fetched processed saved" for name in ("one", "two")] == contents
    asyncio.run(replayed(embedded, workflow, first.run_id))


@pytest.mark.parametrize(
    ("call", "twin"),
    [
        (lambda workflow: workflow.run("x"), "arun"),
        (lambda workflow: workflow.continue_run(run_id="x"), "acontinue_run"),
        (lambda workflow: workflow.get_run_output("x"), "aget_run_output"),
        (lambda workflow: workflow.get_session(), "aget_session"),
        (lambda workflow: workflow.cancel_run("x"), "acancel_run"),
    ],
)
async def test_a_plain_call_in_a_running_loop(call: Callable[[Workflow], Any], twin: str) -> None:
    """It would block the loop, so it raises at once and names its twin."""
    with pytest.raises(RuntimeError, match=rf"await workflow\.{twin}\("):
        call(data_pipeline())


async def test_nothing_decided(embedded: SqliteDb) -> None:
    """Continuing without a decision is an error that names what is open, and changes nothing."""
    workflow = both(embedded)
    output = await workflow.arun("x")
    with pytest.raises(ValueError, match=r"both\.left.*both\.right"):
        await workflow.acontinue_run(output)
    with pytest.raises(ValueError, match=r"both\.left.*both\.right"):
        await workflow.acontinue_run(run_id=output.run_id)
    unchanged = await workflow.aget_run_output(output.run_id)
    await workflow.acancel_run(output.run_id)

    assert (
        [each.id for each in unchanged.requirements],
        unchanged.resolutions,
    ) == (["both.left", "both.right"], [])
    await replayed(embedded, workflow, output.run_id)


async def test_one_after_the_other(embedded: SqliteDb) -> None:
    """Several open requirements may be decided one by one, in any order."""
    workflow = both(embedded)
    output = await workflow.arun("x")
    asked = {each.id: each for each in output.steps_requiring_confirmation}
    asked["both.right"].confirm()
    output = await workflow.acontinue_run(output)
    left = [each.id for each in output.steps_requiring_confirmation]
    output.steps_requiring_confirmation[0].confirm()
    output = await workflow.acontinue_run(output)

    assert (["both.left"], RunStatus.completed) == (left, output.status)
    await replayed(embedded, workflow, output.run_id)


async def test_refused_decisions(embedded: SqliteDb) -> None:
    """Those that came too late are in the output's `refused`; where all did, the call raises."""
    workflow = both(embedded)
    output = await workflow.arun("x")
    rival = await workflow.aget_run_output(output.run_id)
    rival.steps_requiring_confirmation[0].reject("I was first")
    await workflow.acontinue_run(rival)
    for draft in output.steps_requiring_confirmation:
        draft.confirm()
    done = await workflow.acontinue_run(output)
    with pytest.raises(AlreadyResolved, match=r"both\.left.*'reject'"):
        await workflow.acontinue_run(output)

    assert [(each.requirement_id, each.action) for each in done.resolutions] == [
        ("both.left", "reject"),
        ("both.right", "confirm"),
    ]
    assert len(done.refused) == 1
    assert "'both.left' is resolved already" in done.refused[0].reason
    assert RunStatus.completed is done.status
    await replayed(embedded, workflow, output.run_id)


class Unfit(Exception):
    """An exception of the author's own."""


def breaking(error: Exception) -> Callable[[StepInput], str]:
    def executor(step_input: StepInput) -> str:
        raise error

    return executor


async def test_a_builtin_exception_of_an_executor(embedded: SqliteDb) -> None:
    """It is raised as what it is, and its cause holds the run as far as it came."""
    broken = Step("broken", breaking(KeyError("age")), on_error="fail", max_retries=0)
    workflow = Workflow("breaks", [Step("fetch", fetch), broken], db=embedded)
    with pytest.raises(KeyError, match="age") as raised:
        await workflow.arun("users")
    failed = raised.value.__cause__

    assert isinstance(failed, RunFailed)
    output = failed.run_output
    assert (RunStatus.error, "users fetched") == (output.status, output.content)
    assert output == await workflow.aget_run_output(output.run_id)
    await replayed(embedded, workflow, output.run_id)


def test_an_exception_of_the_authors_own(embedded: SqliteDb) -> None:
    """It comes as `RunFailed`, which names it and holds the run; after a pause too."""
    broken = Step("broken", breaking(Unfit("too old")), on_error="fail", max_retries=0)
    gated = Step("ask", fetch, requires_confirmation=True)
    workflow = Workflow("breaks_too", [gated, broken], db=embedded)
    output = workflow.run("users")
    output.steps_requiring_confirmation[0].confirm()
    with pytest.raises(RunFailed, match="too old") as raised:
        workflow.continue_run(output)

    failed = raised.value.run_output
    assert (RunStatus.error, f"{__name__}.Unfit") == (failed.status, failed.error_type)
    assert failed.content == "users fetched"
    asyncio.run(replayed(embedded, workflow, failed.run_id))


@pytest.mark.parametrize("session_id", ["a' OR WorkflowType = 'b", 'a"b', "a\\", "a\0b"])
async def test_a_session_that_cannot_be_found(embedded: SqliteDb, session_id: str) -> None:
    """A session id that would end a value in Temporal's filters is refused before a run starts, and
    where one is looked for.
    """
    workflow = Workflow("sessions_refused", [Step("only", lambda: 1)], db=embedded)
    with pytest.raises(ValueError, match="session_id="):
        await workflow.arun("x", session_id=session_id)
    with pytest.raises(ValueError, match="session_id="):
        await workflow.aget_session(session_id)


async def test_sessions(embedded: SqliteDb) -> None:
    """A session id that the library made sticks; runs of a named session are listed together."""
    workflow, stranger = data_pipeline(embedded), data_pipeline(embedded)
    runs = [await workflow.arun(name) for name in ("one", "two")]
    other = await workflow.arun("three", session_id="other")
    elsewhere = await stranger.arun("four")

    own = runs[0].session_id
    assert [own, own] == [each.session_id for each in runs]
    assert own not in {other.session_id, elsewhere.session_id}
    assert [each.run_id for each in runs] == [
        each.run_id for each in (await workflow.aget_session(own)).runs
    ]
    assert [other.run_id] == [each.run_id for each in (await workflow.aget_session()).runs]
    for each in (*runs, other, elsewhere):
        await workflow.acancel_run(each.run_id)
    await replayed(embedded, workflow, other.run_id)


async def test_a_run_that_is_not_there(embedded: SqliteDb) -> None:
    """Looking at, continuing or cancelling it says that there is none."""
    workflow = data_pipeline(embedded)
    for call in (workflow.aget_run_output, workflow.acancel_run):
        with pytest.raises(RunNotFound, match="'nothing'"):
            await call("nothing")
    with pytest.raises(RunNotFound, match="'nothing'"):
        await workflow.acontinue_run(run_id="nothing")


def test_a_production_database(embedded: SqliteDb) -> None:
    """`PostgresDb` constructs, and running with it says how persistence works here."""
    workflow = data_pipeline(PostgresDb(db_url="postgresql://host/db"))
    with pytest.raises(OperatorError, match=r"PostgreSQL(?s:.*)TEMPORAL_ADDRESS"):
        workflow.run("users")


# In several processes

SCRIPT = """
import sys
from temporal_hitl import OnReject, SqliteDb, Step, Workflow

def fetch(step_input):
    return f"{step_input.input} fetched"

def process(step_input):
    return f"{step_input.previous_step_content} processed"

async def save(step_input):
    return f"{step_input.previous_step_content} saved"

gated = Step(name="process_data", executor=process, requires_confirmation=True)
steps = [Step(name="fetch_data", executor=fetch), gated, Step(name="save", executor=save)]
workflow = Workflow(name="data_pipeline", db=SqliteDb(db_file="dev.db"), steps=steps)
"""
RUN = """
output = workflow.run("users", run_id="the-run")
print("paused", output.is_paused, flush=True)
"""
CONTINUE = """
drafts = workflow.get_run_output("the-run").steps_requiring_confirmation
drafts[0].confirm()
output = workflow.continue_run(run_id="the-run", step_requirements=drafts)
print("content", output.content, flush=True)
"""


@contextmanager
def script(folder: Path, *parts: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script of its own in `folder`, with nothing configured but `environment`."""
    hidden = {name: "" for name in os.environ if name.startswith("TEMPORAL_")}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    kept |= {"TEMPORAL_CONFIG_FILE": str(folder / "temporal.toml"), **environment}
    file = folder / "script.py"
    file.write_text("".join([SCRIPT, *parts]))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(file)],
        cwd=folder,
        env=kept,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT)


def said(process: subprocess.Popen[str], line: str) -> None:
    """Return when the script has said `line`."""
    assert process.stdout is not None
    told = process.stdout.readline().strip()
    assert told == line, f"{told!r}; {process.communicate(timeout=WAIT)}"


def left(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return how the script ended, and what it wrote to stderr; it has five seconds to end."""
    began = time.monotonic()
    _, errors = process.communicate(timeout=WAIT)
    assert time.monotonic() - began < 5
    return process.returncode, errors


def test_a_script_that_leaves_while_its_run_waits(tmp_path: Path) -> None:
    """It ends cleanly, and another process continues the run later, from the file alone."""
    with script(tmp_path, RUN) as first:
        said(first, "paused True")
        ends = [left(first)]
    with script(tmp_path, CONTINUE) as second:
        said(second, "content users fetched processed saved")
        ends.append(left(second))

    assert [code for code, _ in ends] == [0, 0]
    for _, errors in ends:
        lines = errors.splitlines()
        assert len(lines) == 1, errors
        assert lines[0].startswith("temporal_hitl: no Temporal server is configured")
        assert "started one" in lines[0] and str(tmp_path / "dev.db") in lines[0]


BESIDE = """
import asyncio, threading, time
from temporal_hitl import Parallel

begun = threading.Semaphore(0)

def in_a_thread(step_input):
    begun.release()
    time.sleep(30)

async def on_the_loop(step_input):
    begun.release()
    await asyncio.sleep(30)

def confirmed(step_input):
    print("confirmed", flush=True)

gated = Step("confirmed", confirmed, requires_confirmation=True)
beside = Workflow(
    name="beside",
    db=SqliteDb(db_file="dev.db"),
    steps=[Parallel(in_a_thread, on_the_loop, gated, name="all")],
)
output = beside.run("users", run_id="the-run")
for _ in range(2):
    begun.acquire(timeout=20)
print(output.running, output.is_paused, flush=True)
"""
WORKING = "['all.in_a_thread', 'all.on_the_loop'] True"


def test_leaving_while_steps_run(tmp_path: Path) -> None:
    """A script whose run waits, and works beside that, in a thread and on the loop, leaves without
    waiting for the work.
    """
    with script(tmp_path, BESIDE) as process:
        said(process, WORKING)
        code, errors = left(process)

    assert (code, len(errors.splitlines())) == (0, 1), errors


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while a call waits ends the script at once, as anywhere in Python."""
    wait = "output.steps_requiring_confirmation[0].confirm()\nbeside.continue_run(output)\n"
    # Whoever started the tests may ignore Ctrl-C, as a shell does for what it runs behind itself.
    usual = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    with script(tmp_path, usual, BESIDE, wait) as process:
        said(process, WORKING)
        said(process, "confirmed")
        process.send_signal(signal.SIGINT)
        code, errors = left(process)

    assert code == -signal.SIGINT, errors
    assert errors.splitlines()[-1] == "KeyboardInterrupt", errors


def test_another_process_beside_it(tmp_path: Path) -> None:
    """A second process joins the first one's server and continues its run, while that one lives."""
    wait = "sys.stdin.read()\nprint(workflow.get_run_output('the-run').status)\n"
    with script(tmp_path, RUN, wait) as first:
        said(first, "paused True")
        with script(tmp_path, CONTINUE) as second:
            said(second, "content users fetched processed saved")
            code, errors = left(second)
        out, _ = first.communicate(timeout=WAIT)

    assert (code, first.returncode) == (0, 0)
    assert "joined the one of another process" in errors
    assert out.strip() == "COMPLETED"


def test_one_notice_however_many_pipelines(tmp_path: Path) -> None:
    """What was started, where its state is and how to use another is said once per process."""
    more = """
for name in ("one", "two"):
    again = Workflow(name=name, db=SqliteDb(db_file="dev.db"), steps=[Step("fetch", fetch)])
    print(again.run(name).content, again.run(name).content, flush=True)
"""
    with script(tmp_path, RUN, more) as process:
        said(process, "paused True")
        said(process, "one fetched one fetched")
        said(process, "two fetched two fetched")
        code, errors = left(process)

    assert (code, errors.count("temporal_hitl:")) == (0, 1)


ASK = """
from datetime import timedelta
from temporal_hitl import _reach
from temporal_hitl.errors import NoWorker
_reach.PATIENCE = timedelta(seconds=2)
elsewhere = Workflow(name="data_pipeline", task_queue=sys.argv[1], steps=steps)
try:
    print("paused", elsewhere.run("users", run_id="on-" + sys.argv[1]).is_paused, flush=True)
except NoWorker as error:
    print("nobody", flush=True)
    print(error, file=sys.stderr)
"""


@pytest.mark.parametrize("served", [True, False], ids=["with a worker", "without a worker"])
async def test_a_configured_server(env: WorkflowEnvironment, tmp_path: Path, served: bool) -> None:
    """A server that is configured is used: no other is started, and no worker of ours."""
    queue = new_queue()
    address = env.client.service_client.config.target_host
    ask = ASK.replace("sys.argv[1]", repr(queue))

    def ask_there(line: str) -> tuple[int, str]:
        with script(tmp_path, ask, TEMPORAL_ADDRESS=address) as process:
            said(process, line)
            return left(process)

    if served:
        async with serving(env, data_pipeline(), queue=queue) as client:
            code, errors = await asyncio.to_thread(ask_there, "paused True")
            assert (await paused(client, f"on-{queue}")).is_paused
    else:
        code, errors = await asyncio.to_thread(ask_there, "nobody")
        assert f"no worker answers for run 'on-{queue}' on task queue '{queue}'" in errors
        assert await pollers(env, queue) == []

    assert code == 0
    assert "Temporal server" not in errors
    assert sorted(each.name for each in tmp_path.iterdir()) == ["script.py"]
    client = HitlClient(env.client)
    if served:
        await replays(client.handle(f"on-{queue}"), data_pipeline())
    await client.handle(f"on-{queue}").terminate()


async def pollers(env: WorkflowEnvironment, queue: str) -> list[str]:
    """Return who has asked for tasks of `queue` lately."""
    seen: list[str] = []
    for kind in (
        TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    ):
        request = DescribeTaskQueueRequest(
            namespace=env.client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
        answer = await env.client.workflow_service.describe_task_queue(request)
        seen += [poller.identity for poller in answer.pollers]
    return seen
