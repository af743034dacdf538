"""Streams of agents that pause in their midst, sync and async, and another process that goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from temporal_hitl.agents import Agent, tool
from tests.agents import scripted
from tests.stage import run_program

done: list[str] = []


@tool(requires_confirmation=True)
def wipe(disk: str) -> str:
    """Wipe a disk."""
    done.append(disk)
    return f"wiped {disk}"


def look(disk: str) -> str:
    """Look at a disk."""
    return f"{disk} is old"


@pytest.fixture
def agent(embedded: Any) -> Agent:
    done.clear()
    a, b = {"disk": "sda"}, {"disk": "sdb"}
    turns = [("look", a), ("wipe", a), ("wipe", b)], [("wipe", b)]
    return Agent("streamer", scripted(*turns), tools=[wipe, look], db=embedded)


def decide(output: Any) -> None:
    """Approve what is open, but for the second of two."""
    for number, each in enumerate(output.active_requirements):
        each.confirm() if number == 0 else each.reject("not that")


PAUSED = ["RunStarted", "RunPaused"]
AGAIN = ["RunContinued", "RunContinued", "RunPaused"]  # One for each decision.
ENDED = ["RunContinued", "RunContent", "RunCompleted"]


def test_sync(agent: Agent) -> None:
    """A stream ends where the run pauses, each pause tells what is open, and the stream that goes
    on begins where the other ended: nothing is told twice, and each call is made once.
    """
    parts = [list(agent.run("go", stream=True))]
    while (last := parts[-1][-1]).is_paused:
        decide(last)
        requirements = last.requirements
        going_on = agent.continue_run(run_id=last.run_id, requirements=requirements, stream=True)
        parts.append(list(going_on))

    assert [PAUSED, AGAIN, ENDED] == [[each.event for each in part] for part in parts]
    assert ["sda", "sdb"] == done
    assert "wipe: wiped sdb" == parts[-1][-1].content


async def test_async(agent: Agent) -> None:
    """The async twins tell the same, with tools where they are asked for."""
    both: Any = {"stream": True, "stream_events": True}
    parts = [[each async for each in agent.arun("go", **both)]]
    while (last := parts[-1][-1]).is_paused:
        decide(last)
        requirements = last.requirements
        going_on = agent.acontinue_run(run_id=last.run_id, requirements=requirements, **both)
        parts.append([each async for each in going_on])

    told = [[each.event for each in part] for part in parts]
    tools = [[each for each in part if each.startswith("Tool")] for part in told]
    rest = [[each for each in part if not each.startswith("Tool")] for part in told]
    assert [PAUSED, AGAIN, ENDED] == rest
    assert ["ToolCallCompleted"] == tools[0]
    assert 1 == tools[1].count("ToolCallStarted") == tools[2].count("ToolCallStarted")
    assert ["sda", "sdb"] == done


PROGRAM = """
from pathlib import Path
from temporal_hitl import SqliteDb
from temporal_hitl.agents import Agent, RunRequirement, tool
from tests.agents import scripted
import json

@tool(requires_confirmation=True)
def wipe(disk: str) -> str:
    return f"wiped {disk}"

calls = [("wipe", {"disk": "sda"}), ("wipe", {"disk": "sdb"})]
agent = Agent("keeper", scripted(calls), tools=[wipe], db=SqliteDb(db_file="keeper.db"))
kept = Path("kept.json")
"""
BEGINS = """
output = agent.run("go")
kept.write_text(json.dumps([output.run_id, [e.to_dict() for e in output.requirements]]))
"""
GOES_ON = """
run_id, data = json.loads(kept.read_text())
requirements = [RunRequirement.from_dict(each) for each in data]
requirements[0].confirm()
requirements[1].reject("not both")
print(agent.continue_run(run_id=run_id, requirements=requirements).content)
"""


@pytest.mark.slow
def test_another_process(tmp_path: Path) -> None:
    """What one process asked another one decides, by the run's id and the requirements as data."""
    run_program(PROGRAM + BEGINS, tmp_path)
    run_id, data = json.loads((tmp_path / "kept.json").read_text())
    told = run_program(PROGRAM + GOES_ON, tmp_path)

    assert ["keeper.1.wipe", "keeper.1.wipe-2"] == [each["id"] for each in data]
    assert {run_id} == {each["run_id"] for each in data}
    assert "wipe: wiped sda; wipe: rejected by a person: not both" == told.splitlines()[-1]
