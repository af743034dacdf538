"""A workflow written by hand, sandboxed, asks people through a `Gate` and nothing else of ours."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import re
import shlex
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from temporal_hitl import HitlClient, HitlPlugin
from temporal_hitl.errors import AlreadyResolved, MalformedResolution
from tests.desk import Desk, InSandbox, OwnQuery, OwnSignal, OwnUpdate, Parent, TwoGates
from tests.stage import WAIT, cli, paused, until

WEEK = timedelta(days=7)


@asynccontextmanager
async def desks(
    client: Client, defined: type = Desk, *others: type, plugin: bool = True
) -> AsyncIterator[HitlClient]:
    """Run a worker for hand-written workflows, which may know our library through imports alone."""
    queue = f"desk-{uuid.uuid4().hex[:8]}"
    plugins = [HitlPlugin()] if plugin else []
    async with Worker(client, task_queue=queue, workflows=[defined, *others], plugins=plugins):
        yield HitlClient(client, task_queue=queue)


async def plain(env: WorkflowEnvironment) -> Client:
    """Return a client without plugins, interceptors, or a converter of its own."""
    return await Client.connect(env.client.service_client.config.target_host)


async def started(client: HitlClient, defined: type, *inputs: Any) -> WorkflowHandle[Any, Any]:
    handle = await client.client.start_workflow(
        defined.__name__,
        args=list(inputs),
        id=f"desk-{uuid.uuid4().hex[:8]}",
        task_queue=client.task_queue,
    )
    return handle


async def result(handle: WorkflowHandle[Any, Any]) -> Any:
    return await asyncio.wait_for(handle.result(), WAIT)


async def replays(
    handle: WorkflowHandle[Any, Any], defined: type = Desk, plugin: bool = True
) -> None:
    """Assert that the run's history replays in a fresh sandbox."""
    plugins = [HitlPlugin()] if plugin else []
    replayer = Replayer(workflows=[defined], plugins=plugins)
    await replayer.replay_workflow(await handle.fetch_history())


async def open_ids(client: HitlClient, run: str) -> list[str]:
    return [each.id for each in (await client.requirements(run)).open]


Send = Callable[[dict[str, Any]], Awaitable[Any]]


def sender(env: WorkflowEnvironment, client: HitlClient, run: str, door: str) -> Send:
    """Return how a resolution is sent to `run` by one of the ways that there are."""

    async def by_cli(data: dict[str, Any]) -> None:
        how = ["update", "execute", "-w", run, "--name", "resolve"]
        code, _, err = await cli(env, "workflow", *how, "--input", json.dumps(data))
        assert code == 0, err

    return {
        "update": lambda data: client.resolve(run, data),
        "signal": lambda data: client.handle(run).signal("resolve", data),
        "cli": by_cli,
    }[door]


# What is asked; the answer; what of it the author of the workflow then sees.
CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"kind": "confirm", "name": "yes"}, {"action": "confirm"}, {"approved": True}),
    (
        {"kind": "confirm", "name": "no"},
        {"action": "reject", "feedback": "later"},
        {"approved": False, "feedback": "later"},
    ),
    (
        {"kind": "user_input", "form": "model", "name": "model"},
        {"action": "answer", "values": {"amount": 7, "payee": "bo"}},
        {"values": {"amount": 7, "payee": "bo"}},
    ),
    (
        {"kind": "user_input", "form": "fields", "name": "fields"},
        {"action": "answer", "values": {"mode": "slow", "n": 2}},
        {"values": {"mode": "slow", "n": 2}},
    ),
    (
        {"kind": "route", "choices": ["a", "b"], "name": "one"},
        {"action": "select", "choices": ["b"]},
        {"choices": ["b"]},
    ),
    (
        {"kind": "route", "choices": ["a", "b", "c"], "allow_multiple": True, "name": "some"},
        {"action": "select", "choices": ["c", "a"]},
        {"choices": ["c", "a"]},
    ),
    (
        {"kind": "output_review", "output": {"rows": 3}, "name": "kept"},
        {"action": "confirm"},
        {"approved": True, "output": None},
    ),
    (
        {"kind": "output_review", "output": "draft", "name": "edited"},
        {"action": "edit", "output": "final"},
        {"approved": True, "output": "final"},
    ),
    (
        {"kind": "output_review", "output": [1, 2], "name": "redone"},
        {"action": "reject", "feedback": "shorter"},
        {"approved": False, "feedback": "shorter"},
    ),
]


