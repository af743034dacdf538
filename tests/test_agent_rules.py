"""What agents may do alone and what not, rule by rule: the rules of teams, everywhere (reference
`agent-hitl.md` 1.5, 1.9 and 7.3 to 7.5).

All agents are served by one worker, and every history replays at the end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import RunContext, ToolReturn
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, ModelRetry
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.tools import DeferredToolRequests, ToolDefinition
from pydantic_ai.toolsets import ExternalToolset, FunctionToolset
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Confirm,
    EditArguments,
    OnError,
    Reject,
    Report,
    RunStatus,
    Step,
    UserInputField,
    Workflow,
)
from temporal_hitl.agents import (
    Agent,
    Ask,
    AskingFunction,
    Function,
    RunRequirement,
    Team,
    Toolkit,
    UserControlFlowTools,
    UserFeedbackTools,
    tool,
)
from temporal_hitl.errors import (
    AlreadyResolved,
    DefinitionError,
    MalformedResolution,
    UnknownRequirement,
)
from temporal_hitl.requirements import AnyResolution
from tests.agents import Called, Desk, desk_of, heard, scripted

done: dict[str, list[str]] = defaultdict(list)
"""What tools did, by run."""
A, B = {"disk": "sda"}, {"disk": "sdb"}


@tool(requires_confirmation=True)
def wipe(disk: str, run_context: Any, times: int = 1) -> str:
    """Wipe a disk."""
    done[run_context.run_id].append(f"wipe {disk} {times}")
    return f"wiped {disk}"


def lookup(name: str, run_context: Any) -> str:
    """Look somebody up."""
    done[run_context.run_id].append(f"lookup {name}")
    return f"{name} is u7"


def agent(name: str, *turns: Any, **options: Any) -> Agent:
    tools = options.pop("tools", [wipe, lookup])
    return Agent(name, scripted(*turns), tools=tools, **options)


ASKED: list[Called] = [
    (
        "ask_user",
        {
            "questions": [
                {
                    "question": "Why?",
                    "options": [{"label": "old"}, {"label": "broken", "description": "It clicks"}],
                }
            ]
        },
    )
]
ASKS_FOR: list[Called] = [
    (
        "get_user_input",
        {
            "user_input_fields": [
                {"field_name": "city", "field_description": "Where"},
                {"field_name": "nights", "field_type": "int"},
            ]
        },
    )
]


class Verdict(BaseModel):
    guilty: bool
    since: date


# Partial answers

two_calls = agent("two_calls", [("wipe", A), ("wipe", B)])


async def test_two_calls_of_one_tool(desk: Desk) -> None:
    """Two calls of one tool in one turn are two questions; the answer to one leaves the other open,
    and starts no turn.
    """
    output = await desk.open(two_calls, "two_calls.1.wipe", "two_calls.1.wipe-2")
    first, second = output.active_requirements
    first.confirm()
    await desk.send(first)
    output = await desk.asked(output.run_id, "two_calls.1.wipe-2")
    with pytest.raises(AlreadyResolved):
        await desk.resolve(output.run_id, Reject(requirement_id="two_calls.1.wipe"))
    activities = await asked_of_the_model(desk, output.run_id)
    second.reject("keep it")
    await desk.send(second)
    ended = await desk.end(output.run_id)

    assert 1 == activities
    assert "wipe: wiped sda; wipe: rejected by a person: keep it" == ended.content
    assert ["wipe sda 1"] == done[output.run_id]


async def asked_of_the_model(desk: Desk, run: str) -> int:
    """Return how many turns a run has begun."""
    history = await desk.client.handle(run).fetch_history()
    scheduled = [each.activity_task_scheduled_event_attributes for each in history.events]
    return sum(each.activity_type.name.endswith(".turn") for each in scheduled)


async def test_the_first_decision_stands(desk: Desk) -> None:
    """Of two who decide at once one is first, and the other is told by whom."""
    output = await desk.open(two_calls)
    both = [
        desk.client.resolve(output.run_id, Confirm(requirement_id="two_calls.1.wipe")),
        desk.client.resolve(output.run_id, Reject(requirement_id="two_calls.1.wipe")),
    ]
    verdicts = await asyncio.gather(*both, return_exceptions=True)
    await desk.resolve(output.run_id, Reject(requirement_id="two_calls.1.wipe-2"))
    ended = await desk.end(output.run_id)

    assert [AlreadyResolved] == [type(e) for e in verdicts if isinstance(e, Exception)]
    assert len(done[output.run_id]) == ended.content.count("wiped sda")


WRONG: dict[str, tuple[type[Exception], AnyResolution]] = {
    "an id that there is not": (UnknownRequirement, Confirm(requirement_id="two_calls.1.lookup")),
    "of a later turn": (UnknownRequirement, Confirm(requirement_id="two_calls.2.wipe")),
    "a result for an approval": (
        MalformedResolution,
        Report(requirement_id="two_calls.1.wipe", result="wiped"),
    ),
    "values for an approval": (
        MalformedResolution,
        Answer(requirement_id="two_calls.1.wipe", values={}),
    ),
    "another digest": (
        MalformedResolution,
        Confirm(requirement_id="two_calls.1.wipe", digest="0" * 64),
    ),
    "no such argument": (
        MalformedResolution,
        EditArguments(requirement_id="two_calls.1.wipe", arguments={**A, "force": True}),
    ),
    "of another type": (
        MalformedResolution,
        EditArguments(requirement_id="two_calls.1.wipe", arguments={**A, "times": "x"}),
    ),
    "an argument less": (
        MalformedResolution,
        EditArguments(requirement_id="two_calls.1.wipe", arguments={"times": 2}),
    ),
}


async def test_what_is_refused_changes_nothing(desk: Desk) -> None:
    """Whatever is wrong with a decision is told at the door, and both calls stay open."""
    output = await desk.open(two_calls)
    for error, sent in WRONG.values():
        with pytest.raises(error):
            await desk.resolve(output.run_id, sent)
    still = await desk.asked(output.run_id, "two_calls.1.wipe", "two_calls.1.wipe-2")
    edited = EditArguments(requirement_id="two_calls.1.wipe", arguments={**A, "times": 3})
    await desk.resolve(output.run_id, edited, Reject(requirement_id="two_calls.1.wipe-2"))
    ended = await desk.end(output.run_id)

    assert output.run.requirements == still.run.requirements
    assert ["wipe sda 3"] == done[output.run_id]
    assert 'the tool was called with: {"disk": "sda", "times": 3}' in ended.content


async def test_a_payload_from_outside(desk: Desk) -> None:
    """Of what a client sends back as data the id and the decision count: the tool is called with
    the arguments that the agent gave, and a result that the client made up is nowhere.
    """
    output = await desk.open(two_calls)
    first, second = [each.to_dict() for each in output.active_requirements]
    for forged in (first, first["requirement"]):
        forged["tool_name"] = "lookup"
    first["tool_execution"]["tool_args"] = first["requirement"]["tool_args"] = {"disk": "sdz"}
    first |= {"confirmation": True, "result": "forged", "tool_call_error": False}
    second |= {"confirmation": False, "confirmation_note": "no"}
    again = [RunRequirement.from_dict(each) for each in (first, second)]
    await desk.send(*again)
    ended = await desk.end(output.run_id)

    assert "wipe: wiped sda; wipe: rejected by a person: no" == ended.content
    assert ["wipe sda 1"] == done[output.run_id]


# Several members

left = agent("left", [("wipe", A)])
right = agent("right", [("wipe", B)])
twins = Team(
    "twins",
    [left, right],
    scripted(
        [
            ("delegate", {"member": "left", "task": "a"}),
            ("delegate", {"member": "right", "task": "b"}),
        ]
    ),
)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in_order", "the_other_way"])
async def test_members_with_one_call_id(desk: Desk, order: tuple[int, int]) -> None:
    """Two members at work at once, whose calls have one id, are told apart by their paths."""
    ids = ["twins.1.left.1.wipe", "twins.1.right.1.wipe"]
    run, asked = await desk.by_id(twins, *ids)
    members = [(e.member_agent_name, e.member_agent_id, e.member_run_id) for e in asked]
    asked[0].confirm()
    asked[1].reject("not that one")
    for place in order:
        await desk.send(asked[place])
    ended = await desk.end(run)

    assert [("left", "left", "twins.1.left"), ("right", "right", "twins.1.right")] == members
    assert ["wipe sda 1"] == done[run]
    told = "delegate: wipe: wiped sda; delegate: wipe: rejected by a person: not that one"
    assert told == ended.content


inner = Team(
    "inner",
    [agent("leaf", [("wipe", A)])],
    scripted([("delegate", {"member": "leaf", "task": "wipe it"})]),
)
outer = Team(
    "outer",
    [inner, agent("other", "said so")],
    scripted(
        [
            ("delegate", {"member": "inner", "task": "wipe"}),
            ("delegate", {"member": "other", "task": "say"}),
            ("wipe", B),
        ],
        [("delegate", {"member": "inner", "task": "again"})],
    ),
    tools=[wipe],
)


async def test_a_team_as_a_member(desk: Desk) -> None:
    """A question in a team's team names the one who asks, and the leader's own tools wait beside
    it; a second task of the same member is asked about under another id.
    """
    leaf = "outer.1.inner.1.leaf.1.wipe"
    run, (of_leader, of_leaf) = await desk.by_id(outer, "outer.1.wipe", leaf)
    of_leaf.confirm()
    of_leader.reject()
    await desk.send(of_leader, of_leaf)
    await desk.asked(run, "outer.2.inner.1.leaf.1.wipe")
    await desk.resolve(run, Confirm(requirement_id="outer.2.inner.1.leaf.1.wipe"))
    ended = await desk.end(run)

    assert ("leaf", None) == (of_leaf.member_agent_name, of_leader.member_agent_name)
    assert "outer.1.inner.1.leaf" == of_leaf.member_run_id
    assert 2 * ["wipe sda 1"] == done[run]
    assert "delegate: delegate: wipe: wiped sda" == ended.content


async def knows(ask: Ask, prompt: str) -> str:
    times = UserInputField("times", "int", required=False, value=2)
    answer = await ask.question("Really?", [UserInputField("word"), times])
    return f"{prompt}: {answer['times'] * answer['word']}"


strangers = Team(
    "strangers",
    [AskingFunction(knows), PydanticAgent(scripted(heard), name="theirs_too", description="Reads")],
    scripted(
        [
            ("delegate", {"member": "knows", "task": "a"}),
            ("delegate", {"member": "theirs_too", "task": "b"}),
            ("delegate", {"member": "nobody", "task": "c"}),
        ]
    ),
)


async def test_members_of_any_kind(desk: Desk) -> None:
    """Whatever can be a step as an agent can be a member; a task for nobody goes back."""
    run, (asked,) = await desk.by_id(strangers, "strangers.1.knows.1.question")
    asked.provide_user_input({"word": "yes"})
    await desk.send(asked)
    ended = await desk.end(run)

    assert ("knows", "user_input") == (asked.member_agent_name, asked.pause_type)
    told = [each for each in ended.content.split("; ") if "again" not in each]
    assert ["delegate: a: yesyes", "delegate: b"] == told[:2]
    assert "Input should be 'knows' or 'theirs_too'" in str(ended.step_results[0].messages)


spent = agent("spent", [("wipe", A)], usage_limits={"request_limit": 1})
fresh = agent("fresh", [("wipe", B)])
half_spent = Team(
    "half_spent",
    [spent, fresh],
    scripted([("delegate", {"member": name, "task": "wipe"}) for name in ("spent", "fresh")]),
)


async def test_a_member_that_fails(desk: Desk) -> None:
    """A member's failure goes to the leader as a tool's would; the other members go on, and the run
    tells of it.
    """
    of_spent, of_fresh = "half_spent.1.spent.1.wipe", "half_spent.1.fresh.1.wipe"
    run, _ = await desk.by_id(half_spent, of_spent, of_fresh)
    await desk.resolve(run, Confirm(requirement_id=of_spent))
    await desk.asked(run, of_fresh)
    await desk.resolve(run, Confirm(requirement_id=of_fresh))
    ended = await desk.end(run)

    assert RunStatus.completed is ended.status
    assert "request_limit of 1" in ended.content and "wipe: wiped sdb" in ended.content
    assert [("node_failed", "half_spent.1.spent")] == [(e.event, e.path) for e in ended.events]
    assert {"wipe sda 1", "wipe sdb 1"} == set(done[run])


# A turn that asks for several things

mixed = Agent(
    "mixed",
    scripted([("lookup", {"name": "Ann"}), ("wipe", A), ("wipe", {"disk": 5}), *ASKED]),
    tools=[wipe, lookup, UserFeedbackTools()],
)


async def test_mixed_turn(desk: Desk) -> None:
    """In one turn, what nobody guards runs at once and once, what is guarded waits, and a malformed
    call goes back to the model with nobody asked.
    """
    output = await desk.open(mixed, "mixed.1.wipe", "mixed.1.ask_user")
    before = list(done[output.run_id])
    approval, question = output.active_requirements
    question.provide_user_feedback({"Why?": ["broken"]})
    approval.confirm()
    await desk.send(question, approval)
    ended = await desk.end(output.run_id)

    assert ["lookup Ann"] == before
    assert ["lookup Ann", "wipe sda 1"] == done[output.run_id]
    told = ["lookup: Ann is u7", "wipe: wiped sda", 'ask_user: {"Why?": "broken"}']
    assert told == [each for each in told if each in ended.content]
    assert "string_type" in ended.content


malformed = agent("malformed", [("wipe", {"disk": 5})], [("wipe", {"disks": "sda"})], heard)


async def test_malformed_arguments(desk: Desk) -> None:
    """Arguments that a guarded tool does not take go back to the model, and nobody is asked."""
    ended = await desk.end(await desk.start(malformed_thrice))

    assert [] == ended.resolutions
    assert "missing" in ended.content and "extra_forbidden" in ended.content


malformed_thrice = agent(
    "malformed_thrice",
    [("wipe", {"disk": 5})],
    [("wipe", {"disks": "sda"})],
    tools=[Function(wipe.function, requires_confirmation=True, retries=3), lookup],
)
says_while_it_calls = agent("no_such_tool", [("format", A), ("wipe", A)])


async def test_an_unknown_tool_beside_a_guarded_one(desk: Desk) -> None:
    """A call of a tool that is not there goes back to the model; the guarded one waits."""
    output = await desk.open(says_while_it_calls, "no_such_tool.1.wipe")
    await desk.resolve(output.run_id, Confirm(requirement_id="no_such_tool.1.wipe"))
    ended = await desk.end(output.run_id)

    assert "wipe: wiped sda" in ended.content
    assert "format: Unknown tool name: 'format'" in ended.content


# Responses that say more than one thing

says_and_calls = agent(
    "says_and_calls",
    ModelResponse(parts=[TextPart("I wipe it"), ToolCallPart("wipe", A, "c")]),
)
ends_and_calls = Agent(
    "ends_and_calls",
    scripted([("final_result", {"guilty": True, "since": "2026-01-02"}), ("wipe", A)]),
    tools=[wipe],
    output_type=Verdict,
)
twice_one_id = agent(
    "twice_one_id",
    ModelResponse(parts=[ToolCallPart("wipe", A, "c"), ToolCallPart("wipe", B, "c")]),
    max_retries=0,
)


async def test_text_beside_a_call(desk: Desk) -> None:
    """A guarded call waits, whatever is said beside it."""
    output = await desk.open(says_and_calls, "says_and_calls.1.wipe")
    await desk.resolve(output.run_id, Confirm(requirement_id="says_and_calls.1.wipe"))

    assert "wipe: wiped sda" == (await desk.end(output.run_id)).content


async def test_a_result_beside_a_call(desk: Desk) -> None:
    """Where an agent gives its result beside a guarded call, that is not made, and the run says
    so.
    """
    ended = await desk.end(await desk.start(ends_and_calls))

    assert RunStatus.completed is ended.status
    (event,) = ended.events
    assert ("ends_and_calls", "wipe") == (event.path, getattr(event, "tool", None))
    assert [] == done[ended.run_id] == ended.resolutions


async def test_two_calls_of_one_id(desk: Desk) -> None:
    """Calls that nobody could tell apart fail the turn, and neither is made."""
    ended = await desk.end(await desk.start(twice_one_id))

    assert RunStatus.error is ended.status and "duplicate ids" in str(ended.error)
    assert [] == done[ended.run_id] == ended.resolutions


# Arguments that a person edits


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


def _known(disk: str) -> str:
    if not disk.startswith("sd"):
        raise ValueError("no such disk")
    return disk


@tool(requires_confirmation=True)
def partition(
    disk: Annotated[str, AfterValidator(_known)],
    parts: Annotated[int, Field(ge=1), AfterValidator(_even)],
    run_context: Any,
) -> str:
    """Partition a disk."""
    done[run_context.run_id].append(f"partition {disk} {parts}")
    return f"{parts} on {disk}"


edits = agent("edits", [("partition", {"disk": "sda", "parts": 4})], tools=[partition])


async def test_edited_arguments(desk: Desk) -> None:
    """Edited arguments that the tool's schema refuses are refused at the door; those that its own
    validators refuse reopen the question with every problem, and the model sees nothing of it.
    """
    asked = "edits.1.partition"
    output = await desk.open(edits, asked)
    with pytest.raises(MalformedResolution) as refused:
        await desk.resolve(output.run_id, _edit(asked, disk=7, parts=0))
    await desk.resolve(output.run_id, _edit(asked, disk="hda", parts=3))
    output = await desk.asked(output.run_id, f"{asked}~2")
    again: Any = output.run.requirements[0]
    await desk.resolve(output.run_id, _edit(f"{asked}~2", disk="sdb", parts=2))
    ended = await desk.end(output.run_id)

    assert 2 == len(refused.value.problems)
    assert ["disk: Value error, no such disk", "parts: Value error, must be even"] == [
        each.partition(" (got")[0] for each in again.problems
    ]
    assert 2 == again.round
    assert {"disk": "sda", "parts": 4} == again.tool_args
    assert ["partition sdb 2"] == done[output.run_id]
    assert 'called with: {"disk": "sdb", "parts": 2}' in ended.content
    assert "even" not in ended.content


def _edit(asked: str, **arguments: Any) -> EditArguments:
    return EditArguments(requirement_id=asked, arguments=arguments)


async def test_what_is_not_edited_is_not_told(desk: Desk) -> None:
    """An edit that changes nothing, and an approval, tell the model of no change."""
    output = await desk.open(edits)
    await desk.resolve(output.run_id, _edit("edits.1.partition", disk="sda", parts=4))
    ended = await desk.end(output.run_id)

    assert "partition: 4 on sda" == ended.content


# Tools that fail


def _raises(how: str) -> str:
    """Raise something."""
    raise {"retry": ModelRetry("in another way"), "error": ValueError("no disk")}[how]


def _exits() -> str:
    """Leave."""
    raise SystemExit("leaves")


raises = Function(_raises, name="raises", retries=3)
raises_guarded = Function(_raises, name="guarded", requires_confirmation=True)
raises_once = Function(_raises, name="once", idempotent=False)
failing = Agent(
    "failing",
    scripted(
        *[
            [(name, {"how": how}) for name in ("raises", "guarded", "once")]
            for how in ("error", "retry")
        ]
    ),
    tools=[raises, raises_guarded, raises_once],
)


async def test_what_tools_raise(desk: Desk) -> None:
    """What a tool raises reaches the model, guarded or not, as an error or as a wish to be called
    in another way; the run goes on.
    """
    output = await desk.open(failing, "failing.1.guarded")
    await desk.resolve(output.run_id, Confirm(requirement_id="failing.1.guarded"))
    output = await desk.asked(output.run_id, "failing.2.guarded")
    await desk.resolve(output.run_id, Confirm(requirement_id="failing.2.guarded"))
    ended = await desk.end(output.run_id)
    told = str(ended.step_results[0].messages)

    assert RunStatus.completed is ended.status
    assert 3 == told.count("ValueError: no disk")
    assert 3 == ended.content.count("in another way")


# Agents of pydantic-ai's as they are


@dataclass
class Bank:
    limit: int


_external = ExternalToolset(
    [ToolDefinition(name="transfer", parameters_json_schema={"type": "object", "properties": {}})]
)
_toolset: FunctionToolset[Any] = FunctionToolset(id="more")


@_toolset.tool_plain(requires_approval=True)
def close(account: str) -> str:
    return f"closed {account}"


theirs: PydanticAgent[Any, str] = PydanticAgent(
    scripted(
        [
            ("pay", {"amount": 5}),
            ("pay", {"amount": 500}),
            ("transfer", {}),
            ("close", {"account": "a1"}),
            ("which", {}),
        ]
    ),
    name="theirs",
    toolsets=[_external, _toolset],
)


@theirs.tool
def pay(ctx: RunContext[Any], amount: int) -> str:
    if amount > 100 and not ctx.tool_call_approved:
        raise ApprovalRequired(metadata={"why": "much"})
    return f"paid {amount} of {ctx.deps.session_state.get('limit')}"


@theirs.tool_plain
def which() -> str:
    raise CallDeferred(kind="question")


in_a_step = Workflow("with_theirs", [Step(name="bank", agent=theirs)])


async def test_a_pydantic_ai_agent(desk: Desk) -> None:
    """An agent of pydantic-ai's is a step as it is: tools that ask for approval in their code or by
    their mark wait, external ones and questions too, and `deps` is what the run gives.
    """
    names = ["pay", "transfer", "close", "which"]
    run = await desk.start(in_a_step, session_state={"limit": 9})
    output = await desk.asked(run, *[f"bank.1.{name}" for name in names])
    kinds = [each.kind for each in output.run.requirements]
    await desk.resolve(
        run,
        Confirm(requirement_id="bank.1.pay"),
        Report(requirement_id="bank.1.transfer", result={"id": 3}),
        Reject(requirement_id="bank.1.close", feedback="not yet", resolved_by="ana"),
        Answer(requirement_id="bank.1.which", values={"answer": "that"}),
    )
    ended = await desk.end(run)

    assert ["tool_confirmation", "tool_execution", "tool_confirmation", "question"] == kinds
    assert (
        'pay: paid 5 of 9; pay: paid 500 of 9; transfer: {"id": 3};'
        ' close: rejected by ana: not yet; which: {"answer": "that"}'
    ) == ended.content


made_to_pause: PydanticAgent[Any, Any] = PydanticAgent(
    scripted([("close", {"account": "a1"})]),
    name="made_to_pause",
    toolsets=[_toolset],
    output_type=[str, DeferredToolRequests],
)
in_another_step = Workflow("with_made_to_pause", [made_to_pause])


async def test_a_pydantic_ai_agent_that_pauses_by_itself(desk: Desk) -> None:
    """An agent of pydantic-ai's that was made to pause is a step too, under its own name."""
    output = await desk.open(in_another_step, "made_to_pause.1.close")
    await desk.resolve(output.run_id, Confirm(requirement_id="made_to_pause.1.close"))

    assert "close: closed a1" == (await desk.end(output.run_id)).content


