"""Whatever is sent to a run's doors, the run stays healthy, and what was refused can be found."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from temporal_hitl import HitlClient, Step, StepInput, Workflow
from temporal_hitl._ledger import REFUSALS_KEPT
from tests.desk import Desk
from tests.stage import WAIT, cli, ended, paused, replays, serving, until

DOORS = ("resolve", "confirm", "reject")


def ship(step_input: StepInput) -> str:
    return f"shipped {step_input.input}"


def pipeline() -> Workflow:
    return Workflow("garbage", [Step("ship", ship, requires_confirmation=True)])


def nested(depth: int) -> Any:
    data: Any = 1
    for _ in range(depth):
        data = [data]
    return data


def raw(encoding: str, data: bytes) -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding.encode()}, data=data))


BIG = "x" * 100_000
# What is sent, and what the reason for refusing it names: by `resolve`, and by a shorthand.
GARBAGE: dict[str, tuple[Sequence[Any], str, str]] = {
    "no-input": ([], "it got 0 inputs", "it got nothing"),
    "two-inputs": ([{}, {}], "it got 2 inputs", "it got {}, {}"),
    "five-inputs": ([1, 2, 3, 4, 5], "it got 5 inputs", "it got 1, 2, 3, 4, 5"),
    "text": (["yes please"], "'yes please' is not a resolution", "no requirement 'yes please'"),
    "empty-text": ([""], "'' is not a resolution", "it got ''"),
    "null": ([None], "None is not a resolution", "it got None"),
    "number": ([7], "7 is not a resolution", "it got 7"),
    "true": ([True], "True is not a resolution", "it got True"),
    "empty-list": ([[]], "no resolution was sent; open: ship", "it got []"),
    "list": ([["ship", 5]], "'ship' is not a resolution", "it got ['ship', 5]"),
    "empty-object": ([{}], "action", "it got {}"),
    "wrong-keys": ([{"id": "ship", "confirmed": True}], "action", "it got {'id': 'ship'"),
    "extra-keys": (
        [{"requirement_id": "ship", "action": "confirm", "decided_by": "policy"}],
        "decided_by: Extra inputs are not permitted",
        "it got {'requirement_id': 'ship'",
    ),
    "wrong-types": (
        [{"requirement_id": ["ship"], "action": "confirm"}],
        "requirement_id: Input should be a valid string",
        "it got {'requirement_id': ['ship']",
    ),
    "unknown-id": (
        [{"requirement_id": "shop", "action": "confirm"}],
        "no requirement 'shop'; open: ship",
        "it got {'requirement_id': 'shop'",
    ),
    "another-kind's-action": (
        [{"requirement_id": "ship", "action": "retry"}],
        "'retry' does not answer it; use confirm, reject",
        "it got {'requirement_id': 'ship'",
    ),
    "big-text": ([BIG], "xxx… is not a resolution", "xxx"),
    "big-id": ([{"requirement_id": BIG, "action": "confirm"}], "requirement_id", "it got {"),
    "nested": ([nested(90)], "[[[[", "it got [[[["),
    "bytes": ([b"\x00\xff binary"], "is not a resolution", "it got b'"),
    "html": (["<script>alert(1)</script>"], "<script>", "<script>"),
}
SURROGATE = raw("json/plain", b'"\\ud800"')
# What the SDK drops before a handler sees it; a signal of this kind leaves no trace but its event.
UNREADABLE: dict[str, RawValue] = {
    "unknown-encoding": raw("pickle/please", b"\x80\x04."),
    "broken-json": raw("json/plain", b'{"requirement_id": '),
    "deeply-nested": raw("json/plain", b"[" * 5_000 + b"]" * 5_000),
    "no-encoding": RawValue(Payload(data=b"?")),
    "broken-protobuf": raw("json/protobuf", b"{}"),
    "half-a-character": SURROGATE,
}


async def open_and_refused(client: HitlClient, run: str) -> tuple[list[str], list[Any]]:
    told = await client.requirements(run)
    return [each.id for each in told.open], told.refused


async def no_task_failed(client: HitlClient, run: str) -> bool:
    failed = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    history = await client.handle(run).fetch_history()
    return failed not in [event.event_type for event in history.events]


async def answered(client: HitlClient, run: str) -> str:
    """Give the right answer at last, and return what the run makes of it."""
    await client.resolve(run, {"requirement_id": "ship", "action": "confirm"})
    output = await ended(client, run)

    assert await no_task_failed(client, run)
    await replays(client.handle(run), pipeline())
    return str(output.content)


@pytest.mark.parametrize("door", DOORS)
async def test_garbage_by_signal(env: WorkflowEnvironment, door: str, cache: int) -> None:
    """Each piece of garbage is refused, the query says why, and a right answer works after it."""
    async with serving(env, pipeline(), max_cached_workflows=cache) as client:
        run = await client.start("garbage", "it")
        await paused(client, run)
        for args, _, _ in GARBAGE.values():
            await client.handle(run).signal(door, args=list(args))
        still_open, refused = await open_and_refused(client, run)
        content = await answered(client, run)

    reasons = [each[1 if door == "resolve" else 2] for each in GARBAGE.values()]
    assert still_open == ["ship"]
    assert len(GARBAGE) == len(refused)
    for name, expected, refusal in zip(GARBAGE, reasons, refused, strict=True):
        assert expected in refusal.reason, name
        assert (door, True) == (refusal.door, len(refusal.payload) <= 500), name
        assert len(refusal.reason) <= 2_000, name
    assert content == "shipped it"


@pytest.mark.parametrize("door", DOORS)
async def test_garbage_by_update(env: WorkflowEnvironment, door: str) -> None:
    """The same garbage by update is refused in the call, and leaves no event in the history."""
    async with serving(env, pipeline()) as client:
        run = await client.start("garbage", "it")
        await paused(client, run)
        events = (await client.handle(run).describe()).history_length
        reasons: dict[str, str] = {}
        for name, (args, _, _) in GARBAGE.items():
            with pytest.raises(WorkflowUpdateFailedError) as caught:
                await client.handle(run).execute_update(door, args=list(args))
            reasons[name] = str(caught.value.cause)
        for payload in UNREADABLE.values():
            with pytest.raises(WorkflowUpdateFailedError):
                await client.handle(run).execute_update(door, payload)
        after = (await client.handle(run).describe()).history_length
        still_open, refused = await open_and_refused(client, run)
        content = await answered(client, run)

    for name, (_, by_resolve, short) in GARBAGE.items():
        assert (by_resolve if door == "resolve" else short) in reasons[name], name
    assert events == after
    assert (still_open, refused) == (["ship"], [])
    assert content == "shipped it"


@pytest.mark.parametrize("door", DOORS)
async def test_what_the_sdk_cannot_read(env: WorkflowEnvironment, door: str) -> None:
    """A signal that no converter reads is dropped by the SDK: no trace in the query, no harm."""
    async with serving(env, pipeline()) as client:
        run = await client.start("garbage", "it")
        await paused(client, run)
        for payload in UNREADABLE.values():
            await client.handle(run).signal(door, payload)
        still_open, refused = await open_and_refused(client, run)
        content = await answered(client, run)

    assert (still_open, refused) == (["ship"], [])
    assert content == "shipped it"


async def test_bytes_are_not_taken_for_text(env: WorkflowEnvironment) -> None:
    """A payload of bytes that spell a right answer is refused all the same, and shown as bytes."""
    answer = json.dumps({"requirement_id": "ship", "action": "confirm"}).encode()
    async with serving(env, pipeline()) as client:
        run = await client.start("garbage", "it")
        await paused(client, run)
        await client.handle(run).signal("resolve", raw("binary/plain", answer))
        await client.handle(run).signal("confirm", raw("binary/plain", b"ship"))
        still_open, refused = await open_and_refused(client, run)
        content = await answered(client, run)

    assert still_open == ["ship"]
    assert ["b'" in each.reason for each in refused] == [True, True]
    assert content == "shipped it"


async def test_garbage_from_the_command_line(env: WorkflowEnvironment) -> None:
    """What people type wrongly at the plain `temporal` command is refused, found, and harmless."""
    typed: list[list[str]] = [[], ['"yes"'], ['{"id": 1}', "[]"], ["null"]]
    async with serving(env, pipeline()) as client:
        run = await client.start("garbage", "it")
        await paused(client, run)
        for inputs in typed:
            given = [part for each in inputs for part in ("--input", each)]
            await cli(env, "workflow", "signal", "-w", run, "--name", "resolve", *given)
        _, told, _ = await cli(
            env, "workflow", "query", "-w", run, "--type", "requirements", "-o", "json"
        )
        content = await answered(client, run)

    (seen,) = told["queryResult"]
    assert [each["id"] for each in seen["open"]] == ["ship"]
    assert [each["payload"] for each in seen["refused"]] == [
        "[]",
        '["yes"]',
        '[{"id": 1}, []]',
        "[null]",
    ]
    assert all(each["reason"] and each["at"] for each in seen["refused"])
    assert content == "shipped it"


async def test_what_is_refused_is_bounded(env: WorkflowEnvironment) -> None:
    """However many bad signals come, the run remembers the latest ones, and stays small."""
    async with serving(env, pipeline()) as client:
        run = await client.start("garbage", "it")
        await paused(client, run)
        for number in range(80):
            bad = {"requirement_id": f"{number}-{BIG[:20_000]}", "action": "confirm"}
            await client.handle(run).signal("resolve", bad)
        told = await until(lambda: _after_all(client, run))
        content = await answered(client, run)

    assert len(told.refused) == REFUSALS_KEPT
    assert len(told.model_dump_json()) < 150_000
    assert content == "shipped it"


async def _after_all(client: HitlClient, run: str) -> Any:
    told = await client.requirements(run)
    return told if told.refused and '"79-xxx' in told.refused[-1].payload else None


@pytest.mark.parametrize("door", DOORS)
async def test_garbage_at_a_gate_written_by_hand(env: WorkflowEnvironment, door: str) -> None:
    """A sandboxed workflow without the plugin is as safe, with Temporal's default converter too."""
    client = await Client.connect(env.client.service_client.config.target_host)
    queue = f"garbage-{uuid.uuid4().hex[:8]}"
    async with Worker(client, task_queue=queue, workflows=[Desk]):
        hitl = HitlClient(client, task_queue=queue)
        run = await hitl.start("Desk", [{"kind": "confirm", "name": "ship"}])
        await paused(hitl, run)
        readable = [list(args) for args, _, _ in GARBAGE.values()] + [[SURROGATE]]
        for args in [*readable, *([each] for each in UNREADABLE.values())]:
            await hitl.handle(run).signal(door, args=args)
        still_open, refused = await open_and_refused(hitl, run)
        record = await hitl.resolve(run, {"requirement_id": "ship", "action": "confirm"})
        (seen,) = await asyncio.wait_for(hitl.handle(run).result(), WAIT)

    assert still_open == ["ship"]
    assert len(readable) <= len(refused)
    assert all(each.reason and each.door == door for each in refused)
    assert (record.approved, seen["approved"]) == (True, True)
    assert await no_task_failed(hitl, run)
    replayer = Replayer(workflows=[Desk])
    await replayer.replay_workflow(await hitl.handle(run).fetch_history())


