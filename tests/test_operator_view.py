"""What an operator sees of a run in the Web UI: names, summaries, timers, memo, attributes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal_hitl import (
    Condition,
    HitlClient,
    HitlPlugin,
    HumanReview,
    Loop,
    Parallel,
    RunOptions,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl._attributes import HITL_STATUS, HITL_TAGS
from temporal_hitl.workflow import MEMO_KEY
from tests.desk import Desk
from tests.stage import WAIT, ended, paused, replays, serving, until

SECRET = "sk-live-51H8xyz"


def load(step_input: StepInput) -> str:
    return f"{SECRET} {step_input.input}"


def save(step_input: StepInput) -> str:
    return "saved"


def always(step_input: StepInput) -> bool:
    return True


def third(step_input: StepInput, iteration: int) -> bool:
    return iteration < 2


def pipeline() -> Workflow:
    review = HumanReview(
        requires_confirmation=True,
        confirmation_message="Publish *everything*?",
        timeout=timedelta(days=3),
        on_timeout="skip",
    )
    return Workflow(
        "Quarterly Report", [Step("Load Data", load), Step("save", save, human_review=review)]
    )


def wide(count: int) -> Workflow:
    gates = [Step(f"g{number}", save, requires_confirmation=True) for number in range(count)]
    return Workflow("wide_view", [Parallel(*gates, name="all")])


def nested() -> Workflow:
    loop = Loop(name="refine", steps=[Step("draft", save)], max_iterations=2, should_continue=third)
    return Workflow("nested_view", [Condition(name="if it", evaluator=always, steps=[loop])])


def of_type(events: Sequence[HistoryEvent], name: str) -> list[HistoryEvent]:
    wanted = EventType.Value(f"EVENT_TYPE_{name}")
    return [event for event in events if event.event_type == wanted]


async def history(handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    return list((await handle.fetch_history()).events)


def summary(event: HistoryEvent) -> str:
    return event.user_metadata.summary.data.decode().strip('"')


async def details(client: HitlClient, run: str) -> str:
    """Return the run's current details as the Web UI gets them."""
    told = await client.handle(run).query(
        "__temporal_workflow_metadata", rpc_timeout=timedelta(seconds=10)
    )
    return str(told.current_details if hasattr(told, "current_details") else told["currentDetails"])


async def confirm_all(client: HitlClient, run: str) -> None:
    for each in (await paused(client, run)).requirements:
        await client.resolve(run, {"requirement_id": each.id, "action": "confirm"})
    await ended(client, run)


async def test_names_in_the_history(env: WorkflowEnvironment) -> None:
    """Types, ids and summaries of activities say which pipeline, which step, and where it is."""
    async with serving(env, pipeline(), nested()) as client:
        first = await client.start("Quarterly Report", "q3")
        await confirm_all(client, first)
        second = await client.start("nested_view", "it")
        await ended(client, second)
        described = await client.handle(first).describe()
        told = [
            (attributes.activity_type.name, attributes.activity_id, summary(event))
            for run in (first, second)
            for event in of_type(await history(client.handle(run)), "ACTIVITY_TASK_SCHEDULED")
            for attributes in [event.activity_task_scheduled_event_attributes]
        ]

    assert described.workflow_type == "Quarterly Report"
    assert told == [
        ("Quarterly Report.load_data", "load_data", "Load Data"),
        ("Quarterly Report.save", "save", "save"),
        ("nested_view.if_it.evaluator", "if_it.evaluator", "if it, evaluator"),
        ("nested_view.draft", "if_it.refine.1.draft", "draft, iteration 1"),
        (
            "nested_view.if_it.refine.should_continue",
            "if_it.refine.1.should_continue",
            "refine, should continue, iteration 1",
        ),
        ("nested_view.draft", "if_it.refine.2.draft", "draft, iteration 2"),
    ]
    await replays(client.handle(first), pipeline())
    await replays(client.handle(second), nested())


