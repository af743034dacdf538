"""What is shown of a call is what is executed, whatever the values; and what each agent says for
itself: model settings, and how often its model may correct what it said.

All agents are served by one worker, and every history replays at the end.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai.messages import ModelResponse, ToolCallPart
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, EditArguments, RunStatus
from temporal_hitl.agents import Agent, Function, tool
from temporal_hitl.errors import MalformedResolution
from temporal_hitl.requirements import digest_of
from tests.agents import Desk, Says, desk_of, heard, scripted

given: dict[str, list[str]] = defaultdict(list)
"""What the tool was called with, by run, as JSON."""


class Item(BaseModel):
    name: str
    price: float = 1.5


@tool(requires_confirmation=True)
def store(data: dict[str, Any], items: list[Item], run_context: Any, rate: float = 0.5) -> str:
    """Store."""
    dumped = [each.model_dump() for each in items]
    given[run_context.run_id].append(json.dumps([data, dumped, rate]))
    return "stored"


ODD: dict[str, Any] = {
    "rate": 2,
    "items": [{"price": 1e-7, "name": "Größe\u2028日本"}, {"name": ""}],
    "data": {
        "z": [1, 1.0, 2.50, 1e22, 12345678901234567890123, -0.0, None, True],
        "a": {"ü": {}, "0": [], '"': "</script>\n\\"},
    },
}
AS_CALLED = json.dumps(
    [
        ODD["data"],
        [{"name": "Größe\u2028日本", "price": 1e-7}, {"name": "", "price": 1.5}],
        2.0,
    ]
)
odd = Agent("odd", scripted([("store", ODD)]), tools=[store])


@pytest.mark.parametrize("how", ["confirmed", "edited"])
async def test_odd_values(desk: Desk, how: str) -> None:
    """Nested values, floats, large numbers, text of any script and keys in any order are shown as
    they came, bound by the digest, and executed so; as edited, too.
    """
    output = await desk.open(odd, "odd.1.store")
    (asked,) = output.run.requirements
    shown: dict[str, Any] = getattr(asked, "tool_args", {})
    (plain,) = output.active_requirements
    if how == "confirmed":
        await desk.resolve(output.run_id, Confirm(requirement_id=asked.id, digest=asked.digest))
    else:
        await desk.resolve(output.run_id, EditArguments(requirement_id=asked.id, arguments=ODD))
    ended = await desk.end(output.run_id)

    assert json.dumps(ODD) == json.dumps(shown) == json.dumps(plain.tool_execution.tool_args)
    assert asked.digest == digest_of(asked.shown())
    assert [AS_CALLED] == given[output.run_id]
    assert "store: stored" == ended.content


async def test_another_value_has_another_digest(desk: Desk) -> None:
    """An edit that differs in one nested value is what is executed, and the model is told of it; a
    number that JSON does not have is refused at the door.
    """
    output = await desk.open(odd, "odd.1.store")
    edited = json.loads(json.dumps(ODD))
    edited["data"]["z"][4] += 1
    for bad in (float("nan"), float("inf")):
        wrong = EditArguments(requirement_id="odd.1.store", arguments={**ODD, "data": {"x": bad}})
        with pytest.raises(MalformedResolution, match="write finite ones"):
            await desk.resolve(output.run_id, wrong)
    await desk.resolve(output.run_id, EditArguments(requirement_id="odd.1.store", arguments=edited))
    ended = await desk.end(output.run_id)

    assert [AS_CALLED.replace("90123,", "90124,")] == given[output.run_id]
    assert "12345678901234567890124" in ended.content


def says(arguments: str) -> ModelResponse:
    return ModelResponse(parts=[ToolCallPart("store", arguments, "c0")])


NO_JSON = {
    "nan": '{"items": [], "data": {"x": NaN}}',
    "infinite": '{"items": [], "data": {}, "rate": -Infinity}',
    "half a character": '{"items": [], "data": {"x": "\\ud800"}}',
}
wild = Agent(
    "wild",
    scripted(*[says(each) for each in NO_JSON.values()], [("store", {"items": [], "data": {}})]),
    tools=[store],
    retries=3,
)


async def test_arguments_that_are_no_json(desk: Desk) -> None:
    """What no JSON can hold goes back to the model: nobody is asked about it, and the run does not
    fail of it.
    """
    output = await desk.open(wild, "wild.1.store")
    await desk.resolve(output.run_id, Confirm(requirement_id="wild.1.store"))
    ended = await desk.end(output.run_id)

    assert "store: stored" == ended.content
    told = str(ended.step_results[0].messages)
    assert (2, 1) == (told.count("the arguments are no JSON"), told.count("json_invalid"))
    assert [json.dumps([{}, [], 0.5])] == given[output.run_id]


def half() -> str:
    """Return half a character."""
    return "a\ud800"


halves = Agent(
    "halves",
    scripted([("half", {}), ("guarded", {})]),
    tools=[half, Function(half, name="guarded", requires_confirmation=True)],
)


async def test_results_that_are_no_json(desk: Desk) -> None:
    """Of a result that no JSON can hold the model is told that it is lost, guarded or not."""
    output = await desk.open(halves, "halves.1.guarded")
    await desk.resolve(output.run_id, Confirm(requirement_id="halves.1.guarded"))
    ended = await desk.end(output.run_id)

    assert RunStatus.completed is ended.status
    assert 2 == ended.content.count("the tool was called, but its result cannot be kept")


many = Agent(
    "many", scripted([("store", {"items": [], "data": {"n": n}}) for n in range(60)]), tools=[store]
)


async def test_many_calls_in_one_turn(desk: Desk) -> None:
    """Each of many calls of one turn is a question of its own, and is executed with its own
    arguments; what is not decided stays open.
    """
    ids = ["many.1.store", *[f"many.1.store-{n}" for n in range(2, 61)]]
    run = (await desk.open(many, *ids)).run_id
    most = [(run, Confirm(requirement_id=each)) for each in ids[:-1]]
    await desk.client.resolve_many(most)
    await desk.asked(run, ids[-1])
    await desk.resolve(run, Confirm(requirement_id=ids[-1]))
    await desk.end(run)

    assert list(range(60)) == sorted(json.loads(each)[0]["n"] for each in given[run])


def huge(kilobytes: int) -> Agent:
    arguments = {"items": [], "data": {"x": 1000 * kilobytes * "y"}}
    return Agent(f"huge_{kilobytes}", scripted([("store", arguments)]), tools=[store])


large, too_large = huge(250), huge(400)


async def test_huge_arguments(desk: Desk) -> None:
    """Arguments of hundreds of kilobytes are shown and executed whole; where they leave no room in
    the run the tool is not called, which the model is told.
    """
    output = await desk.asked(await desk.start(large))
    (asked,) = output.active_requirements
    await desk.resolve(output.run_id, Confirm(requirement_id=asked.id))
    await desk.end(output.run_id)
    beyond = await desk.asked(await desk.start(too_large))
    await desk.resolve(beyond.run_id, Confirm(requirement_id=beyond.active_requirements[0].id))
    ended = await desk.end(beyond.run_id)

    assert 250_000 == len(asked.tool_execution.tool_args["data"]["x"])
    assert 250_000 == len(json.loads(given[output.run_id][0])[0]["x"])
    assert "store: it was not called: a run may hold" in ended.content
    assert [] == given[beyond.run_id]


# What an agent says for itself


def settings(_: Any, info: Any) -> Says:
    return json.dumps(dict(info.model_settings or {}), sort_keys=True)


wrong: list[Any] = [[("store", {"data": n})] for n in range(2)]
cold = Agent("cold", scripted(settings), model_settings={"temperature": 0.1, "seed": 7})
plain = Agent("plain", scripted(settings))
once: dict[str, Any] = {"tools": [store], "max_retries": 0}
stubborn = Agent("stubborn", scripted(*wrong, heard), retries=2, **once)
strict = Agent("strict", scripted(*wrong, heard), **once)


async def test_settings_are_per_agent(desk: Desk) -> None:
    """The model is asked with the settings of its agent, and with none where it has none."""
    said = await desk.said(cold), await desk.said(plain)

    assert ('{"seed": 7, "temperature": 0.1}', "{}") == said


async def test_retries_are_per_agent(desk: Desk) -> None:
    """A model may correct its arguments as often as its agent says, and once unless it does; then
    the turn fails, and nobody has been asked.
    """
    patient = await desk.end(await desk.start(stubborn))
    hasty = await desk.end(await desk.start(strict))

    assert (RunStatus.completed, RunStatus.error) == (patient.status, hasty.status)
    assert "store" in str(hasty.error) and "retries" in str(hasty.error)
    assert [] == hasty.resolutions == patient.resolutions


SERVED = [value for value in globals().values() if isinstance(value, Agent)]


@pytest.fixture(scope="module")
async def desk(env: WorkflowEnvironment) -> AsyncIterator[Desk]:
    async with desk_of(env, *SERVED) as made:
        yield made