UNSANDBOXED = UnsandboxedWorkflowRunner()
# Resolutions in form, whose content JSON text can spell and programs choke on.
HOSTILE: dict[str, bytes] = {
    "not-a-number": b"NaN",
    "infinity": b"[-Infinity]",
    "beyond-floats": b"1e999",
    "ten-thousand-digits": b"9" * 10_000,
    "nested": b"[" * 150 + b"]" * 150,
    "half-a-character": b'"\\ud800"',
    "zero-bytes": b'"\\u0000"',
    "same-key-twice": b'{"a": 1, "a": 2}',
}


@pytest.mark.parametrize(
    "converter", [DataConverter.default, pydantic_data_converter], ids=["default", "pydantic"]
)
@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_content(
    env: WorkflowEnvironment, name: str, converter: DataConverter
) -> None:
    """An edit with content that programs choke on is taken or refused, and the run goes on."""
    address = env.client.service_client.config.target_host
    client = await Client.connect(address, data_converter=converter)
    queue = f"garbage-{uuid.uuid4().hex[:8]}"
    ask = {"kind": "output_review", "output": 1, "name": "look"}
    head = b'{"requirement_id": "look", "action": "edit", "decision_id": "d", "output": '
    async with Worker(client, task_queue=queue, workflows=[Desk], workflow_runner=UNSANDBOXED):
        hitl = HitlClient(client, task_queue=queue)
        run = await hitl.start("Desk", [ask, {"kind": "confirm", "name": "end"}])
        await paused(hitl, run)
        await hitl.handle(run).signal("resolve", raw("json/plain", head + HOSTILE[name] + b"}"))
        told = await hitl.requirements(run, resolved=True)
        if "look" in [each.id for each in told.open]:
            await hitl.resolve(run, {"requirement_id": "look", "action": "confirm"})
        await until(lambda: _is_asked(hitl, run, "end"))
        await hitl.resolve(run, {"requirement_id": "end", "action": "confirm"})
        decisions = await asyncio.wait_for(hitl.handle(run).result(), WAIT)

    assert [each["requirement_id"] for each in decisions] == ["look", "end"]
    assert await no_task_failed(hitl, run)
    # Not `stage.replays`: read with another converter, a signal that was dropped may be an answer.
    replayer = Replayer(workflows=[Desk], data_converter=converter, workflow_runner=UNSANDBOXED)
    await replayer.replay_workflow(await hitl.handle(run).fetch_history())


async def _is_asked(client: HitlClient, run: str, key: str) -> bool:
    return key in (await open_and_refused(client, run))[0]