@pytest.mark.parametrize(
    ("door", "plugin"),
    [("update", False), ("signal", False), ("cli", False), ("update", True)],
    ids=["update", "signal", "cli", "plugin"],
)
async def test_every_gate_by_every_door(env: WorkflowEnvironment, door: str, plugin: bool) -> None:
    """Each gate method asks, is answered by any door, and hands its author the decision."""
    async with desks(await plain(env), plugin=plugin) as client:
        handle = await started(client, Desk, [ask for ask, _, _ in CASES])
        send = sender(env, client, handle.id, door)
        for ask, answer, _ in CASES:
            await until(lambda key=ask["name"]: _is_open(client, handle.id, key))
            await send({"requirement_id": ask["name"], "resolved_by": "ana"} | answer)
        records = await result(handle)

    by = "signal" if door == "signal" else "update"
    for (ask, answer, seen), record in zip(CASES, records, strict=True):
        expected = {"requirement_id": ask["name"], "action": answer["action"]} | seen

        assert expected == {key: record[key] for key in expected}
        assert ("ana", "human", by) == tuple(
            record[key] for key in ("resolved_by", "decided_by", "door")
        )
    await replays(handle, plugin=plugin)


async def _is_open(client: HitlClient, run: str, key: str) -> bool:
    return key in await open_ids(client, run)


async def test_several_at_once_in_any_order(env: WorkflowEnvironment) -> None:
    """Gates open at the same time are answered one by one, in whatever order people come."""
    order = random.Random(7).sample(range(len(CASES)), len(CASES))
    async with desks(await plain(env)) as client:
        handle = await started(client, Desk, [ask for ask, _, _ in CASES], True)
        asked = await paused(client, handle.id)
        left: list[int] = []
        for place in order:
            ask, answer, _ = CASES[place]
            await client.resolve(handle.id, {"requirement_id": ask["name"]} | answer)
            left.append(len((await client.get(handle.id)).requirements))
        records = await result(handle)

    names = [ask["name"] for ask, _, _ in CASES]
    assert names == [each.id for each in asked.requirements]
    assert list(range(len(CASES) - 1, -1, -1)) == left
    assert names == [record["requirement_id"] for record in records]
    assert [answer["action"] for _, answer, _ in CASES] == [record["action"] for record in records]
    await replays(handle)


@pytest.mark.parametrize(
    ("ask", "place", "seen"),
    [
        ({"kind": "confirm"}, 0, {"action": "confirm"}),
        ({"kind": "route", "choices": ["it's a", "b"]}, 0, {"choices": ["it's a"]}),
        ({"kind": "output_review", "output": 1}, 1, {"feedback": "feedback"}),
        ({"kind": "output_review", "output": 1}, 2, {"action": "edit", "output": "..."}),
    ],
    ids=["confirm", "route", "review-reject", "review-edit"],
)
async def test_the_details_answer_every_kind(
    env: WorkflowEnvironment, ask: dict[str, Any], place: int, seen: dict[str, Any]
) -> None:
    """The commands in the current details answer a question of any kind as they are."""
    async with desks(await plain(env)) as client:
        handle = await started(client, Desk, [ask])
        await paused(client, handle.id)
        shown = (await handle.query("__temporal_workflow_metadata")).current_details
        commands = re.findall(r"^temporal .*$", shown, re.MULTILINE)
        code, _, err = await cli(env, *shlex.split(commands[place])[1:])
        assert code == 0, err
        (record,) = await result(handle)

    assert seen == {key: record[key] for key in seen}
    await replays(handle)


