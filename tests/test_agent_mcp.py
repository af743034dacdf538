"""Agents whose tools a real MCP server lists, in a process of its own, over its standard input.

One worker serves all agents, and every history replays at the end.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.mcp import MCPToolset
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, EditArguments, Report, RunStatus, Step, Workflow
from temporal_hitl.agents import Agent, Toolkit, adapter_of
from tests.agents import Desk, desk_of, scripted

SERVER = '''
import os, sys
from pathlib import Path
from mcp.server import MCPServer

server = MCPServer("shop", log_level="ERROR")


def note(what):
    with Path(sys.argv[1]).open("a") as file:
        file.write(f"{os.getpid()} {what}\\n")


@server.tool()
def look_up(order: str) -> str:
    """Look an order up."""
    note("look_up")
    return f"order {order}"


@server.tool()
def refund(order: str, cents: int) -> dict[str, int]:
    """Refund an order."""
    note(f"refund {cents}")
    return {"refunded": cents}


@server.tool()
def die(order: str) -> str:
    """End in the midst."""
    note("die")
    os._exit(3)


@server.tool(name="shop.close-all")
def close() -> str:
    """Close."""
    raise ValueError("it is closed")


note("opened")
server.run("stdio")
'''


class Shop:
    """The server's script, what it noted, and toolsets of it."""

    def __init__(self, folder: Path) -> None:
        self.script, self.log = folder / "server.py", folder / "log"
        self.script.write_text(SERVER)
        self.log.write_text("")

    def toolset(self, **options: Any) -> MCPToolset[Any]:
        command = [str(self.script), str(self.log)]
        return MCPToolset(StdioTransport(sys.executable, command, **options))

    def noted(self) -> list[tuple[int, str]]:
        lines = [line.partition(" ") for line in self.log.read_text().splitlines()]
        return [(int(pid), what) for pid, _, what in lines]

    def did(self) -> list[str]:
        """Return what its tools did."""
        return [what for _, what in self.noted() if what != "opened"]

    def opened(self) -> list[int]:
        """Return the processes that it has had."""
        return [pid for pid, what in self.noted() if what == "opened"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("mcp"))


REFUND = ("refund", {"order": "7", "cents": 500})
LISTED = ["refund", "die", "shop.close-all"]


@pytest.fixture(scope="module")
async def desk(env: WorkflowEnvironment, shop: Shop) -> AsyncIterator[Desk]:
    tools = shop.toolset()

    def agent(name: str, *turns: Any, guarded: Any = LISTED, toolset: Any = tools) -> Agent:
        kit = Toolkit("shop", [toolset], requires_confirmation_tools=guarded)
        return Agent(name, scripted(*turns), tools=[kit])

    def much(ctx: Any, tool: Any, args: dict[str, Any]) -> bool:
        return args.get("cents", 0) > 100

    foreign: PydanticAgent[Any, Any] = PydanticAgent(
        scripted([("look_up", {"order": "7"}), ("refund", {"order": "7", "cents": 5}), REFUND]),
        name="foreign",
        toolsets=[tools.approval_required(much)],
    )
    agents = [
        agent("listed", [("look_up", {"order": "7"}), REFUND, ("shop.close-all", {})]),
        Workflow("with_foreign", [Step(agent=adapter_of(foreign))]),
        agent("wrong", [REFUND], guarded=["refund", "refunds"]),
        agent("dying", [("die", {"order": "7"})]),
        agent("lost", [("die", {"order": "7"})], [REFUND], guarded=["refund"]),
        agent("opens", [REFUND], toolset=shop.toolset(keep_alive=False)),
    ]
    async with desk_of(env, *agents) as made:
        yield made


def summary(event: Any) -> str:
    return event.user_metadata.summary.data.decode().strip('"')


def served(desk: Desk, name: str) -> Any:
    return next(each for each in desk.served if each.name == name)