def test_a_pydantic_ai_agent_without_a_name() -> None:
    """An agent without a name cannot be a step: activity types are made of it."""
    with pytest.raises(DefinitionError, match="has no name"):
        Step(name="bank", agent=PydanticAgent(scripted()))


# Confirmation on a condition


def _much(amount: int) -> bool:
    if amount < 0:
        raise ValueError("who knows")
    return amount > 100


@tool(requires_confirmation=_much)
def refund(amount: int, run_context: Any, to: str = "her") -> str:
    """Refund."""
    done[run_context.run_id].append(f"refund {amount}")
    return f"refunded {amount}"


conditional = agent(
    "conditional", [("refund", {"amount": n}) for n in (5, 500, -1)], tools=[refund]
)


async def test_conditional_confirmation(desk: Desk) -> None:
    """A person is asked about the calls whose arguments the predicate says so of, and about those
    of which it cannot say.
    """
    output = await desk.open(conditional, "conditional.1.refund", "conditional.1.refund-2")
    asked = [each.tool.tool_args for each in output.active_requirements]
    before = list(done[output.run_id])
    for each in output.active_requirements:
        each.confirm()
        await desk.send(each)
    ended = await desk.end(output.run_id)

    assert [{"amount": 500}, {"amount": -1}] == asked
    assert ["refund 5"] == before
    assert {"refund 5", "refund 500", "refund -1"} == set(done[output.run_id])
    assert "refund: refunded 5; refund: refunded 500; refund: refunded -1" == ended.content


