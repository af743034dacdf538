"""Makes the histories: `python -m tests.histories.record [--force] [name ...]`, by hand.

A history of a released version is never made again, as runs like it wait somewhere; so a file that
is there stays, unless `--force` says otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal_hitl import (
    Answer,
    Confirm,
    Edit,
    EditArguments,
    HitlClient,
    HitlPlugin,
    Reject,
    Select,
)
from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl.local import serve
from temporal_hitl.requirements import AnyResolution, Question
from temporal_hitl.signing import SigningKeys
from tests.histories import agents, modes
from tests.histories.approvals import Forgotten
from tests.histories.pipelines import INPUTS, MADE_BY, pipelines_of, workflows_of
from tests.signatures import KEYS, confirmed, sign
from tests.stage import SUGGESTED, server_options, until

FOLDER = Path(__file__).parent
IDENTITY = "golden"
LIMIT = 30.0
ANSWERS = {**modes.ANSWERS, **agents.ANSWERS}
LATER = {**modes.LATER, **agents.LATER}
SHORT = ("continued_as_new", "nested_continued_as_new", *LATER)
"""Recorded on a server that suggests to continue as new after few events: its last execution."""
BARE = ("by_hand_not_verified",)
"""Recorded on a worker without our plugin."""
CHILDREN = {"nested_child": "all.sub"}
"""Recorded of a child of the run, by the path of its step."""

NOTIFICATIONS = ("notification",)
"""Recorded of what tells the first thing that there is to tell of the run."""
STARTED_BY_OLA = ("approval_required",)

Act = Callable[[HitlClient, str], Awaitable[None]]


async def opened(client: HitlClient, run: str, *ids: str) -> None:
    """Wait until exactly these are open."""

    async def there() -> bool:
        return {each.id for each in (await client.requirements(run)).open} == set(ids)

    await until(there)


async def confirm_by_update(client: HitlClient, run: str) -> None:
    await opened(client, run, "process")
    confirmed = Confirm(
        requirement_id="process", resolved_by="ana", comment="fine", decision_id="1"
    )
    await client.resolve(run, confirmed)


async def reject_by_signal(client: HitlClient, run: str) -> None:
    await opened(client, run, "process")
    await client.handle(run).signal("reject", args=["process", "too early"])


async def send_garbage_then_answer(client: HitlClient, run: str) -> None:
    await opened(client, run, "process")
    answer = {"requirement_id": "process", "action": "confirm"}
    garbage: list[list[Any]] = [
        *([], ["process"], [answer, answer], [[answer, answer]], [{"id": "process"}]),
        *([{**answer, "requirement_id": "nope"}], [{**answer, "action": "select"}], [None]),
    ]
    for sent in garbage:
        await client.handle(run).signal("resolve", args=sent)
    await client.handle(run).signal("confirm")

    async def refused() -> bool:
        return len((await client.requirements(run)).refused) == len(garbage) + 1

    await until(refused)
    await client.handle(run).signal("resolve", answer)


async def cancel(client: HitlClient, run: str) -> None:
    await opened(client, run, "process")
    await client.cancel(run)


async def answer_both_branches(client: HitlClient, run: str) -> None:
    handle, check, publish = client.handle(run), "fan.left.check", "fan.publish"
    await opened(client, run, check, publish)
    both = [Confirm(requirement_id=check), Reject(requirement_id=publish, feedback="not now")]
    await handle.execute_update("resolve", [each.model_dump(mode="json") for each in both])


async def answer_all_questions(client: HitlClient, run: str) -> None:
    handle = client.handle(run)
    await opened(client, run, "confirmation")
    await handle.execute_update("confirm", args=["confirmation", "as agreed"])
    await opened(client, run, "user_input", "letter")
    letter = Answer(requirement_id="letter", values={"letter": "A"})
    await handle.signal("resolve", letter.model_dump(mode="json"))
    await opened(client, run, "user_input")
    values = {"amount": 7.5, "reason": "late"}
    await client.resolve(run, Answer(requirement_id="user_input", values=values, decision_id="2"))
    await opened(client, run, "route")
    ways = Select(requirement_id="route", choices=("bank", "card"), decision_id="3")
    await client.resolve(run, ways)
    await opened(client, run, "output_review")
    rejected = Reject(requirement_id="output_review", feedback="say the name", decision_id="4")
    await client.resolve(run, rejected)
    await opened(client, run, "output_review~2")
    edited = Edit(requirement_id="output_review~2", output={"text": "Ada"}, decision_id="5")
    await client.resolve(run, edited)


async def counted(client: HitlClient, run: str) -> None:
    """Wait until the loop `count` has ended, some executions later."""

    async def there() -> bool:
        return "count" in [each.step_name for each in (await client.get(run)).inner_results]

    await until(there)


async def sign_after_many_executions(client: HitlClient, run: str) -> None:
    await opened(client, run, "all.sign")
    await counted(client, run)
    await client.handle(run).signal("confirm", "all.sign")


async def sign_in_the_child(client: HitlClient, run: str) -> None:
    await client.wait(run)
    await client.handle(f"{run}.all.sub").signal("confirm", "sign")


async def sign_in_the_child_later(client: HitlClient, run: str) -> None:
    await counted(client, run)
    await sign_in_the_child(client, run)


async def cancel_with_the_child(client: HitlClient, run: str) -> None:
    await client.wait(run)
    await client.cancel(run)


async def answer_each_container(client: HitlClient, run: str) -> None:
    answers: list[tuple[str, type[Confirm] | type[Reject]]] = [
        ("steps", Confirm),
        ("fan", Reject),
        ("when", Reject),
        ("while", Confirm),
        ("while.1.again", Confirm),
        ("while.2.again", Reject),
        ("route", Confirm),
    ]
    for key, answer in answers:
        await opened(client, run, key)
        await client.resolve(run, answer(requirement_id=key))


async def answer_in_turn(
    client: HitlClient, run: str, answers: Sequence[AnyResolution], first: int = 1
) -> None:
    """Give each answer once it is asked for, by update and by signal in turn."""
    for number, answer in enumerate(answers, first):

        async def there(key: str = answer.requirement_id) -> bool:
            return key in {each.id for each in (await client.requirements(run)).open}

        await until(there)
        sent = answer.model_copy(update={"decision_id": str(number)})
        if number % 2:
            await client.resolve(run, sent)
        else:
            await client.handle(run).signal("resolve", sent.model_dump(mode="json"))


async def answer_in_turn_and_later(
    client: HitlClient, run: str, answers: Sequence[AnyResolution]
) -> None:
    await answer_in_turn(client, run, answers[:-1])
    await counted(client, run)
    await answer_in_turn(client, run, answers[-1:], len(answers))


async def confirm_reset_and_reject(client: HitlClient, run: str) -> None:
    await confirm_by_update(client, run)
    await client.wait_for_end(run)
    history = await client.handle(run).fetch_history()
    done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    first = next(each.event_id for each in history.events if each.event_type == done)
    execution = WorkflowExecution(workflow_id=run, run_id=history.run_id)
    request = ResetWorkflowExecutionRequest(
        namespace=client.client.namespace,
        workflow_execution=execution,
        reason="recorded",
        workflow_task_finish_event_id=first,
        request_id=run,
    )
    await client.client.workflow_service.reset_workflow_execution(request)
    await opened(client, run, "process")
    await client.handle(run).signal("reject", args=["process", "on second thought"])


async def answer_the_desk(client: HitlClient, run: str) -> None:
    asked, called = "support_desk.1.ask_user", "support_desk.2"
    await opened(client, run, asked)
    (question,) = (await client.requirements(run)).open
    assert isinstance(question, Question)
    values = dict.fromkeys(question.form["properties"], "card")  # type: ignore[arg-type]
    await client.resolve(run, Answer(requirement_id=asked, values=values, decision_id="1"))
    keys = [f"{called}.{each}" for each in ("refund_order", "grant_goodwill", "delete_account")]
    await opened(client, run, *keys)
    edited = {"number": "1007", "cents": 40000, "paid_to": "card", "reason": "damaged"}
    refund = EditArguments(requirement_id=keys[0], arguments=edited, decision_id="2")
    goodwill = Answer(requirement_id=keys[1], values={"cost_centre": "4711"}, decision_id="3")
    deletion = Reject(requirement_id=keys[2], feedback="not yet", decision_id="4")
    for answer in (
        sign(client, run, refund, roles=["approver"]),
        goodwill,
        sign(client, run, deletion, roles=["approver"]),
    ):
        await client.resolve(run, answer)


async def confirm_both_and_cancel(client: HitlClient, run: str) -> None:
    await opened(client, run, "all.sign", "all.seal")
    for key in ("all.seal", "all.sign"):
        await client.resolve(run, Confirm(requirement_id=key))
    await opened(client, run, "send")
    await client.cancel(run)


async def sign_both(client: HitlClient, run: str) -> None:
    await opened(client, run, "pay.first", "pay.second")
    clerk = confirmed(client, run, "pay.second", roles=["clerk"])
    await client.handle(run).signal("resolve", clerk.to_wire())
    first = Confirm(requirement_id="pay.first", comment="as agreed", decision_id="1")
    await client.resolve(run, sign(client, run, first))
    second = Reject(requirement_id="pay.second", feedback="twice", decision_id="2")
    await client.handle(run).signal("resolve", sign(client, run, second).to_wire())


async def approve_and_let_expire(client: HitlClient, run: str) -> None:
    wipe, mail = "approval_required.1.wipe", "approval_required.1.mail"
    await opened(client, run, wipe, mail)
    await client.handle(run).signal("reject", args=[mail, "not yet"])
    yes = Confirm(requirement_id=wipe, comment="as agreed", decision_id="1")
    await client.resolve(run, sign(client, run, yes, roles=["approver"]))


async def sign_in_vain(client: HitlClient, run: str) -> None:
    await opened(client, run, "confirmation")
    signed = confirmed(client, run, "confirmation")
    await client.handle(run).signal("resolve", signed.to_wire())
    answer = Confirm(requirement_id="confirmation", resolved_by="ana", decision_id="1")
    await client.resolve(run, answer)


ACTS: dict[str, Act] = {
    "approval_required": approve_and_let_expire,
    "support_desk": answer_the_desk,
    "notified": confirm_both_and_cancel,
    "notification": confirm_both_and_cancel,
    "signed_answer": sign_both,
    "by_hand_not_verified": sign_in_vain,
    "every_container_asks": answer_each_container,
    "reset_and_asked_again": confirm_reset_and_reject,
    "nested": sign_in_the_child,
    "nested_cancelled": cancel_with_the_child,
    "nested_child": sign_in_the_child,
    "nested_continued_as_new": sign_in_the_child_later,
    "continued_as_new": sign_after_many_executions,
    "confirmed_by_update": confirm_by_update,
    "rejected_by_signal": reject_by_signal,
    "garbage_signals_then_an_answer": send_garbage_then_answer,
    "cancelled_while_paused": cancel,
    "every_container": answer_both_branches,
    "by_hand_all_questions": answer_all_questions,
    **{name: partial(answer_in_turn, answers=each) for name, each in ANSWERS.items()},
    **{name: partial(answer_in_turn_and_later, answers=each) for name, each in LATER.items()},
}
"""What people do in each run; in the others they do nothing."""


async def record(client: HitlClient, name: str) -> str:
    """Return the history of a run of `name`, as JSON."""
    made_by = MADE_BY[name]
    keys = SigningKeys.parse(KEYS)
    plugin = HitlPlugin(pipelines_of(made_by), signing_keys=keys, approvals=Forgotten())
    given = [INPUTS.get(name, "rows")]
    async with Worker(
        client.client,
        task_queue=name,
        workflows=workflows_of(made_by),
        plugins=[] if name in BARE else [plugin],
    ):
        handle = await client.client.start_workflow(
            made_by.__name__ if isinstance(made_by, type) else made_by.name,
            args=[*given, {"user_id": "ola"}] if name in STARTED_BY_OLA else given,
            id=name,
            task_queue=name,
        )
        if name in ACTS:
            await ACTS[name](client, handle.id)
        with contextlib.suppress(WorkflowFailureError):
            await client.handle(name).result()
        handle = client.handle(name)
        told = client.handle(f"{name}.{CHILDREN[name]}") if name in CHILDREN else handle
        if name in NOTIFICATIONS:
            events = (await handle.fetch_history()).events
            starts = [e.start_child_workflow_execution_initiated_event_attributes for e in events]
            told = client.handle(next(each.workflow_id for each in starts if each.workflow_id))
        history = json.loads((await told.fetch_history()).to_json())
    return json.dumps(_without_stacks(history), indent=1, sort_keys=True) + "\n"


def _without_stacks(data: Any) -> Any:
    # Stack traces name the files of the machine that made them.
    if isinstance(data, list):
        return [_without_stacks(each) for each in data]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(data, dict):
        return data
    kept = {key: value for key, value in data.items() if key != "stackTrace"}  # pyright: ignore[reportUnknownVariableType]
    return {key: _without_stacks(value) for key, value in kept.items()}  # pyright: ignore[reportUnknownVariableType]


async def record_all(names: list[str]) -> None:
    """Write the histories of `names`, over what is there."""
    converter = pydantic_data_converter
    server = await asyncio.to_thread(serve, None, search_attributes=SEARCH_ATTRIBUTES)
    try:
        target = server.address.target
        connected = await Client.connect(target, data_converter=converter, identity=IDENTITY)
        await write(connected, [name for name in names if name not in SHORT])
    finally:
        await asyncio.to_thread(server.close)
    setting = f"limit.historyCount.suggestContinueAsNew={SUGGESTED}"
    options = server_options(setting) | {"identity": IDENTITY, "data_converter": converter}
    async with await WorkflowEnvironment.start_local(**options) as short:
        await write(short.client, [name for name in names if name in SHORT])


async def write(connected: Client, names: list[str]) -> None:
    """Write the histories of `names` as runs on one server make them."""
    for name in names:
        history = await asyncio.wait_for(record(HitlClient(connected), name), LIMIT)
        (FOLDER / f"{name}.json").write_text(history)
        print(f"{name}.json")


def main() -> None:
    """Record what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.histories.record")
    parser.add_argument("names", nargs="*", metavar="name", help="of a history; all if none")
    parser.add_argument("--force", action="store_true", help="make files again that are there")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in MADE_BY]
    if unknown:
        parser.error(f"no history {unknown[0]!r}; there are {', '.join(MADE_BY)}")
    names = asked.names or list(MADE_BY)
    there = [name for name in names if (FOLDER / f"{name}.json").exists() and not asked.force]
    if there:
        print(f"kept, as --force was not given: {', '.join(there)}", file=sys.stderr)
    logging.getLogger("temporalio.activity").setLevel(logging.CRITICAL)  # steps fail on purpose
    if missing := [name for name in names if name not in there]:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["SUPPORT_DESK_DB"] = f"{folder}/shop.db"
            asyncio.run(record_all(missing))


if __name__ == "__main__":
    main()
