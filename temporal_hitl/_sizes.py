"""How much of a run's data goes where: what travels with a call, and what a run tells of itself.

Temporal refuses a value of more than 2 MB, and a workflow task that holds one fails for ever. So
nothing is handed to it that has not been measured here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from temporal_hitl.run import StepOutput, WorkflowRunOutput

LIMIT = 1_900_000
"""Bytes of JSON that one value may have: Temporal's 2 MB, less what it wraps around."""
INLINE = 4_000
"""Bytes of earlier outputs that travel with a call; the others are fetched where it runs.

Small, as all that travels stands in history once per call: a run's history grows with its work.
"""
FAR = 100_000
"""Bytes from which the content before, and the run's input, are fetched as well: calls that a run
makes together travel together, and the server ends a run whose message has more than 4 MB."""
PAGE = 1_500_000
"""Bytes of outputs that one answer to such a fetch holds, one output at least."""


def size_of(data: Any) -> int:
    """Return how many bytes `data` has as JSON."""
    return len(json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def recent(outputs: dict[str, StepOutput]) -> dict[str, StepOutput]:
    """Return the latest of `outputs` that together stay within `INLINE`, in their order."""
    room, kept = INLINE, list[str]()
    for name in reversed(outputs):
        room -= outputs[name].encoded_size
        if room < 0:
            break
        kept.append(name)
    return {name: outputs[name] for name in reversed(kept)}


def page(outputs: dict[str, StepOutput], start: int) -> dict[str, Any]:
    """Return some of `outputs` from number `start` on, and which number comes next, if any."""
    names = list(outputs)[start:]
    told, room = dict[str, Any](), PAGE
    for name in names:
        room -= outputs[name].encoded_size
        if told and room < 0:
            break
        told[name] = outputs[name].model_dump(mode="json")
    after = start + len(told)
    return {"outputs": told, "next": after if after < len(outputs) else None}


def fitting(output: WorkflowRunOutput) -> dict[str, Any]:
    """Return a run's output as JSON data within `LIMIT`, saying in `omitted` what was left out."""
    data = output.model_dump(mode="json")
    for part, shorten in _SHORTENED.items():
        size = size_of(data)
        if size <= LIMIT:
            break
        before = size_of(data[part])
        data[part] = shorten(data[part])
        if size_of(data[part]) < before:
            data["omitted"].append(f"{part}: {before:,} bytes")
    return data


def _without_content(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**each, "content": None, "steps": each["steps"] and _without_content(each["steps"])}
        for each in results
    ]


def _nothing(_: Any) -> None:
    return None


# In this order: what can be had elsewhere first, and what a caller asked for last.
_SHORTENED: dict[str, Callable[[Any], Any]] = {
    "inner_results": _without_content,
    "step_results": _without_content,
    "session_state": lambda _: {},
    "input": _nothing,
    "content": _nothing,
    "events": lambda _: [],
    "refused": lambda _: [],
    "requirements": lambda _: [],
    "resolutions": lambda _: [],
}