# What only a person fills in


class Address(BaseModel):
    street: str = Field(min_length=2)
    zip: int


@tool(requires_user_input=True, user_input_fields=["basis", "due", "address"])
def erase(
    user: str,
    basis: Literal["gdpr", "fraud"],
    due: date,
    address: Address,
    note: str = "none",
) -> str:
    """Erase a user.

    Args:
        user: Whom.
        basis: By which law.
    """
    return f"erased {user}: {basis} {due:%d.%m.%y} {address.street} {address.zip} {note}"


def sees(_: Any, info: Any) -> list[Called]:
    (shown,) = info.function_tools
    properties = shown.parameters_json_schema["properties"]
    return [("erase", {"user": ",".join(properties), "note": properties["user"]["description"]})]


fills_in = agent("fills_in", sees, tools=[erase])


async def test_fields_that_no_model_sees(desk: Desk) -> None:
    """The model sees and fills in the rest alone; the form has all, with types and what the model
    gave; a value of a wrong type is refused at the door, with every problem.
    """
    output = await desk.open(fills_in, "fills_in.1.erase")
    (asked,) = output.active_requirements
    shown = {each.name: (each.field_type, each.value) for each in asked.user_input_schema}
    allowed = {each.name: each.allowed_values for each in asked.user_input_schema}
    by_hand = {"basis": "whim", "due": "soon", "address": {"street": "x", "zip": "y"}}
    with pytest.raises(MalformedResolution) as refused:
        await desk.resolve(output.run_id, Answer(requirement_id=asked.id, values=by_hand))
    asked.provide_user_input({"basis": "gdpr", "due": "2026-12-24"})
    begun = asked.is_resolved()
    asked.provide_user_input({"address": {"street": "Kai", "zip": 8}})
    await desk.send(asked)
    ended = await desk.end(output.run_id)

    assert {
        "user": ("str", "user,note"),
        "basis": ("str", None),
        "due": ("str", None),
        "address": ("dict", None),
        "note": ("str", "Whom."),
    } == shown
    assert ["gdpr", "fraud"] == allowed["basis"]
    assert {"address.street", "address.zip", "basis", "due"} == {
        each.partition(":")[0] for each in refused.value.problems
    }
    assert (False, True) == (begun, asked.is_resolved())
    assert "erase: erased user,note: gdpr 24.12.26 Kai 8 Whom." == ended.content


