"""How much of a run's data goes where: what travels with a call, what a run may hold, and what it
tells of itself.

Temporal refuses a value of more than 2 MB and a message of more than 4 MB, and a workflow task that
holds one fails for ever. So nothing is handed to it that has not been measured here.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from temporal_hitl.run import Omitted, StepOutput, WorkflowRunOutput

LIMIT = 1_900_000
"""Bytes of JSON that one value may have: Temporal's 2 MB, less what it wraps around."""
BUDGET = 1_000_000
"""Bytes that a run may hold: its plan, input, state, what is open, and the outputs that later steps
may name. Together with its latest decisions that is what it takes along to a new execution."""
INLINE = 8_000
"""Bytes that travel with a call; what is larger is fetched where the call runs.

Small, as all that travels stands in history once per call: a run's history grows with its work.
"""
MESSAGE = 3_000_000
"""Bytes of calls that one workflow task makes; more calls wait for the next."""
PAGE = 200_000
"""Bytes that one answer to a fetch holds, one value at least. Below what an external
storage takes over, where an answer would stay for ever."""
TOO_LARGE = "temporal_hitl.TooLarge"
"""The error type of a step that is refused for what it returned, or its run would hold."""
COUNTED = 16
"""Values whose sizes are kept: inputs and contents that several calls are given."""
SHOWN = 64_000
"""Bytes of one content that a run tells when asked how it stands; larger ones it tells alone."""


def size_of(data: Any) -> int:
    """Return how many bytes `data` has as JSON."""
    return len(json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass"))


class Sizes:
    """Sizes of values that many calls are given, each counted once."""

    def __init__(self) -> None:
        self._known = OrderedDict[int, tuple[Any, int]]()

    def of(self, value: Any) -> int:
        """Return how many bytes `value` has as JSON; it must not change while it is used."""
        # By identity: the value is kept as well, so that no other one takes its place.
        if id(value) not in self._known:
            self._known[id(value)] = value, size_of(value)
            if len(self._known) > COUNTED:
                self._known.popitem(last=False)
        return self._known[id(value)][1]


def recent(outputs: dict[str, StepOutput], room: int) -> dict[str, StepOutput]:
    """Return the latest of `outputs` that together stay within `room` bytes, in their order."""
    kept = list[str]()
    for name in reversed(outputs):
        room -= outputs[name].encoded_size
        if room < 0:
            break
        kept.append(name)
    return {name: outputs[name] for name in reversed(kept)}


def first(values: Iterable[Any]) -> list[Any]:
    """Return the first of `values`: one, and what else one answer holds."""
    told, room = list[Any](), PAGE
    for value in values:
        room -= size_of(value)
        if told and room < 0:
            break
        told.append(value)
    return told


def brief(output: WorkflowRunOutput) -> dict[str, Any]:
    """Return how a run stands as JSON data, without contents of more than `SHOWN` bytes.

    What is left out stands in `omitted`, and can be asked for by itself.
    """
    data = output.model_dump(mode="json")
    for results in ("step_results", "inner_results"):
        data[results] = [_without(each, SHOWN, data["omitted"]) for each in data[results]]
    for part in ("input", "content", "session_state"):
        _leave_out(data, part, SHOWN)
    return _fit(data)


def whole(output: WorkflowRunOutput) -> dict[str, Any]:
    """Return a run's output as JSON data within `LIMIT`, saying in `omitted` what was left out."""
    return _fit(output.model_dump(mode="json"))


def _fit(data: dict[str, Any]) -> dict[str, Any]:
    for part, shorten in _SHORTENED.items():
        if size_of(data) <= LIMIT:
            break
        shorten(data, part)
    return data


def _without(result: dict[str, Any], limit: int, omitted: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a step's output without contents above `limit`, those below it included."""
    steps: list[dict[str, Any]] | None = result["steps"]
    shown = {**result, "steps": steps and [_without(each, limit, omitted) for each in steps]}
    if result["content"] is not None and (size := size_of(result["content"])) > limit:
        shown["content"] = None
        omitted.append(_omitted("step_content", size, result["path"]))
    return shown


def _without_contents(data: dict[str, Any], part: str) -> None:
    data[part] = [_without(each, 0, data["omitted"]) for each in data[part]]


def _leave_out(data: dict[str, Any], part: str, limit: int = 0) -> None:
    if data[part] and (size := size_of(data[part])) > limit:
        data["omitted"].append(_omitted(part, size))
        data[part] = _EMPTY.get(part)


def _omitted(part: str, size: int, path: str | None = None) -> dict[str, Any]:
    return Omitted(part=part, path=path, bytes=size).model_dump(mode="json")


_EMPTY: dict[str, Any] = {
    "session_state": {},
    "events": [],
    "refused": [],
    "approvals": [],
    "requirements": [],
    "resolutions": [],
}
# In this order: what can be had elsewhere first, and what a caller asked for last.
_SHORTENED: dict[str, Callable[[dict[str, Any], str], None]] = {
    "inner_results": _without_contents,
    "step_results": _without_contents,
    "session_state": _leave_out,
    "input": _leave_out,
    "content": _leave_out,
    "events": _leave_out,
    "refused": _leave_out,
    "approvals": _leave_out,
    "requirements": _leave_out,
    "resolutions": _leave_out,
}