async def test_toolkit(desk: Desk, shop: Shop) -> None:
    """Of the tools that a server lists, those of a toolkit's lists wait, with the server's schema
    as their form, and the others run; what is called is what was approved.
    """
    ids = ["listed.1.refund", "listed.1.shop_close-all"]
    output = await desk.open(served(desk, "listed"), *ids)
    before = shop.did()
    form = output.run.requirements[0].model_dump()["form"]
    edited = EditArguments(requirement_id=ids[0], arguments={"order": "7", "cents": 4})
    await desk.resolve(output.run_id, edited, Confirm(requirement_id=ids[1]))
    ended = await desk.end(output.run_id)
    events = (await desk.client.handle(output.run_id).fetch_history()).events
    told = [
        (each.activity_task_scheduled_event_attributes.activity_type.name, summary(each))
        for each in events
        if each.user_metadata.summary.data
    ]

    assert ["look_up"] == before
    assert "integer" == form["properties"]["cents"]["type"]
    assert 'look_up: order 7; refund: {"refunded": 4}; shop.close-all' in ended.content
    assert "Error executing tool shop.close-all" in ended.content
    assert [
        ("listed.tool", "listed: refund, tool"),
        ("listed.tool", "listed: shop.close-all, tool"),
    ] == sorted(each for each in told if each[0] == "listed.tool")


async def test_predicate(desk: Desk) -> None:
    """A predicate of pydantic-ai's says which calls of a server's tools wait."""
    output = await desk.open(served(desk, "with_foreign"), "foreign.1.refund")
    (asked,) = output.run.requirements
    await desk.resolve(output.run_id, Confirm(requirement_id=asked.id))
    ended = await desk.end(output.run_id)

    assert {"order": "7", "cents": 500} == asked.model_dump()["tool_args"]
    assert {"order", "cents"} == set(asked.model_dump()["form"]["properties"])
    assert 'refund: {"refunded": 5}; refund: {"refunded": 500}' in ended.content


async def test_a_name_that_no_server_lists(desk: Desk, shop: Shop) -> None:
    """A list that names a tool which no server lists fails the turn, and no tool is called."""
    before = shop.did()
    ended = await desk.end(await desk.start(served(desk, "wrong")))

    assert RunStatus.error is ended.status
    assert "'refunds' is to be guarded, and is not there; it has look_up, refund" in str(
        ended.error
    )
    assert before == shop.did()


async def test_a_server_that_dies_in_an_approved_call(desk: Desk, shop: Shop) -> None:
    """Where the server dies in an approved call nobody knows whether it happened: a person is
    asked, and the model hears what they report.
    """
    output = await desk.open(served(desk, "dying"), "dying.1.die")
    await desk.resolve(output.run_id, Confirm(requirement_id="dying.1.die"))
    output = await desk.asked(output.run_id, "dying.1.die~2")
    (asked,) = output.run.requirements
    await desk.resolve(output.run_id, Report(requirement_id=asked.id, result="it has died"))
    ended = await desk.end(output.run_id)

    assert "tool_outcome" == asked.kind
    assert "server was lost" in asked.model_dump()["error_message"]
    assert "die: it has died" == ended.content
    assert ["die"] == shop.did()[-1:]


async def test_a_server_that_dies_in_a_turn(desk: Desk) -> None:
    """Where the server dies in a turn the model is told, and the next turn has another server."""
    output = await desk.open(served(desk, "lost"))
    await desk.resolve(output.run_id, Confirm(requirement_id=output.run.requirements[0].id))
    ended = await desk.end(output.run_id)

    assert 'refund: {"refunded": 500}' == ended.content
    assert "Connection closed" in str(ended.step_results[0].messages)


@pytest.mark.slow
async def test_who_opens_the_server(desk: Desk, shop: Shop) -> None:
    """Each turn and each approved call opens a server that is not kept alive, and ends it."""
    before = len(shop.opened())
    output = await desk.open(served(desk, "opens"), "opens.1.refund")
    while_it_waits = shop.opened()[before:]
    await desk.resolve(output.run_id, Confirm(requirement_id="opens.1.refund"))
    await desk.end(output.run_id)
    opened = shop.opened()[before:]

    assert (1, 3) == (len(while_it_waits), len(set(opened)))
    assert [] == [pid for pid in opened if psutil.pid_exists(pid)]
