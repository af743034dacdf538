"""What users of pydantic-ai have works in runs as it is, or is refused where it is written.

One worker serves all agents, and every history replays at the end.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import (
    Agent as PydanticAgent,
)
from pydantic_ai import (
    BinaryContent,
    NativeOutput,
    PromptedOutput,
    RunContext,
    TextOutput,
    Tool,
    ToolOutput,
    ToolReturn,
)
from pydantic_ai.agent import WrapperAgent
from pydantic_ai.capabilities import (
    AbstractCapability,
    Capability,
    HandleDeferredToolCalls,
    Hooks,
    Instrumentation,
    ModelFallback,
    NativeTool,
    PrefixTools,
    ProcessEventStream,
    ProcessHistory,
    SelectModel,
    Toolset,
)
from pydantic_ai.durable_exec.temporal import TemporalDurability
from pydantic_ai.exceptions import (
    ApprovalRequired,
    CallDeferred,
    ModelHTTPError,
    ModelRetry,
    SkipToolExecution,
)
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.native_tools import WebSearchTool
from pydantic_ai.tools import DeferredToolRequests, ToolDefinition
from pydantic_ai.toolsets import CombinedToolset, FunctionToolset, WrapperToolset
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Confirm,
    EditArguments,
    OnTimeout,
    Report,
    RunStatus,
    Step,
    Workflow,
)
from temporal_hitl.agents import Agent, Team, Toolkit, adapter_of
from temporal_hitl.errors import DefinitionError
from tests.agents import Desk, desk_of, heard, scripted
from tests.stage import ended, paused, replays, serving

done: dict[str, list[str]] = defaultdict(list)
"""What tools did, by run."""


def theirs(name: str, *turns: Any, **options: Any) -> PydanticAgent[Any, Any]:
    return PydanticAgent(scripted(*turns), name=name, **options)


# Deps


@dataclass
class Bank:
    customer: str | None
    limit: int


rich = theirs("rich", [("pay", {"cents": 5}), ("pay_out", {"cents": 7})], deps_type=Bank)


@rich.instructions
async def for_whom(ctx: RunContext[Bank]) -> str:
    return f"for {ctx.deps.customer}"


@rich.tool
def pay(ctx: RunContext[Bank], cents: int) -> str:
    """Pay."""
    return f"{ctx.deps.customer} paid {cents} of {ctx.deps.limit}"


@rich.tool(requires_approval=True)
async def pay_out(ctx: RunContext[Bank], cents: int) -> str:
    """Pay out."""
    return f"{ctx.deps.customer} was paid {cents} of {ctx.deps.limit}"


async def bank_of(run: Any) -> Bank:
    return Bank(run.user_id, run.session_state["limit"])


rich_in_a_step = Workflow("with_rich", [Step(agent=adapter_of(rich, deps=bank_of))])


async def test_deps(desk: Desk) -> None:
    """An agent with deps of its own is given them, made of the run, in its turns and in the tools
    that were approved.
    """
    run = await desk.start(rich_in_a_step, user_id="ana", session_state={"limit": 9})
    output = await desk.asked(run, "rich.1.pay_out")
    (asked,) = output.run.requirements
    await desk.resolve(run, EditArguments(requirement_id=asked.id, arguments={"cents": 8}))
    ended = await desk.end(run)

    assert {"cents"} == set(asked.model_dump()["form"]["properties"])
    assert "pay: ana paid 5 of 9; pay_out: ana was paid 8 of 9" in ended.content


def test_deps_that_no_run_has() -> None:
    """Deps that nothing makes are refused where the agent becomes a step, and so is what cannot
    make them.
    """
    with pytest.raises(DefinitionError, match=r"type Bank.*adapter_of\(agent, deps=lambda run"):
        Step(agent=rich)
    with pytest.raises(DefinitionError, match="cannot be called; give a function"):
        adapter_of(rich, deps=Bank("ana", 9))  # type: ignore[arg-type]


# Outputs


class Verdict(BaseModel):
    guilty: bool


class Doubt(BaseModel):
    why: str


def shouted(text: str) -> str:
    return text.upper()


STRUCTURED = [("final_result", {"guilty": True})]
AS_JSON = '{"guilty": true}'
PICTURE = b"\x89PNG\xff\x00"


def picture() -> BinaryContent:
    """Draw."""
    return BinaryContent(PICTURE, media_type="image/png")


OUTPUTS: dict[str, tuple[Any, Any, Any]] = {
    "a_tool": (ToolOutput(Verdict), STRUCTURED, {"guilty": True}),
    "a_type": (Verdict, STRUCTURED, {"guilty": True}),
    "native": (NativeOutput(Verdict), AS_JSON, {"guilty": True}),
    "prompted": (PromptedOutput(Verdict), AS_JSON, {"guilty": True}),
    "several": ([Verdict, Doubt], [("final_result_Doubt", {"why": "?"})], {"why": "?"}),
    "text": (TextOutput(shouted), "guilty", "GUILTY"),
    "a_function": ([shouted], [("final_result", {"text": "x"})], "X"),
    "a_picture": ([picture], [("final_result", {})], None),
}


def picture_bytes() -> bytes:
    """Draw."""
    return PICTURE


OUTPUT_AGENTS = {
    name: theirs(name, [("sign", {})], said, output_type=kind)
    for name, (kind, said, _) in OUTPUTS.items()
}


def sign() -> str:
    return "signed"


for each in OUTPUT_AGENTS.values():
    each.tool_plain(requires_approval=True)(sign)

output_flows = [Workflow(f"with_{name}", [agent]) for name, agent in OUTPUT_AGENTS.items()]


async def test_outputs(desk: Desk) -> None:
    """Whatever an agent gives, and however its model says it, is the run's content as JSON data,
    and it can pause before.
    """

    async def said(flow: Workflow, name: str) -> Any:
        output = await desk.open(flow, f"{name}.1.sign")
        await desk.resolve(output.run_id, Confirm(requirement_id=f"{name}.1.sign"))
        return (await desk.end(output.run_id)).content

    told = await asyncio.gather(*map(said, output_flows, OUTPUTS))

    drawn = told.pop()
    assert [expected for _, _, expected in OUTPUTS.values()][:-1] == told
    assert PICTURE == urlsafe_b64decode(drawn["data"])


def draw(messages: Any, _: Any) -> Any:
    done["raw"].append("asked")
    return [("final_result", {})]


raw = theirs("raw", draw, output_type=[picture_bytes])
raw_flow = Workflow("with_raw", [Step(agent=raw, on_error="fail")])


async def test_outputs_that_are_no_data(desk: Desk) -> None:
    """An output that no run can keep fails the step at once, in words."""
    ended = await desk.end(await desk.start(raw_flow))

    assert "raw gives a bytes, which is no JSON data" in str(ended.error)
    assert ["asked"] == done["raw"]


strict = theirs(
    "strict", [("sign", {})], "guilty", "not proven", output_type=[str, DeferredToolRequests]
)
strict.tool_plain(requires_approval=True)(sign)


@strict.output_validator
def no_verdict(output: Any) -> Any:
    if output == "guilty":
        raise ModelRetry("say it otherwise")
    return output


strict_flow = Workflow("with_strict", [strict])


async def test_output_validators(desk: Desk) -> None:
    """What an output validator refuses goes back to the model, in an agent made to pause."""
    output = await desk.open(strict_flow, "strict.1.sign")
    await desk.resolve(output.run_id, Confirm(requirement_id="strict.1.sign"))

    assert "not proven" == (await desk.end(output.run_id)).content


def test_output_validators_that_cannot_pause() -> None:
    """An agent whose output validators leave no room for a pause is refused."""
    agent = theirs("stricter")
    agent.output_validator(lambda output: output)

    with pytest.raises(
        DefinitionError, match=r"write output_type=\[\.\.\., DeferredToolRequests\]"
    ):
        Step(agent=agent)


# Tools that say in their code that they wait


says = theirs(
    "says",
    [("spend", {"cents": 500}), ("ask", {"about": "it"}), ("print", {}), ("checked", {"n": 3})],
)


@says.tool
def spend(ctx: RunContext[Any], cents: int) -> str:
    if not ctx.tool_call_approved:
        raise ApprovalRequired(metadata={"why": "much", "limit": 100})
    return f"spent {cents}"


@says.tool_plain
def ask(about: str) -> str:
    raise CallDeferred(kind="question", metadata={"hint": "be brief"})


@says.tool_plain(name="print")
def prints() -> str:
    raise CallDeferred(metadata={"queue": "lobby"})


def needs_approval(ctx: RunContext[Any], n: int) -> None:
    if n > 9:
        raise ModelRetry("9 at most")
    if not ctx.tool_call_approved:
        raise ApprovalRequired(metadata={"n": n})


@says.tool_plain(args_validator=needs_approval)
def checked(n: int) -> str:
    return f"checked {n}"


says_flow = Workflow("with_says", [says])


async def test_what_tools_say(desk: Desk) -> None:
    """Tools that raise that they wait are asked about with what they say, and with their arguments
    as a form; edited ones that the tool's own check refuses are asked about again.
    """
    ids = [f"says.1.{name}" for name in ("spend", "ask", "print", "checked")]
    output = await desk.open(says_flow, *ids)
    there = {each.id: each for each in output.run.requirements}
    told = {each: there[each].message for each in ids}
    await desk.resolve(
        output.run_id,
        Confirm(requirement_id=ids[0]),
        Answer(requirement_id=ids[1], values={"answer": "no"}),
        Report(requirement_id=ids[2], result="printed"),
        EditArguments(requirement_id=ids[3], arguments={"n": 11}),
    )
    again = await desk.asked(output.run_id, f"{ids[3]}~2")
    problems = again.run.requirements[0].model_dump()["problems"]
    await desk.resolve(
        output.run_id, EditArguments(requirement_id=f"{ids[3]}~2", arguments={"n": 4})
    )
    ended = await desk.end(output.run_id)

    assert "May says call spend? (why: much; limit: 100)" == told[ids[0]]
    assert told[ids[1]].endswith("(hint: be brief)")
    assert told[ids[2]].endswith("report its result (queue: lobby)")
    assert {"cents"} == set(there[ids[0]].model_dump()["form"]["properties"])
    assert ("9 at most",) == tuple(problems)
    assert (
        'spend: spent 500; ask: {"answer": "no"}; print: printed; checked: checked 4'
        in ended.content
    )


# Toolsets


shop: FunctionToolset[Any] = FunctionToolset()


@shop.tool_plain
def sell(item: str) -> str:
    """Sell."""
    return f"sold {item}"


@shop.tool_plain(requires_approval=True, sequential=True)
def buy(item: str) -> str:
    """Buy."""
    return f"bought {item}"


class Loud(WrapperToolset[Any]):
    async def call_tool(self, name: str, tool_args: Any, ctx: Any, tool: Any) -> Any:
        return f"{await super().call_tool(name, tool_args, ctx, tool)}!"


class Fragile(WrapperToolset[Any]):
    """Ends badly once its tool was called, as a server does that is gone."""

    async def call_tool(self, name: str, tool_args: Any, ctx: Any, tool: Any) -> Any:
        done["fragile"].append(name)
        return await super().call_tool(name, tool_args, ctx, tool)

    async def __aexit__(self, *args: Any) -> bool | None:
        if done["fragile"] == ["sell", "buy"]:
            done["fragile"].append("ended")
            raise ConnectionError("gone")
        return await super().__aexit__(*args)


async def described(ctx: Any, tools: list[ToolDefinition]) -> list[ToolDefinition]:
    return [replace(each, description="x") for each in tools]


WRAPPED: dict[str, tuple[Any, str, str]] = {
    "combined": (CombinedToolset([shop]), "sell", "buy"),
    "filtered": (shop.filtered(lambda ctx, tool: True), "sell", "buy"),
    "prefixed": (shop.prefixed("my"), "my_sell", "my_buy"),
    "renamed": (shop.renamed({"give": "sell", "take": "buy"}), "give", "take"),
    "prepared": (shop.prepared(described), "sell", "buy"),
    "wrapped": (Loud(shop), "sell", "buy"),
    "fragile": (Fragile(shop), "sell", "buy"),
    "on_demand": (
        shop.approval_required(lambda ctx, tool, args: "x" in args["item"]),
        "sell",
        "buy",
    ),
    "described": (shop.with_metadata(a=1), "sell", "buy"),
}
WRAPPED_AGENTS = {
    name: theirs(name, [(sells, {"item": "a"}), (buys, {"item": "b"})], toolsets=[toolset])
    for name, (toolset, sells, buys) in WRAPPED.items()
}
PREFIXED = theirs(
    "by_capability",
    [("our_sell", {"item": "a"}), ("our_buy", {"item": "b"})],
    capabilities=[PrefixTools(wrapped=Toolset(shop), prefix="our")],
)
DYNAMIC = theirs("dynamic", [("sell", {"item": "a"}), ("buy", {"item": "b"})])


@DYNAMIC.toolset
def of_the_run(ctx: RunContext[Any]) -> Any:
    return shop


wrapped_flows = [
    Workflow(f"with_{each.name}", [each]) for each in (*WRAPPED_AGENTS.values(), PREFIXED, DYNAMIC)
]


async def test_toolsets(desk: Desk) -> None:
    """A tool that is marked waits and is then called, however its toolset is wrapped, and under the
    name by which the model calls it.
    """

    async def said(flow: Workflow, name: str, buys: str) -> Any:
        output = await desk.open(flow, f"{name}.1.{buys}")
        kind = output.run.requirements[0].kind
        await desk.resolve(output.run_id, Confirm(requirement_id=f"{name}.1.{buys}"))
        return kind, (await desk.end(output.run_id)).content

    names = {
        **{name: (sells, buys) for name, (_, sells, buys) in WRAPPED.items()},
        "by_capability": ("our_sell", "our_buy"),
        "dynamic": ("sell", "buy"),
    }
    told = await asyncio.gather(
        *(said(flow, name, names[name][1]) for flow, name in zip(wrapped_flows, names, strict=True))
    )

    def loud(name: str) -> str:
        return "!" if name == "wrapped" else ""

    assert [
        ("tool_confirmation", f"{s}: sold a{loud(n)}; {b}: bought b{loud(n)}")
        for n, (s, b) in names.items()
    ] == told
    assert ["sell", "buy", "ended"] == done["fragile"]


# Names


odd = theirs(
    "odd",
    [("shop.sell/now", {}), ("shop.sell-now", {}), ("shop sell now", {})],
    tools=[
        Tool(sign, name="shop.sell/now", requires_approval=True),
        Tool(sign, name="shop.sell-now", requires_approval=True),
        Tool(sign, name="shop sell now", requires_approval=True),
    ],
)
odd_flow = Workflow("with_odd", [odd])


async def test_names_that_are_no_slugs(desk: Desk) -> None:
    """Tools whose names make one slug are questions of their own, each called by its name."""
    output = await desk.open(odd_flow)
    ids = [each.id for each in output.run.requirements]
    await desk.resolve(output.run_id, *[Confirm(requirement_id=each) for each in ids])
    ended = await desk.end(output.run_id)

    assert 3 == len(set(ids))
    assert "shop.sell/now: signed; shop.sell-now: signed; shop sell now: signed" == ended.content, (
        ids
    )


# Around tools


hooks: Hooks[Any] = Hooks()
seen: list[str] = []


@hooks.on.before_tool_execute
async def before(ctx: Any, *, call: Any, tool_def: Any, args: dict[str, Any]) -> dict[str, Any]:
    if args.get("item") == "free":
        raise SkipToolExecution("for nothing")
    return {**args, "item": args["item"].upper()}


@hooks.on.after_tool_execute
async def after(ctx: Any, *, call: Any, tool_def: Any, args: Any, result: Any) -> Any:
    return f"{result} ({call.tool_name})"


def noted(messages: list[ModelMessage]) -> list[ModelMessage]:
    seen.append(f"{len(messages)} messages")
    return messages


hooked = theirs(
    "hooked",
    [("sell", {"item": "a"}), ("sell", {"item": "free"}), ("buy", {"item": "b"})],
    lambda messages, _: [("buy", {"item": heard(messages)})],
    toolsets=[shop],
    capabilities=[hooks, ProcessHistory(noted), Instrumentation()],
)
hooked_flow = Workflow("with_hooked", [hooked])


async def test_hooks(desk: Desk) -> None:
    """Hooks of the agent's stand around its tools, approved ones too, and may skip them; its
    history processors and its instrumentation do their work.
    """
    output = await desk.open(hooked_flow, "hooked.1.buy")
    await desk.resolve(output.run_id, Confirm(requirement_id="hooked.1.buy"))
    output = await desk.asked(output.run_id, "hooked.2.buy")
    said = output.active_requirements[0].tool.tool_args["item"]
    await desk.resolve(output.run_id, Confirm(requirement_id="hooked.2.buy"))
    ended = await desk.end(output.run_id)

    assert "sell: sold A (sell); sell: for nothing; buy: bought B (buy)" == said
    assert 3 == len(seen)
    assert ended.content.startswith("buy: bought SELL: SOLD A")


# What comes back


def photo() -> ToolReturn:
    return ToolReturn("a photo", content=["see", picture()], metadata={"by": "ana"})


def saw(messages: list[ModelMessage], _: Any = None) -> str:
    found = [
        type(content).__name__
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if part.part_kind == "user-prompt" and not isinstance(part.content, str)
        for content in part.content
    ]
    return f"{found} {heard(messages[-1:]) and ''}"


shows = theirs(
    "shows",
    [("photo", {}), ("photo_of", {}), ("picture", {})],
    saw,
    tools=[photo, Tool(photo, name="photo_of", requires_approval=True), picture],
)
shows_flow = Workflow("with_shows", [shows])


async def test_what_tools_return(desk: Desk) -> None:
    """Pictures that tools return, and content beside a result, reach the model, from approved tools
    too.
    """
    output = await desk.open(shows_flow, "shows.1.photo_of")
    await desk.resolve(output.run_id, Confirm(requirement_id="shows.1.photo_of"))
    ended = await desk.end(output.run_id)

    assert RunStatus.completed is ended.status
    assert 2 == ended.content.count("BinaryContent") or 2 == ended.content.count("BinaryImage"), (
        ended.content
    )


# Models


def down(messages: Any, info: Any) -> ModelResponse:
    raise ModelHTTPError(503, "down")


falls_back = PydanticAgent(
    FallbackModel(
        FunctionModel(down), scripted([("sell", {"item": 1})], [("sell", {"item": "a"})])
    ),
    name="falls_back",
    toolsets=[shop],
    retries=2,
    model_settings={"temperature": 0.1},
)
falls_back_flow = Workflow("with_falls_back", [falls_back])
spends = theirs("spends", *[[("sell", {"item": "a"})]] * 5, toolsets=[shop])
spends_flow = Workflow(
    "with_spends",
    [Step(agent=adapter_of(spends, usage_limits={"request_limit": 3}), on_error="fail")],
)


async def test_models(desk: Desk) -> None:
    """A model that falls back does so, and usage limits of an agent as it is end the step."""
    content = await desk.said(falls_back_flow)
    failed = await desk.end(await desk.start(spends_flow))

    assert "sell: sold a" == content
    assert (RunStatus.error, True) == (failed.status, "request_limit of 3" in str(failed.error))


# Capabilities


BUYS = [("buy", {"item": "b"})]
streamed: list[str] = []


def marked() -> list[Tool[Any]]:
    return [Tool(buy, requires_approval=True)]


async def note_events(ctx: Any, events: Any) -> None:
    async for event in events:
        streamed.append(type(event).__name__)


def on_the_fly(ctx: RunContext[Any]) -> Any:
    return Toolset(FunctionToolset(tools=marked()))


def while_open(ctx: RunContext[Any], tool: ToolDefinition) -> ToolDefinition | None:
    return tool if ctx.deps.session_state["open"] else None


on_demand = Capability[Any](id="shop", description="A shop", tools=marked(), defer_loading=True)
LOADS, SEARCHES = ("load_capability", {"id": "shop"}), ("search_tools", {"queries": ["buy"]})
CAPABLE = {
    "selects": PydanticAgent(capabilities=[SelectModel(lambda ctx: scripted(BUYS))]),
    "falls": PydanticAgent(capabilities=[ModelFallback(scripted(BUYS))]),
    "streams": PydanticAgent(
        TestModel(call_tools=["buy"], custom_output_text="buy: bought b"),
        capabilities=[ProcessEventStream(note_events)],
    ),
    "durable": theirs("durable", BUYS, capabilities=[TemporalDurability()]),
    "asks_web": theirs("asks_web", BUYS, capabilities=[NativeTool(WebSearchTool())]),
    "searches": theirs(
        "searches", [SEARCHES], BUYS, toolsets=[FunctionToolset(marked()).defer_loading()]
    ),
    "loads": theirs("loads", [LOADS], BUYS, capabilities=[on_demand]),
    "makes": theirs("makes", BUYS, capabilities=[on_the_fly]),
    "prepares": theirs(
        "prepares", BUYS, tools=[Tool(buy, requires_approval=True, prepare=while_open)]
    ),
}
for name, capable in CAPABLE.items():
    if name in ("selects", "falls", "streams", "durable", "asks_web"):
        capable.tool_plain(requires_approval=True)(buy)
        capable.name = name

capable_flows = [Workflow(f"with_{name}", [each]) for name, each in CAPABLE.items()]


async def test_capabilities(desk: Desk) -> None:
    """Models that capabilities choose, tools that are looked for, loaded, made or prepared for a
    run, native tools, streams of events, and what makes agents durable elsewhere stand as they are.
    """

    async def said(flow: Workflow, name: str) -> Any:
        run = await desk.start(flow, session_state={"open": True})
        await desk.asked(run, f"{name}.1.buy")
        await desk.resolve(run, Confirm(requirement_id=f"{name}.1.buy"))
        return (await desk.end(run)).content

    told = await asyncio.gather(*map(said, capable_flows, CAPABLE))

    assert dict.fromkeys(CAPABLE, "buy: bought b") == dict(zip(CAPABLE, told, strict=True))
    assert "FunctionToolResultEvent" in streamed


at_work: list[str] = []


async def paint(wall: str) -> str:
    """Paint."""
    at_work.append(f"begins {wall}")
    await asyncio.sleep(0.05)
    at_work.append(f"ends {wall}")
    return wall


async def sleeps() -> str:
    """Sleep."""
    await asyncio.sleep(60)
    return "never"


paints = theirs(
    "paints",
    [("paint", {"wall": "a"}), ("paint", {"wall": "b"}), ("sleeps", {})],
    tools=[
        Tool(paint, requires_approval=True, sequential=True),
        Tool(sleeps, requires_approval=True, timeout=0.05),
    ],
)
paints_flow = Workflow("with_paints", [paints])


async def test_one_after_another(desk: Desk) -> None:
    """Approved calls of a sequential tool run one after another; one with a timeout is ended."""
    ids = ["paints.1.paint", "paints.1.paint-2", "paints.1.sleeps"]
    output = await desk.open(paints_flow, *ids)
    both = [desk.resolve(output.run_id, Confirm(requirement_id=each)) for each in ids]
    await asyncio.gather(*both)
    ended = await desk.end(output.run_id)

    assert ["begins", "ends"] * 2 == [each.split()[0] for each in at_work]
    assert "Timed out" in ended.content


# What is around agents


@dataclass
class Wrapped(WrapperAgent[Any, Any]):
    """An agent in another."""

    def __init__(self, wrapped: Any) -> None:
        super().__init__(wrapped)


inner = theirs("inner", [("buy", {"item": "a"})], toolsets=[shop])
kept = theirs("kept", [("buy", {"item": "b"})], toolsets=[shop])
team = Team(
    "team",
    [adapter_of(kept, hitl_timeout=3600, on_timeout="skip"), Wrapped(inner)],
    scripted([("delegate", {"member": each, "task": "go"}) for each in ("kept", "inner")]),
)


async def test_in_a_team(desk: Desk) -> None:
    """What `adapter_of` gives, and an agent that wraps another, are members of a team; questions of
    an agent as it is may have a deadline.
    """
    output = await desk.open(team, "team.1.kept.1.buy", "team.1.inner.1.buy")
    times = {each.id: each.deadline is not None for each in output.run.requirements}
    await desk.resolve(output.run_id, *[Confirm(requirement_id=each) for each in times])
    ended = await desk.end(output.run_id)

    assert {"team.1.kept.1.buy": True, "team.1.inner.1.buy": False} == times
    assert "delegate: buy: bought b; delegate: buy: bought a" == ended.content


async def test_overridden(env: WorkflowEnvironment) -> None:
    """What a test overrides of an agent holds for the turns and the tools of a worker in it."""
    agent = theirs("overridden", toolsets=[shop])
    flow = Workflow("with_overridden", [agent])
    other: FunctionToolset[Any] = FunctionToolset()

    @other.tool(requires_approval=True)
    def trade(ctx: RunContext[Any]) -> str:
        return f"traded by {ctx.deps}"

    with agent.override(model=scripted([("trade", {})]), toolsets=[other], deps="ana"):
        async with desk_of(env, flow) as desk:
            output = await desk.open(flow, "overridden.1.trade")
            await desk.resolve(output.run_id, Confirm(requirement_id="overridden.1.trade"))

            assert "trade: traded by ana" == (await desk.end(output.run_id)).content


# Guards


bazaar: FunctionToolset[Any] = FunctionToolset()
bazaar.tool_plain(sell)
ours = Agent(
    "ours",
    scripted([("buy", {"item": "b"}), ("sell", {"item": "a"})]),
    tools=[*marked(), Toolkit("bazaar", [bazaar], external_execution_required_tools=["sell"])],
    hitl_timeout=3600,
    on_timeout="approve",
)


async def test_tools_of_others_in_an_agent_of_ours(desk: Desk) -> None:
    """pydantic-ai's tools in an `Agent` have its deadline, which approves no more than it may."""
    output = await desk.open(ours, "ours.1.buy", "ours.1.sell")
    times = [each.deadline is not None for each in output.run.requirements]
    silence = [each.on_timeout for each in output.run.requirements]
    await desk.resolve(
        output.run_id,
        Confirm(requirement_id="ours.1.buy"),
        Report(requirement_id="ours.1.sell", result="sold by hand"),
    )

    assert ([True, True], [OnTimeout.approve, OnTimeout.skip]) == (times, silence)
    assert "buy: bought b; sell: sold by hand" == (await desk.end(output.run_id)).content


