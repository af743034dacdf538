"""What may be marked with `@approval`, where a worker starts that serves it, and the file."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import temporal_hitl
from temporal_hitl import Approval, ApprovalStatus, ApprovalType, HitlPlugin, OnTimeout
from temporal_hitl._approvals import listed, page_of
from temporal_hitl._beside import Beside
from temporal_hitl._filing import IN_RUN, ON_FILE, within
from temporal_hitl._progress import APPROVALS_KEPT, Progress
from temporal_hitl.agents import Agent, Function, Toolkit, approval, tool
from temporal_hitl.approvals import FILE, ApprovalFilter, ApprovalsFile
from temporal_hitl.client import OpenRequirement
from temporal_hitl.errors import BadCursor, DefinitionError, OperatorError
from temporal_hitl.signing import KEYS as VARIABLE
from temporal_hitl.signing import SigningKeys
from temporal_hitl.turns import Asks, Guard
from tests.agents import desk_of, scripted
from tests.signatures import KEYS
from tests.stage import new_queue, until

WHEN = datetime(2026, 11, 21, 9, tzinfo=UTC)


def act(what: str) -> str:
    """Act."""
    return what


def plain() -> Callable[[str], str]:
    return lambda what: what


REQUIRED = {"approval": ApprovalType.required, "roles": ("approver",), "strict_deadline": True}
MARKED: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "bare": (lambda: Function(approval(copied())), {**REQUIRED, "asks": Asks.confirmation}),
    "called": (lambda: Function(approval()(copied())), REQUIRED),
    "above": (lambda: approval(tool(act)), {**REQUIRED, "asks": Asks.confirmation}),
    "below": (lambda: tool(approval(copied())), REQUIRED),
    "of an enum": (lambda: approval(type=ApprovalType.required)(tool(act)), REQUIRED),
    "over another question": (
        lambda: approval(tool(external_execution=True)(act)),
        {**REQUIRED, "asks": Asks.execution},
    ),
    "of what is executed once": (
        lambda: approval(tool(idempotent=False)(act)),
        {**REQUIRED, "asks": Asks.confirmation},
    ),
    "of others": (
        lambda: approval(roles=["chief"], not_requester=True)(tool(act)),
        {"roles": ("chief",), "excludes_requester": True},
    ),
    "with an agent's deadline": (
        lambda: approval(tool(act)).until(60, OnTimeout.approve),
        {"timeout": 60, "on_timeout": OnTimeout.skip},
    ),
    "an audit": (
        lambda: approval(type="audit")(tool(requires_confirmation=True)(act)),
        {"approval": ApprovalType.audit, "roles": (), "strict_deadline": False},
    ),
}


def copied() -> Callable[[str], str]:
    def act(what: str) -> str:
        """Act."""
        return what

    return act


@pytest.mark.parametrize("name", MARKED)
def test_marked(name: str) -> None:
    """A mark stands above `@tool` or below it, and what it says is in the guard of the tool."""
    make, expected = MARKED[name]
    guard = make().guard

    assert isinstance(guard, Guard)
    assert expected == {field: getattr(guard, field) for field in expected}


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "type": (lambda: approval(type="maybe"), "maybe"),
    "roles": (lambda: approval(roles=["The Chief"]), "is no role"),
    "no roles": (lambda: approval(roles=[]), "nobody approve"),
    "roles of an audit": (lambda: approval(type="audit", roles=["chief"]), "asks for no role"),
    "an audit of nobody": (lambda: approval(type="audit")(tool(act)), "asks nobody"),
    "an audit below": (lambda: tool(approval(type="audit")(copied())), "asks nobody"),
    "an audit in an agent": (
        lambda: Agent("a", tools=[approval(type="audit")(copied())]),
        "asks nobody",
    ),
    "approved by silence": (
        lambda: approval(tool(requires_confirmation=True, timeout=9, on_timeout="approve")(act)),
        "never executed",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrongly_marked(name: str) -> None:
    """What could not be meant is refused where it is written; what cannot be called is no tool."""
    make, told = WRONG[name]
    with pytest.raises(DefinitionError, match=told):
        make()
    with pytest.raises(TypeError, match="neither"):
        approval(7)  # type: ignore[call-overload]


def test_a_toolkit_may_ask() -> None:
    """An audit of a function that a toolkit has people confirm is one."""
    audited = approval(type="audit")(copied())
    kit = Toolkit(tools=[audited], requires_confirmation_tools=["act"])
    (function,) = Agent("a", tools=[kit]).functions.values()

    assert function.guard is not None
    assert (Asks.confirmation, ApprovalType.audit) == (function.guard.asks, function.guard.approval)
    assert temporal_hitl.approval is approval


async def test_a_worker_that_could_not_keep_it(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker that serves an approval does not start without a file to keep it, nor, where it must
    be signed, without keys; an audit needs none, and beside an embedded server nothing is set.
    """
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(FILE, raising=False)
    required = Agent("strict", tools=[approval(tool(act))])
    audit = Agent("lax", tools=[approval(type="audit")(tool(requires_confirmation=True)(act))])
    file, keys = ApprovalsFile(tmp_path / "approvals.jsonl"), SigningKeys.parse(KEYS)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    there = {"approvals": ApprovalsFile(locked / "a.jsonl"), "signing_keys": keys}
    told = [
        await _refused(env, required, signing_keys=keys),
        await _refused(env, required, approvals=file),
        await _refused(env, audit),
        None if os.geteuid() == 0 else await _refused(env, required, **there),
        await _refused(env, audit, approvals=file),
        await _refused(env, required, beside=Beside(None, file.path)),
        await _refused(env, required, approvals=file, signing_keys=keys),
    ]

    assert "'strict.act' is an approval, and this worker has nowhere to file" in (told[0] or "")
    assert f"set {VARIABLE}" in (told[1] or "")
    assert FILE in (told[2] or "")
    assert os.geteuid() == 0 or "cannot write there" in (told[3] or "")
    assert [None, None, None] == told[4:]