async def test_a_gate_that_asks_again(env: WorkflowEnvironment) -> None:
    """A gate that asks again gets a new id, and the old answer does not count for it."""
    async with desks(await plain(env)) as client:
        handle = await started(client, Desk, [{"kind": "confirm"}, {"kind": "confirm"}])
        await paused(client, handle.id)
        await client.resolve(handle.id, {"requirement_id": "confirmation", "action": "confirm"})
        await until(lambda: _is_open(client, handle.id, "confirmation~2"))
        with pytest.raises(AlreadyResolved):
            await client.resolve(handle.id, {"requirement_id": "confirmation", "action": "confirm"})
        await client.resolve(handle.id, {"requirement_id": "confirmation~2", "action": "reject"})
        records = await result(handle)

    assert [(record["requirement_id"], record["approved"]) for record in records] == [
        ("confirmation", True),
        ("confirmation~2", False),
    ]
    await replays(handle)


async def test_bad_values_are_refused_with_every_problem(env: WorkflowEnvironment) -> None:
    """Values that the author's model refuses are refused in the call, and the form stays open."""
    async with desks(await plain(env)) as client:
        handle = await started(client, Desk, [{"kind": "user_input", "form": "model"}])
        asked = (await paused(client, handle.id)).requirements[0]
        answer = {"requirement_id": asked.id, "action": "answer"}
        with pytest.raises(ValueError) as caught:
            await client.resolve(handle.id, answer | {"values": {"amount": -1}})
        await client.resolve(handle.id, answer | {"values": {"amount": 1, "payee": "bo"}})
        (record,) = await result(handle)

    assert "amount: Input should be greater than 0 (got -1); payee: Field required" in (
        str(caught.value)
    )
    assert record["values"] == {"amount": 1, "payee": "bo"}
    await replays(handle)


async def test_an_author_s_validator_that_breaks(env: WorkflowEnvironment) -> None:
    """A form whose own check raises refuses the answer by every door, and the run goes on."""
    async with desks(await plain(env)) as client:
        handle = await started(client, Desk, [{"kind": "user_input", "form": "brittle"}])
        asked = (await paused(client, handle.id)).requirements[0]
        bad, good = (
            {"requirement_id": asked.id, "action": "answer", "values": {"code": code}}
            for code in ("zzz", "a")
        )
        with pytest.raises(MalformedResolution, match=r"KeyError.*zzz"):
            await client.resolve(handle.id, bad)
        await handle.signal("resolve", bad)
        refused = (await client.requirements(handle.id)).refused
        await client.resolve(handle.id, good)
        (record,) = await result(handle)

    assert ["KeyError" in each.reason for each in refused] == [True]
    assert record["values"] == {"code": "a"}
    await replays(handle)


async def test_it_runs_in_the_sandbox(env: WorkflowEnvironment) -> None:
    """The gate needs no exception from the sandbox, neither with the plugin nor without."""
    for plugin in (False, True):
        async with desks(await plain(env), InSandbox, plugin=plugin) as client:
            handle = await started(client, InSandbox)
            await paused(client, handle.id)
            await client.resolve(handle.id, {"requirement_id": "confirmation", "action": "confirm"})

            assert await result(handle) is True


# Deadlines

DEADLINES = [
    pytest.param(kind, policy, approved, id=f"{kind['kind']}-{policy}")
    for kind, policies in [
        ({"kind": "confirm"}, ("cancel", "skip", "approve")),
        ({"kind": "user_input", "form": "model"}, ("cancel", "skip")),
        ({"kind": "user_input", "form": "optional"}, ("approve",)),
        ({"kind": "route", "choices": ["a", "b"]}, ("cancel", "skip")),
        ({"kind": "output_review", "output": 1}, ("cancel", "skip", "approve")),
    ]
    for policy in policies
    for approved in (policy == "approve",)
]
ANSWER: dict[str, dict[str, Any]] = {
    "confirm": {"action": "confirm"},
    "user_input": {"action": "answer", "values": {}},
    "route": {"action": "select", "choices": ["a"]},
    "output_review": {"action": "confirm"},
}