async def test_a_mark_that_is_taken_away(env: WorkflowEnvironment) -> None:
    """A tool that was marked when the run began still waits where newer code marks it no more."""

    def flow(*, is_marked: bool) -> Workflow:
        agent = theirs("marked", [("look", {})], [("sign", {})])
        agent.tool_plain(requires_approval=True)(look)
        agent.tool_plain(requires_approval=is_marked)(sign)
        return Workflow("with_marked", [agent])

    before, after = flow(is_marked=True), flow(is_marked=False)
    async with serving(env, before) as client:
        run = await client.start(before, "go")
        await paused(client, run)
    async with serving(env, after, queue=client.task_queue) as client:
        await client.resolve(run, Confirm(requirement_id="marked.1.look"))
        output = await client.wait(run, seen=["marked.1.look"], timeout=20)
        await client.resolve(run, Confirm(requirement_id="marked.2.sign"))
        done = await ended(client, run)
        await replays(client.handle(run), before)

    assert [("marked.2.sign", "tool_confirmation")] == [
        (each.id, each.kind) for each in output.requirements
    ]
    assert "sign: signed" == done.content


def look() -> str:
    return "looked"


async def answers(ctx: Any, requests: DeferredToolRequests) -> Any:
    return requests.build_results(approve_all=True)