@tool(requires_user_input=True)
def book(hotel: str, nights: Annotated[int, AfterValidator(_even)]) -> str:
    """Book."""
    return f"{nights} nights at {hotel}"


corrects = agent("corrects", [("book", {"hotel": "Ritz", "nights": 2})], tools=[book])


async def test_values_that_a_person_corrects(desk: Desk) -> None:
    """Where no field is the person's alone, all are filled in by the model, and may be corrected;
    what the tool refuses is asked again; the model is told what it was called with.
    """
    output = await desk.open(corrects, "corrects.1.book")
    (asked,) = output.active_requirements
    before = [(each.name, each.value) for each in asked.user_input_schema]
    asked.user_input_schema[1].value = 3
    await desk.send(asked)
    output = await desk.asked(output.run_id, "corrects.1.book~2")
    again: Any = output.run.requirements[0]
    (asked,) = output.active_requirements
    asked.provide_user_input({"nights": 4})
    await desk.send(asked)
    ended = await desk.end(output.run_id)

    assert [("hotel", "Ritz"), ("nights", 2)] == before
    assert ["nights: Value error, must be even (got 3)"] == list(again.problems)
    told = 'the tool was called with: {"hotel": "Ritz", "nights": 4}'
    assert "4 nights at Ritz" in ended.content and told in ended.content