def with_deadline(ask: dict[str, Any], policy: str = "skip") -> list[dict[str, Any]]:
    """Return `ask` with a week's deadline, and a question that keeps the run open after it."""
    timed = ask | {"name": "timed", "timeout": WEEK.total_seconds(), "on_timeout": policy}
    return [timed, {"kind": "confirm", "name": "after"}]


@pytest.mark.parametrize(("ask", "policy", "approved"), DEADLINES)
async def test_a_week_s_deadline(
    env: WorkflowEnvironment, ask: dict[str, Any], policy: str, approved: bool
) -> None:
    """A deadline acts when it is due, not a second before; from then on answers are refused."""
    with env.with_time_skipping_disabled():
        async with desks(env.client) as client:
            handle = await started(client, Desk, with_deadline(ask, policy))
            asked = (await paused(client, handle.id)).requirements[0]
            await env.fast_forward(handle, WEEK - timedelta(seconds=2))
            before = await open_ids(client, handle.id)
            await env.fast_forward(handle, timedelta(seconds=3))
            await until(lambda: _is_open(client, handle.id, "after"))
            with pytest.raises(AlreadyResolved) as caught:
                await client.resolve(handle.id, {"requirement_id": "timed"} | ANSWER[ask["kind"]])
            await client.resolve(handle.id, {"requirement_id": "after", "action": "confirm"})
            record, _ = await result(handle)

    assert asked.deadline is not None
    assert asked.deadline - asked.created_at == WEEK
    assert before == ["timed"]
    assert ("time_out", True, approved, "timeout", None) == tuple(
        record[key] for key in ("action", "timed_out", "approved", "decided_by", "resolved_by")
    )
    acted = datetime.fromisoformat((caught.value.record or {})["resolved_at"])
    assert timedelta(0) <= acted - asked.deadline < timedelta(minutes=1)
    assert f"its deadline acted ({policy}) at {acted.isoformat(timespec='seconds')}" in (
        str(caught.value)
    )
    await replays(handle)


@pytest.mark.parametrize("action", ["confirm", "reject"])
async def test_answered_a_second_before_the_deadline(env: WorkflowEnvironment, action: str) -> None:
    """An answer in the last seconds counts, is not late, and the deadline never acts."""
    with env.with_time_skipping_disabled():
        async with desks(env.client) as client:
            handle = await started(client, Desk, with_deadline({"kind": "confirm"}))
            await paused(client, handle.id)
            await env.fast_forward(handle, WEEK - timedelta(seconds=5))
            record = await client.resolve(handle.id, {"requirement_id": "timed", "action": action})
            await until(lambda: _is_open(client, handle.id, "after"))
            await env.fast_forward(handle, WEEK)
            told_later = (await client.requirements(handle.id, resolved=True)).resolved
            await client.resolve(handle.id, {"requirement_id": "after", "action": "confirm"})
            await result(handle)
        fired = [
            event
            for event in (await handle.fetch_history()).events
            if event.event_type == EventType.EVENT_TYPE_TIMER_FIRED
        ]

    assert (action, False, "human") == (record.action, record.late, record.decided_by)
    assert [record] == told_later
    assert fired == []
    await replays(handle)


async def test_the_timer_is_named_after_the_requirement(env: WorkflowEnvironment) -> None:
    """An operator finds in the history which question a timer is the deadline of."""
    async with desks(await plain(env)) as client:
        handle = await started(client, Desk, with_deadline({"kind": "confirm"}))
        await paused(client, handle.id)
        await client.resolve(handle.id, {"requirement_id": "timed", "action": "confirm"})
        await until(lambda: _is_open(client, handle.id, "after"))
        await client.resolve(handle.id, {"requirement_id": "after", "action": "confirm"})
        await result(handle)
        timers = [
            (event.user_metadata.summary.data, event.timer_started_event_attributes)
            for event in (await handle.fetch_history()).events
            if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
        ]

    assert [(summary, timer.start_to_fire_timeout.ToTimedelta()) for summary, timer in timers] == [
        (b'"timed"', WEEK)
    ]


# Authors' mistakes