class Decides(AbstractCapability[Any]):
    async def handle_deferred_tool_calls(self, ctx: Any, *, requests: Any) -> Any:
        return requests.build_results(approve_all=True)


DECIDES: dict[str, AbstractCapability[Any]] = {
    "HandleDeferredToolCalls": HandleDeferredToolCalls(answers),
    "Decides": Decides(),
    "Hooks": Hooks(deferred_tool_calls=answers),
}


@pytest.mark.parametrize("name", DECIDES)
def test_agents_that_decide_by_themselves(name: str) -> None:
    """An agent that answers its own deferred calls is refused: nobody would be asked."""
    with pytest.raises(DefinitionError, match=rf"by itself about the calls that wait \({name}\)"):
        Step(agent=theirs("decides", capabilities=[DECIDES[name]]))


def test_options_of_adapter_of() -> None:
    """An option that there is not is refused with those that there are."""
    with pytest.raises(DefinitionError, match="no option 'timeout'; adapter_of has deps, usage_l"):
        adapter_of(inner, timeout=3)  # type: ignore[call-arg]


def test_lists_of_toolkits() -> None:
    """A toolkit's lists are refused where they contradict each other, and where nothing could be
    listed later.
    """
    lists: dict[str, Any] = {
        "requires_confirmation_tools": ["buy"],
        "external_execution_required_tools": ["buy"],
    }
    with pytest.raises(DefinitionError, match="'buy' stands in two lists"):
        Toolkit("shop", [shop], **lists)
    with pytest.raises(DefinitionError, match="'buy' is to be guarded, and is not there"):
        Toolkit("shop", [sign], requires_confirmation_tools=["buy"])


SERVED = [value for value in globals().values() if isinstance(value, (Agent, Workflow))]


@pytest.fixture(scope="module")
async def desk(env: WorkflowEnvironment) -> AsyncIterator[Desk]:
    async with desk_of(env, *SERVED, *output_flows, *wrapped_flows, *capable_flows) as made:
        yield made