async def test_values_that_a_person_leaves(desk: Desk) -> None:
    """What the model filled in stands where a person adds nothing."""
    output = await desk.open(corrects)
    (asked,) = output.active_requirements
    asked.provide_user_input({})
    await desk.send(asked)

    assert "book: 2 nights at Ritz" == (await desk.end(output.run_id)).content


# What an agent asks by itself

TWICE: list[Called] = [*ASKS_FOR, *ASKS_FOR]
curious = agent("curious", TWICE, ASKS_FOR, tools=[UserControlFlowTools()])


async def test_input_in_several_rounds(desk: Desk) -> None:
    """An agent may ask for values several times, also twice at once; each answer goes where it was
    asked for.
    """
    output = await desk.open(curious, "curious.1.get_user_input", "curious.1.get_user_input-2")
    for city, each in zip(["Rome", "Oslo"], output.active_requirements, strict=True):
        each.provide_user_input({"city": city, "nights": 2})
        await desk.send(each)
    output = await desk.asked(output.run_id, "curious.2.get_user_input")
    (last,) = output.active_requirements
    fields = [(e.name, e.field_type, e.description) for e in last.user_input_schema]
    with pytest.raises(MalformedResolution, match="nights"):
        last.provide_user_input({"city": "Bonn", "nights": "two"})
    with pytest.raises(MalformedResolution, match="country"):
        last.provide_user_input({"country": "France"})
    last.reject("ask no more")
    await desk.send(last)
    ended = await desk.end(output.run_id)
    told = str(ended.step_results[0].messages)

    assert [("city", "str", "Where"), ("nights", "int", None)] == fields
    assert "'city': 'Rome', 'nights': 2" in told and "'city': 'Oslo', 'nights': 2" in told
    assert "get_user_input: rejected by a person: ask no more" == ended.content
    assert (3, 1) == (len(output.requirements), len(output.active_requirements) + 1)