async def test_a_pause_with_a_deadline(env: WorkflowEnvironment) -> None:
    """A pause shows a timer with its requirement's name, and details that say what happens when."""
    async with serving(env, pipeline()) as client:
        run = await client.start("Quarterly Report", "q3")
        asked = (await paused(client, run)).requirements[0]
        shown = await details(client, run)
        await confirm_all(client, run)
        after = await details(client, run)
        timers = of_type(await history(client.handle(run)), "TIMER_STARTED")

    assert asked.deadline is not None
    assert [("save", timedelta(days=3))] == [
        (summary(each), each.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta())
        for each in timers
    ]
    assert shown.startswith(
        "### Waits for a person: Publish *everything*?\n\n`save` (confirmation)"
    )
    assert f"at {asked.deadline.isoformat(timespec='seconds')} the deadline acts: skip" in shown
    assert "```sh\ntemporal workflow update execute --name confirm" in shown
    assert f"--workflow-id {run}\n" in shown
    assert "Waits for a person" not in after
    await replays(client.handle(run), pipeline())


async def test_memo_and_attributes_of_a_pause(env: WorkflowEnvironment) -> None:
    """What is open is in the memo and the attributes; when the last closes, the attributes go."""
    async with serving(env, wide(3)) as client:
        run = await client.start("wide_view", "it")
        asked = (await paused(client, run)).requirements
        described = await client.handle(run).describe()
        memo = (await described.memo())[MEMO_KEY]
        attributes = described.typed_search_attributes
        await client.resolve(run, {"requirement_id": "all.g1", "action": "confirm"})

        async def rows() -> Any:
            now = await client.handle(run).describe()
            told = (await now.memo())[MEMO_KEY]
            return told if told["count"] == 2 else None

        fewer = await until(rows)
        meanwhile = (await client.handle(run).describe()).typed_search_attributes
        await confirm_all(client, run)
        closed = await client.handle(run).describe()
        left = await closed.memo()

    assert memo["count"] == 3
    assert [row["id"] for row in memo["rows"]] == ["all.g0", "all.g1", "all.g2"]
    assert memo["rows"][0] == {
        "id": "all.g0",
        "kind": "confirmation",
        "path": "all.g0",
        "name": "g0",
        "message": "Execute step 'g0'?",
        "created_at": memo["rows"][0]["created_at"],
        "deadline": None,
    }
    assert memo["rows"][0]["created_at"].startswith(asked[0].created_at.isoformat()[:19])
    assert (attributes[HITL_STATUS], attributes[HITL_TAGS]) == ("pending", ["kind:confirmation"])
    assert [row["id"] for row in fewer["rows"]] == ["all.g0", "all.g2"]
    assert meanwhile[HITL_STATUS] == "pending"
    assert closed.typed_search_attributes.get(HITL_STATUS) is None
    assert closed.typed_search_attributes.get(HITL_TAGS) is None
    assert MEMO_KEY in left
    await replays(client.handle(run), wide(3))


async def test_tags_that_a_run_was_started_with_stay(env: WorkflowEnvironment) -> None:
    """A run's own tags, as its session's, stand beside ours while it waits and stay afterwards."""
    async with serving(env, wide(1)) as client:
        run = await client.start("wide_view", "it", options=RunOptions(session_id="s1"))
        await paused(client, run)
        waiting = (await client.handle(run).describe()).typed_search_attributes
        await confirm_all(client, run)
        closed = (await client.handle(run).describe()).typed_search_attributes

    assert waiting[HITL_TAGS] == ["session:s1", "kind:confirmation"]
    assert (closed.get(HITL_STATUS), closed[HITL_TAGS]) == (None, ["session:s1"])
    await replays(client.handle(run), wide(1))


async def test_more_than_the_memo_holds(env: WorkflowEnvironment) -> None:
    """The memo has twenty rows at most and the true count; the list over all runs has them all."""
    async with serving(env, wide(25)) as client:
        run = await client.start("wide_view", "it")
        await paused(client, run)
        memo = (await (await client.handle(run).describe()).memo())[MEMO_KEY]
        shown = await details(client, run)

        async def listed() -> list[str]:
            query = f"TaskQueue = '{client.task_queue}'"
            return [each.id async for each in client.list_requirements(query)]

        everywhere = await until(listed)
        await client.handle(run).execute_update(
            "resolve", [{"requirement_id": f"all.g{n}", "action": "confirm"} for n in range(25)]
        )
        await ended(client, run)

    assert (len(memo["rows"]), memo["count"]) == (20, 25)
    assert shown.count("### Waits for a person") == 20
    assert "and 5 more" in shown
    assert [f"all.g{number}" for number in range(25)] == everywhere
    await replays(client.handle(run), wide(25))