@pytest.mark.parametrize(
    ("defined", "sentence"),
    [
        pytest.param(TwoGates, "TwoGates has a handler named .* one gate only", id="two-gates"),
        pytest.param(OwnSignal, "OwnSignal has a handler named .*resolve", id="own-signal"),
        pytest.param(OwnUpdate, "OwnUpdate has a handler named .*confirm", id="own-update"),
        pytest.param(OwnQuery, "OwnQuery has a handler named .*requirements", id="own-query"),
    ],
)
# The SDK leaves the coroutine of `run` behind where `__init__` raises.
@pytest.mark.filterwarnings("ignore:coroutine .*run_workflow.* was never awaited:RuntimeWarning")
async def test_handlers_that_clash(env: WorkflowEnvironment, defined: type, sentence: str) -> None:
    """A class that has a handler of the gate's names fails with a sentence and is not wedged."""
    async with desks(await plain(env), defined, plugin=False) as client:
        handle = await started(client, defined)
        with pytest.raises(WorkflowFailureError) as caught:
            await result(handle)
    gc.collect()

    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "DefinitionError"
    with pytest.raises(ApplicationError, match=sentence):
        raise cause


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        pytest.param(
            {"kind": "confirm", "timeout": -1},
            "confirmation: timeout: -1 is not a positive",
            id="past",
        ),
        pytest.param(
            {"kind": "confirm", "timeout": "1h"}, "'1h' is not a duration", id="no-duration"
        ),
        pytest.param(
            {"kind": "confirm", "on_timeout": "accept"},
            "on_timeout: 'accept' is not one of 'cancel', 'skip', 'approve'",
            id="unknown-policy",
        ),
        pytest.param({"kind": "confirm", "name": "!?"}, "'!?' holds no letter", id="no-name"),
        pytest.param({"kind": "route", "choices": []}, "[] are no choices", id="no-choices"),
        pytest.param(
            {"kind": "route", "choices": ["a", "a"]}, "['a', 'a'] are no choices", id="choice-twice"
        ),
        pytest.param(
            {"kind": "route", "choices": ["a"], "timeout": 5, "on_timeout": "approve"},
            "route: on_timeout='approve' cannot choose",
            id="approve-a-choice",
        ),
        pytest.param(
            {"kind": "user_input", "form": "model", "timeout": 5, "on_timeout": "approve"},
            "user_input: on_timeout='approve' cannot fill in amount, payee",
            id="approve-a-form",
        ),
    ],
)
async def test_wrong_arguments_of_authors(
    env: WorkflowEnvironment, ask: dict[str, Any], sentence: str
) -> None:
    """A gate that is asked wrongly ends the run with a sentence about what was written."""
    async with desks(await plain(env)) as client:
        handle = await started(client, Desk, [ask])
        with pytest.raises(WorkflowFailureError) as caught:
            await result(handle)

    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "DefinitionError"
    assert sentence in cause.message
    await replays(handle)


async def test_a_gate_in_a_child(env: WorkflowEnvironment) -> None:
    """A child's question is open and answered at the child's own doors, beside its parent's."""
    async with desks(await plain(env), Parent, Desk) as client:
        child = f"child-{uuid.uuid4().hex[:8]}"
        handle = await started(client, Parent, child)
        await until(lambda: _is_open(client, handle.id, "above"))
        await until(lambda: there(client, child))
        await paused(client, child)
        with pytest.raises(ValueError, match="no requirement 'below'; open: above"):
            await client.resolve(handle.id, {"requirement_id": "below", "action": "confirm"})
        await client.resolve(child, {"requirement_id": "below", "action": "reject"})
        await client.resolve(handle.id, {"requirement_id": "above", "action": "confirm"})
        above, below = await result(handle)

    assert (above["requirement_id"], above["approved"]) == ("above", True)
    assert [(each["requirement_id"], each["approved"]) for each in below] == [("below", False)]
    await replays(handle, Parent)


async def there(client: HitlClient, run: str) -> bool:
    """Return whether a child that its parent is starting is there."""
    try:
        return bool(await client.handle(run).describe())
    except RPCError:
        return False