async def test_a_question_with_options(desk: Desk) -> None:
    """What a question does not offer is refused at the door, and by the draft before it."""
    output = await desk.open(asks_user, "asks_user.1.ask_user")
    (asked,) = output.active_requirements
    (question,) = asked.user_feedback_schema
    with pytest.raises(MalformedResolution, match="rusty"):
        await desk.resolve(output.run_id, Answer(requirement_id=asked.id, values={"Why?": "rusty"}))
    with pytest.raises(MalformedResolution, match="rusty"):
        asked.provide_user_feedback({"Why?": ["rusty"]})
    with pytest.raises(MalformedResolution):
        asked.provide_user_feedback({"Why?": ["old", "broken"]})
    asked.provide_user_feedback({"Why?": ["old"]})
    await desk.send(asked)

    assert ["old", "broken"] == [each.label for each in question.options]
    assert [None, "It clicks"] == [each.description for each in question.options]
    assert ("user_feedback", False) == (asked.pause_type, question.multi_select)
    assert [True, False] == [e.selected for e in asked.user_feedback_schema[0].options]
    assert 'ask_user: {"Why?": "old"}' == (await desk.end(output.run_id)).content


asks_user = agent("asks_user", ASKED, tools=[UserFeedbackTools()])
asks_badly = agent(
    "asks_badly",
    [("ask_user", {"questions": []})],
    tools=[UserFeedbackTools()],
)


async def test_a_question_without_any(desk: Desk) -> None:
    """A question that asks nothing goes back to the model."""
    assert "at least one" in await desk.said(asks_badly)