async def test_events_of_a_pause(env: WorkflowEnvironment) -> None:
    """A pause with a deadline, answered by update, costs ten events at most, its timer included."""
    async with serving(env, pipeline()) as client:
        run = await client.start("Quarterly Report", "q3")
        await confirm_all(client, run)
        events = await history(client.handle(run))
        opened = next(
            index
            for index, event in enumerate(events)
            if event.HasField("upsert_workflow_search_attributes_event_attributes")
            or event.HasField("workflow_properties_modified_event_attributes")
            or event.HasField("timer_started_event_attributes")
        )
        resumed = next(
            index
            for index, event in enumerate(events[opened:], opened)
            if event.HasField("activity_task_scheduled_event_attributes")
        )

    names = [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events]
    pause = names[opened:resumed]
    assert len(pause) <= 10, pause
    assert {"TIMER_STARTED", "WORKFLOW_EXECUTION_UPDATE_COMPLETED"} <= set(pause)
    assert "TIMER_CANCELED" in names[opened:]
    await replays(client.handle(run), pipeline())


async def test_outputs_stay_out_of_sight(env: WorkflowEnvironment) -> None:
    """What steps produce is in the history alone: not in memo, attributes, details or summaries."""
    async with serving(env, pipeline()) as client:
        run = await client.start("Quarterly Report", f"q3 {SECRET}")
        await paused(client, run)
        described = await client.handle(run).describe()
        shown = await details(client, run)
        outside = [
            *(str(value) for value in (await described.memo()).values()),
            *(str(pair) for pair in described.typed_search_attributes),
            *(summary(event) for event in await history(client.handle(run))),
            *[repr(each) async for each in client.list_requirements()],
            shown,
        ]
        await confirm_all(client, run)

    assert [text for text in outside if SECRET in text] == []
    assert any("Publish *everything*?" in text for text in outside)
    await replays(client.handle(run), pipeline())


async def test_a_reviewed_output_stays_out_of_sight(env: WorkflowEnvironment) -> None:
    """An output under review is told by the query alone; memo and details show the question."""
    queue = f"view-{uuid.uuid4().hex[:8]}"
    async with Worker(env.client, task_queue=queue, workflows=[Desk], plugins=[HitlPlugin()]):
        client = HitlClient(env.client, task_queue=queue)
        with env.with_time_skipping_disabled():
            run = await client.start(
                "Desk", [{"kind": "output_review", "name": "look", "output": {"key": SECRET}}]
            )
            asked = (await paused(client, run)).requirements[0]
            memo = await (await client.handle(run).describe()).memo()
            shown = await details(client, run)
            await client.resolve(run, {"requirement_id": "look", "action": "confirm"})
            await asyncio.wait_for(client.handle(run).result(), WAIT)

    assert SECRET in asked.model_dump_json()
    assert SECRET not in str(memo) + shown
    assert "Well?" in str(memo) and "Well?" in shown
    await replays(client.handle(run), workflows=[Desk])


async def test_a_bare_gate_writes_no_attributes(env: WorkflowEnvironment) -> None:
    """A hand-written workflow needs nothing of the namespace: its gate writes the memo only."""
    queue = f"view-{uuid.uuid4().hex[:8]}"
    async with Worker(env.client, task_queue=queue, workflows=[Desk], plugins=[HitlPlugin()]):
        client = HitlClient(env.client, task_queue=queue)
        with env.with_time_skipping_disabled():
            run = await client.start("Desk", [{"kind": "confirm", "name": "go"}])
            await paused(client, run)
            described = await client.handle(run).describe()
            memo = (await described.memo())[MEMO_KEY]
            await client.resolve(run, {"requirement_id": "go", "action": "confirm"})
            await asyncio.wait_for(client.handle(run).result(), WAIT)
        events = await history(client.handle(run))

    assert [row["id"] for row in memo["rows"]] == ["go"]
    assert described.typed_search_attributes.get(HITL_STATUS) is None
    assert of_type(events, "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES") == []
    await replays(client.handle(run), workflows=[Desk])
