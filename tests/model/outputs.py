"""What a node of a model is given, and what a container makes of the outputs of its children."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.model.people import Way
from tests.model.pipelines import State
from tests.model.trees import Box

Output = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """What a node is given, and where it stands: with iterations in the run, without them in the
    plan.
    """

    path: str
    input: Any
    state: State
    previous: Any = None
    outputs: tuple[str, ...] = ()
    iteration: int | None = None
    planned: str = ""
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is given beside the input: the caller's, a reviewer's, a form's."""


def edit(output: Output, content: Any) -> None:
    output |= {"content": content, "success": True, "error": False, "edited": True}


def edited(node: Box, place: Place, output: Output | None, given: Way) -> Output | None:
    if given.action == "edit":
        output = output or told(node, place, None)
        edit(output, given.payload)
    return output


def produced(output: Output) -> bool:
    """Return whether any step in it succeeded, or a person wrote what it holds."""
    if output["steps"] and not output["edited"]:
        return any(produced(each) for each in output["steps"])
    return bool(output["success"])


def last_content(outputs: list[Output]) -> Any:
    good = [output["content"] for output in outputs if produced(output)]
    return good[-1] if good else None


def told(node: Any, place: Place, content: Any, success: bool = True, stop: bool = False) -> Output:
    return {
        "name": node.name or place.planned,
        "path": place.path,
        "type": node.kind,
        "content": content,
        "success": success,
        "error": not success,
        "stop": stop,
        "edited": False,
        "steps": None,
    }


def box(
    node: Box, place: Place, outputs: list[Output], content: Any = None, failed: bool = False
) -> Output | None:
    """Return the output of a container, if there is one."""
    if not outputs and not failed:
        return None
    content = last_content(outputs) if content is None else content
    success = not failed and all(each["success"] for each in outputs)
    stop = any(each["stop"] for each in outputs)
    # A child's failure is not the container's own.
    own = {"error": failed, "steps": outputs or None}
    return told(node, place, content, success, stop) | own