# Definitions that are refused

OPTIONS: dict[str, Any] = {
    "no option": lambda: tool(requires_approval=True)(lookup),  # type: ignore[call-overload]
    "one of": lambda: tool(requires_confirmation=True, external_execution=True)(lookup),
    "no parameter": lambda: tool(user_input_fields=["mail"])(lookup),
    "is not there": lambda: Toolkit(tools=[lookup], requires_confirmation_tools=["look_up"]),
    "is to be guarded": lambda: Toolkit(
        tools=[lookup], external_execution_required_tools=["nothing"]
    ),
    "keep one": lambda: Toolkit(tools=[wipe], external_execution_required_tools=["wipe"]),
    "two tools": lambda: Agent("a", tools=[wipe, Toolkit(tools=[wipe])]),
    "no tool": lambda: Agent("a", tools=["wipe"]),
    "no model": lambda: Agent("a", 5),  # type: ignore[arg-type]
    "no option 'modell'": lambda: Agent("a", modell="x"),  # type: ignore[call-arg]
    "usage_limits": lambda: Agent("a", usage_limits={"requests": 3}).adapter,
    "members of different names": lambda: Team("t", [left, left]),
    "no agent": lambda: Team("t", [left, 5]),  # type: ignore[list-item]
    "stands for two things": lambda: Agent("a", tools=[Function(lookup, name="turn")]),
    "needs members": lambda: Team("t", []),
}


@pytest.mark.parametrize("message", OPTIONS)
def test_definitions(message: str) -> None:
    """What an author writes wrongly is refused where it is written; nothing runs unguarded."""
    with pytest.raises(DefinitionError, match=message):
        OPTIONS[message]()


kit = Toolkit(
    "disks",
    [lookup, Function(wipe.function, name="wipe")],
    requires_confirmation_tools=["wipe"],
    external_execution_required_tools=["lookup"],
)
with_kit = Agent("with_kit", scripted([("wipe", A), ("lookup", {"name": "Ann"})]), tools=[kit])


async def test_toolkit(desk: Desk) -> None:
    """The tools that a toolkit lists as guarded are, each in its way."""
    output = await desk.open(with_kit, "with_kit.1.wipe", "with_kit.1.lookup")
    await desk.resolve(
        output.run_id,
        Confirm(requirement_id="with_kit.1.wipe"),
        Report(requirement_id="with_kit.1.lookup", error="nobody there"),
    )
    ended = await desk.end(output.run_id)

    assert "wipe: wiped sda; lookup: nobody there" == ended.content
    assert ["wipe sda 1"] == done[output.run_id]


# What an agent may use, gives and changes

greedy = agent("greedy", *[[("wipe", A)]] * 5, usage_limits={"request_limit": 2})
greedy_step = Workflow(
    "greedy_step", [Step(name="work", agent=greedy, on_error=OnError.skip), lambda: "after"]
)


async def test_usage_limits(desk: Desk) -> None:
    """What an agent uses counts over all its turns; over its limit its own run fails, with what was
    approved before done once.
    """
    output = await desk.open(greedy, "greedy.1.wipe")
    await desk.resolve(output.run_id, Confirm(requirement_id="greedy.1.wipe"))
    await desk.asked(output.run_id, "greedy.2.wipe")
    await desk.resolve(output.run_id, Confirm(requirement_id="greedy.2.wipe"))
    ended = await desk.end(output.run_id)

    assert RunStatus.error is ended.status
    assert "request_limit of 2" in str(ended.error)
    assert 2 * ["wipe sda 1"] == done[output.run_id]


async def test_usage_limits_in_a_step(desk: Desk) -> None:
    """What becomes of a step whose agent is over its limit is the step's `on_error`."""
    output = await desk.open(greedy_step, "work.1.wipe")
    await desk.resolve(output.run_id, Reject(requirement_id="work.1.wipe"))
    await desk.asked(output.run_id, "work.2.wipe")
    await desk.resolve(output.run_id, Reject(requirement_id="work.2.wipe"))
    ended = await desk.end(output.run_id)

    assert (RunStatus.completed, "after") == (ended.status, ended.content)
    assert ["work"] == [each.path for each in ended.failed_steps]


judge = Agent(
    "judge",
    scripted([("wipe", A)], [("final_result", {"guilty": True, "since": "2026-01-02"})]),
    tools=[wipe],
    output_type=Verdict,
)


async def test_output_type(desk: Desk) -> None:
    """An agent gives what its `output_type` says, as data."""
    output = await desk.open(judge, "judge.1.wipe")
    await desk.resolve(output.run_id, Confirm(requirement_id="judge.1.wipe"))

    expected = {"guilty": True, "since": "2026-01-02"}
    assert expected == (await desk.end(output.run_id)).content


def count(session_state: dict[str, Any]) -> int:
    """Count."""
    session_state["n"] = session_state.get("n", 0) + 1
    return session_state["n"]


count_guarded = Function(count, name="count_guarded", requires_confirmation=True)
counter = agent(
    "counter",
    [("count", {})],
    [("count_guarded", {})],
    [("count", {})],
    tools=[count, count_guarded],
    session_state={"n": 10},
)


@tool(requires_confirmation=True)
async def count_slowly(session_state: dict[str, Any]) -> int:
    """Count, and let others work meanwhile."""
    before = session_state.get("n", 0)
    await asyncio.sleep(0.05)
    session_state["n"] = before + 1
    return session_state["n"]


