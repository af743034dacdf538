"""Makes the stored conversations: `python -m tests.states.record [--force] [name ...]`, by hand.

One of a released version is never made again, as runs hold such; so a file that is there stays,
unless `--force` says otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from temporal_hitl.turns import AnyFed, Denied, Need, Needs, Value
from tests.states.made import ADAPTERS, call, turn

FOLDER = Path(__file__).parent


async def answered() -> dict[str, Any]:
    """A turn that is told of every way in which a call can end."""
    adapter = ADAPTERS["guarded"]
    taken = await adapter.turn(turn(number=1, prompt="go"))
    assert isinstance(taken, Needs)
    *calls, question, outside, denied, late = taken.needs
    fed: list[AnyFed] = [await adapter.call(call(e.tool, e.call_id, e.arguments)) for e in calls]
    edited = fed[0].model_copy(update={"note": "A person changed the arguments"})
    fed = [edited, *fed[1:], *_people(question, outside, denied, late)]
    return _stored("guarded", taken, answers=[each.model_dump(mode="json") for each in fed])


def _people(question: Need, outside: Need, denied: Need, late: Need) -> list[AnyFed]:
    return [
        Value(call_id=question.call_id, value={"city": "Rome"}),
        Value(call_id=outside.call_id, value=[1, None, {"a": 2.5}]),
        Denied(call_id=denied.call_id, reason="rejected by ana: no"),
        Value(call_id=late.call_id, value=None),
    ]


async def told_and_lost() -> dict[str, Any]:
    """The checkpoint of a turn that had told the model all answers, and then lost its worker."""
    stored = await answered()
    saved: list[Any] = []
    given = {name: stored[name] for name in ("messages", "usage")}
    await ADAPTERS["guarded"].turn(turn(**given, answers=_fed(stored), save=saved.append))
    return {**stored, "checkpoint": saved[0], "answers": stored["answers"]}


async def tools_done() -> dict[str, Any]:
    """The checkpoint of a turn whose tools were all done when it lost its worker."""
    saved: list[Any] = []
    # As JSON at once: a later save may change what an earlier one holds.
    await ADAPTERS["free"].turn(
        turn(number=1, prompt="go", save=lambda each: saved.append(json.dumps(each)))
    )
    last = max(map(json.loads, saved), key=lambda each: len(each["done"]))
    return {"adapter": "free", "messages": [], "usage": {}, "answers": [], "checkpoint": last}


async def asked_twice() -> dict[str, Any]:
    """An asking function that has one answer, and waits for another."""
    adapter = ADAPTERS["asks"]
    first = await adapter.turn(turn(number=1, prompt="go"))
    answer = Value(call_id="0", value={"disk": "sda"})
    second = await adapter.turn(turn(messages=first.new, answers=[answer]))
    fed = Value(call_id="1", value="wiped")
    return _stored("asks", second, answers=[fed.model_dump(mode="json")])


def _stored(adapter: str, taken: Any, **more: Any) -> dict[str, Any]:
    stored = {"adapter": adapter, "messages": taken.new, "usage": taken.usage, "checkpoint": None}
    return {**stored, **more}


def _fed(stored: dict[str, Any]) -> list[AnyFed]:
    from tests.test_agent_state import fed_of

    return fed_of(stored)


STATES: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
    each.__name__: each for each in (answered, told_and_lost, tools_done, asked_twice)
}


async def record(name: str) -> dict[str, Any]:
    """Return what a run of today stores, with how it goes on today."""
    from tests.test_agent_state import goes_on

    stored = json.loads(json.dumps(await STATES[name]()))
    made_by = {each: version(each) for each in ("temporal-hitl", "pydantic-ai-slim")}
    return {**stored, "made_by": made_by, "output": await goes_on(stored)}


def main() -> None:
    """Record what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.states.record")
    parser.add_argument("names", nargs="*", choices=[*STATES, []], metavar="name")
    parser.add_argument("--force", action="store_true", help="make files again that are there")
    asked = parser.parse_args()
    for name in asked.names or STATES:
        file = FOLDER / f"{name}.json"
        if file.exists() and not asked.force:
            print(f"kept, as --force was not given: {name}", file=sys.stderr)
            continue
        file.write_text(json.dumps(asyncio.run(record(name)), indent=1) + "\n")
        print(file.name)


if __name__ == "__main__":
    main()