async def _refused(env: WorkflowEnvironment, agent: Agent, **options: Any) -> str | None:
    """Return why a worker for `agent` does not start, or None where it does."""
    plugin = HitlPlugin(workflows=[agent.workflow], **options)
    worker = Worker(env.client, task_queue=new_queue(), plugins=[plugin])
    running = asyncio.create_task(worker.run())
    await until(lambda: worker.is_running or running.done())
    if not running.done():
        await worker.shutdown()
    try:
        await running
    except OperatorError as error:
        return str(error)
    return None


class Kept:
    """A sink of a user's."""

    def __init__(self) -> None:
        self.records = list[Approval]()

    async def write(self, record: Approval) -> None:
        self.records.append(record)


async def test_a_sink_of_ones_own(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker is given in the place of a file is handed each record, and may be async."""
    monkeypatch.delenv(FILE, raising=False)
    sink = Kept()
    monkeypatch.setattr("tests.stage.HitlPlugin", lambda **o: HitlPlugin(**o, approvals=sink))
    audited = approval(type="audit")(tool(requires_confirmation=True)(act))
    agent = Agent("kept", scripted([("act", {"what": "it"})]), tools=[audited])
    async with desk_of(env, agent) as desk:
        output = await desk.open(agent)
        output.active_requirements[0].confirm()
        await desk.send(*output.active_requirements, *_decided(output))
        end = await desk.end(output.run_id)

    assert end.approvals == sink.records
    assert [ApprovalStatus.approved] == [each.status for each in sink.records]


def _decided(output: Any) -> list[Any]:
    return [each for each in output.requirements if each.is_resolved()]


def record(number: int, **more: Any) -> Approval:
    given: dict[str, Any] = {
        "id": f"run/r{number}",
        "status": "approved",
        "type": "required",
        "run_id": "run",
        "requirement_id": f"r{number}",
        "kind": "tool_confirmation",
        "pipeline": "ops",
        "path": f"r{number}",
        "created_at": WHEN + timedelta(minutes=number),
        "resolved_at": WHEN + timedelta(hours=1),
    }
    return Approval.model_validate({**given, **more})


def test_the_file(tmp_path: Path) -> None:
    """A file has a line for each record, whoever writes at once; it is its owner's alone. What was
    filed twice is read once, what was torn off is passed over, and read on where it was left.
    """
    file = ApprovalsFile(tmp_path / "new" / "approvals.jsonl")
    assert [] == file.records()
    writers = [threading.Thread(target=file.write, args=[record(n)]) for n in (1, 2, 3)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    file.write(record(2))
    first = file.records()
    with file.path.open("a") as raw:
        raw.write('{"id": "torn')
    torn = file.records()
    file.write(record(4))
    reread = ApprovalsFile(file.path).records()

    assert [1, 2, 3] == sorted(int(each.requirement_id[1:]) for each in first)
    assert first == torn
    assert [*first, record(4)] == file.records() == reread
    assert 0o600 == stat.S_IMODE(file.path.stat().st_mode)
    assert 6 == len(file.path.read_text().splitlines())
    file.path.unlink()
    file.write(record(5))
    assert [record(5)] == file.records()


def test_large_ones() -> None:
    """What is too large for a record is told by its size, and a run keeps a share of them."""
    large = record(1, arguments={"text": "x" * ON_FILE}, given={"text": "small"})
    progress = Progress()
    for number in range(2_000):
        progress.file(within(record(number, arguments={"text": "y" * IN_RUN}), IN_RUN))
    kept = within(large, ON_FILE)

    assert (None, {"text": "small"}) == (kept.arguments, kept.given)
    assert {"arguments"} == kept.omitted.keys()
    assert APPROVALS_KEPT // 2 < progress.size <= APPROVALS_KEPT
    assert "r1999" == progress.approvals[-1].requirement_id
    assert progress.size == Progress.model_validate_json(progress.model_dump_json()).size


def test_lists(tmp_path: Path) -> None:
    """One list has what waits and what has closed, each once, the latest first, page by page."""
    file = ApprovalsFile(tmp_path / "approvals.jsonl")
    for number in range(4):
        file.write(record(number, status="rejected" if number % 2 else "approved"))
    told = json.loads(record(9).model_dump_json())
    place = {**told, "workflow_name": "ops", "root_run_id": "run", "name": "", "message": "?"}
    rows = [
        OpenRequirement.model_validate({**place, "id": f"r{number}", "approval": "required", **at})
        for number, at in ((9, {}), (3, {"created_at": record(3).created_at.isoformat()}))
    ]
    rows.append(rows[0].model_copy(update={"id": "none", "approval": None}))
    every, cursor = list[str](), None
    while True:
        page, cursor = page_of(listed(rows, file, ApprovalFilter()), 2, cursor)
        every += [f"{each.requirement_id} {each.status.value}" for each in page]
        if cursor is None:
            break
    since = ApprovalFilter.model_validate({"since": "2026-11-21", "until": "2026-11-21T09:02"})

    assert [
        "r9 pending",
        "r3 rejected",
        "r2 approved",
        "r1 rejected",
        "r0 approved",
    ] == every
    assert ["r1", "r0"] == [each.requirement_id for each in listed(rows, file, since)]
    for wanted, ids in (
        ({"status": "pending"}, ["r9"]),
        ({"status": "rejected"}, ["r3", "r1"]),
        ({"tool": "x"}, []),
    ):
        found = listed(rows, file, ApprovalFilter.model_validate(wanted))
        assert ids == [each.requirement_id for each in found]
    with pytest.raises(OperatorError, match=FILE):
        listed(rows, None, ApprovalFilter())
    with pytest.raises(BadCursor):
        page_of([], 1, "e30=")


def test_keys_beside_a_server(tmp_path: Path) -> None:
    """Every process beside one embedded server has the same keys, which only their owner reads; in
    memory they are one process's.
    """
    files = [Beside(tmp_path / "dev.db.keys", tmp_path / "a.jsonl") for _ in range(2)]
    keys = [repr(each.keys() and each.keys().sign({"a": 1})) for each in files]  # type: ignore[union-attr]
    memory = Beside(None, tmp_path / "a.jsonl")

    assert keys[0] == keys[1] and keys[0] != "None"
    assert 0o600 == stat.S_IMODE((tmp_path / "dev.db.keys").stat().st_mode)
    assert ["dev.db.keys"] == os.listdir(tmp_path)
    assert memory.keys() is memory.keys()