slow = [("count_slowly", {}), ("count_slowly", {})]
racing = Team(
    "racing",
    [agent(name, slow, tools=[count_slowly]) for name in ("one", "two")],
    scripted([("delegate", {"member": name, "task": "count"}) for name in ("one", "two")]),
)


async def test_tools_that_share_the_state(desk: Desk) -> None:
    """Approved tools that read and change what they share do so one after another, in the members
    too: nothing that one wrote is lost.
    """
    ids = [f"racing.1.{m}.1.count_slowly{n}" for m in ("one", "two") for n in ("", "-2")]
    run, asked = await desk.by_id(racing, *ids)
    for each in asked:
        each.confirm()
    await asyncio.gather(*map(desk.send, asked))
    ended = await desk.end(run)

    assert ({"n": 4}, []) == (ended.session_state, ended.events)


writers: PydanticAgent[Any, str] = PydanticAgent(
    scripted([("write", {"name": "a"}), ("write", {"name": "b"})]), name="writers"
)
at_once = asyncio.Barrier(2)


@writers.tool(requires_approval=True)
async def write(ctx: RunContext[Any], name: str) -> str:
    await asyncio.wait_for(at_once.wait(), 10)
    ctx.deps.session_state["by"] = name
    return name


in_a_third_step = Workflow("with_writers", [writers])


async def test_tools_that_write_at_once(desk: Desk) -> None:
    """Where tools of which nothing is known work at once and write one key differently, the last to
    end wins, and the run says so.
    """
    output = await desk.open(in_a_third_step, "writers.1.write", "writers.1.write-2")
    both = [Confirm(requirement_id=each.id) for each in output.run.requirements]
    await asyncio.gather(*(desk.resolve(output.run_id, each) for each in both))
    ended = await desk.end(output.run_id)

    (conflict,) = ended.events
    assert ("writers.1", "by") == (conflict.path, getattr(conflict, "key", None))
    won = {"writers.1.write": "a", "writers.1.write-2": "b"}[getattr(conflict, "kept", "")]
    assert {"by": won} == ended.session_state


async def test_session_state(desk: Desk) -> None:
    """Tools read and change what the run's steps share, in a turn and after an approval."""
    output = await desk.open(counter, "counter.1.count_guarded", session_state={"n": 20})
    await desk.resolve(output.run_id, Confirm(requirement_id="counter.1.count_guarded"))
    ended = await desk.end(output.run_id)

    assert ("count: 23", {"n": 23}) == (ended.content, ended.session_state)


def large(size: int, run_context: Any) -> Any:
    """Return much."""
    done[run_context.run_id].append(f"large {size}")
    return ToolReturn("x" * size, metadata={"size": size})


large_guarded = Function(large, name="large_guarded", requires_confirmation=True)
TOO_LARGE = 3_000_000
heavy = Agent(
    "heavy",
    scripted(
        [("large", {"size": TOO_LARGE}), ("large_guarded", {"size": TOO_LARGE})],
        lambda messages, info: f"{heard(messages)} [{len(messages)}]",
    ),
    tools=[large, large_guarded],
)


async def test_results_that_are_too_large(desk: Desk) -> None:
    """A result that no run can keep is refused in words that reach the model; the tool runs once,
    guarded or not.
    """
    output = await desk.open(heavy, "heavy.1.large_guarded")
    await desk.resolve(output.run_id, Confirm(requirement_id="heavy.1.large_guarded"))
    ended = await desk.end(output.run_id)

    assert RunStatus.completed is ended.status
    assert 2 == ended.content.count("more than a run can keep")
    assert 2 * [f"large {TOO_LARGE}"] == done[output.run_id]


talkative = agent(
    "talkative",
    *[[("large", {"size": 6_000})]] * 3,
    [("large_guarded", {"size": 20_000})],
    tools=[large, large_guarded],
)


async def test_a_long_conversation(desk: Desk) -> None:
    """A conversation above what travels with a call is fetched, and nothing of it is lost."""
    output = await desk.open(talkative, "talkative.1.large_guarded")
    await desk.resolve(output.run_id, Confirm(requirement_id="talkative.1.large_guarded"))
    ended = await desk.end(output.run_id)

    assert 20_000 == ended.content.count("x")
    assert 10 == len(ended.step_results[0].messages)
    assert 5 == ended.step_results[0].usage["requests"]


async def test_cancelled_while_it_waits(desk: Desk) -> None:
    """A cancel closes whatever is open, in the members too, and no tool runs any more."""
    output = await desk.open(twins)
    await desk.client.cancel(output.run_id)
    ended = await desk.end(output.run_id)

    assert RunStatus.cancelled is ended.status
    assert 2 * ["withdraw"] == [each.action for each in ended.resolutions]
    assert [] == done[output.run_id]
    with pytest.raises(AlreadyResolved):
        await desk.resolve(
            output.run_id, Confirm(requirement_id=ended.resolutions[0].requirement_id)
        )


SERVED = [value for value in globals().values() if isinstance(value, (Agent, Workflow))]


@pytest.fixture(scope="module")
async def desk(env: WorkflowEnvironment) -> AsyncIterator[Desk]:
    served = [each for each in SERVED if each not in (left, right, inner)]
    async with desk_of(env, *served) as made:
        yield made
