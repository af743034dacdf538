"""Every conversation in `tests/states/` can be gone on from, for ever: runs hold such now.

Never edit a file to make a test pass: have the code read what it says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from temporal_hitl._agent_progress import AgentProgress
from temporal_hitl.errors import DefinitionError
from temporal_hitl.turns import AnyFed, Finished
from tests.states import made
from tests.states.record import STATES

FOLDER = Path(__file__).parent / "states"
_FED: TypeAdapter[list[AnyFed]] = TypeAdapter(list[AnyFed])


def stored(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


def fed_of(state: dict[str, Any]) -> list[AnyFed]:
    return _FED.validate_python(state["answers"])


async def goes_on(state: dict[str, Any]) -> Any:
    """Return what the agent gives when it goes on from a stored conversation."""
    given = {name: state[name] for name in ("messages", "usage", "checkpoint")}
    taken = await made.ADAPTERS[state["adapter"]].turn(made.turn(**given, answers=fed_of(state)))
    assert isinstance(taken, Finished), taken
    return taken.output


def test_every_state_is_claimed() -> None:
    """Each file is one that `record` makes, and none is missing."""
    assert sorted(STATES) == sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", STATES)
async def test_goes_on(name: str) -> None:
    """The agent is told of every answer as it was told when the file was made, and no tool that was
    done is called.
    """
    state = stored(name)
    made.ran.clear()

    assert state["output"] == await goes_on(state)
    assert [] == made.ran


async def test_nothing_is_saved_without_the_answers() -> None:
    """No checkpoint of a turn lacks the answers that the turn was given: who went on from there
    would ask people again.
    """
    state = stored("answered")
    saved: list[Any] = []
    given = {name: state[name] for name in ("messages", "usage", "checkpoint")}
    turn = made.turn(**given, answers=fed_of(state))
    turn.save = lambda checkpoint: saved.append(json.loads(json.dumps(checkpoint)))
    await made.ADAPTERS[state["adapter"]].turn(turn)

    ids = {each["call_id"] for each in state["answers"]}
    assert saved and ids
    for checkpoint in saved:
        messages = [*state["messages"][: checkpoint["keep"]], *checkpoint["new"]]
        parts = [part for each in messages for part in each["parts"]]
        told = {
            e["tool_call_id"] for e in parts if e["part_kind"] in ("tool-return", "retry-prompt")
        }
        assert ids <= told


@pytest.mark.parametrize("name", STATES)
async def test_is_kept(name: str) -> None:
    """What a run carries from execution to execution is what the file says, and nothing less."""
    state = stored(name)
    kept = {each: state[each] for each in ("messages", "usage", "answers")}
    again = AgentProgress.model_validate({**kept, "turn": 2}).model_dump(mode="json")

    assert kept == {each: again[each] for each in kept}


async def test_of_another_framework() -> None:
    """An agent says what made its conversation, and refuses one that it cannot read."""
    state = stored(next(iter(STATES)))
    given = {name: state[name] for name in ("messages", "usage", "checkpoint")}
    adapter = made.ADAPTERS[state["adapter"]]
    taken = await adapter.turn(made.turn(**given, answers=fed_of(state)))
    with pytest.raises(DefinitionError, match="cannot read a conversation that asking-function 1"):
        await adapter.turn(made.turn(**given, made_by="asking-function 1"))

    assert taken.made_by.startswith("pydantic-ai 2.")
