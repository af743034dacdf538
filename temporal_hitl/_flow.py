"""What flows from step to step: what one is given, and what it gives back.

Data that survives JSON, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class StepOutput(_Shape):
    """What a step produced; executors return one, or any value, which becomes its `content`."""

    step_name: str | None = None
    """The node's name."""
    path: str | None = None
    """The node's path in the run; filled in by the library."""
    step_type: str = "Step"
    """`Step`, `Agent`, `Workflow`, `Steps`, `Parallel`, `Condition`, `Loop` or `Router`."""
    content: Any = None
    """The product, as JSON data; a container's is its last child's, a Parallel's one per branch."""
    success: bool = True
    """False marks a failure that the run went on from."""
    error: str | None = None
    """What went wrong, where `success` is False."""
    stop: bool = False
    """True ends the run, completed, after this step."""
    edited: bool = False
    """True where a person has replaced the content."""
    steps: list[StepOutput] | None = None
    """A container's children, in declaration order."""
    usage: dict[str, Any] = {}
    """What an agent has used, all its turns together: requests, tokens, tool calls."""
    messages: list[Any] = []
    """The agent's conversation, where the run is its own."""

    _size: int | None = PrivateAttr(default=None)

    @property
    def encoded_size(self) -> int:
        """How many bytes it has as JSON, its children included; counted once."""
        if self._size is None:
            self._size = len(self.model_dump_json().encode())
        return self._size

    @property
    def produced(self) -> bool:
        """Whether this step succeeded, or any step of this container, or a person wrote it."""
        if self.edited or not self.steps:
            return self.success
        return any(each.produced for each in self.steps)

    def walk(self) -> Iterator[StepOutput]:
        """Yield this output and all below it, outermost first."""
        yield self
        for child in self.steps or ():
            yield from child.walk()


class StepInput(_Shape):
    """What an executor, evaluator, selector or end condition is given (seeds 000 to 002)."""

    input: Any = None
    """The run's input; within a Loop that forwards, the last iteration's content."""
    previous_step_content: Any = None
    """The content of the last step that succeeded before this one."""
    previous_step_outputs: dict[str, StepOutput] = {}
    """The outputs before this one by name, oldest first."""
    additional_data: dict[str, Any] = {}
    """What the caller gave beside the input, and what people answered for this step."""
    iteration: int | None = None
    """Within a Loop, the number of the iteration, from 1."""

    def get_input_as_string(self) -> str:
        """Return the input as text; anything but text as JSON."""
        return (
            self.input
            if isinstance(self.input, str)
            else json.dumps(self.input, ensure_ascii=False)
        )

    def get_step_output(self, name: str) -> StepOutput | None:
        """Return the latest output of the step `name`, nested ones included, or None."""
        outputs = [each for output in self.previous_step_outputs.values() for each in output.walk()]
        return next((each for each in reversed(outputs) if each.step_name == name), None)

    def get_step_content(self, name: str) -> Any:
        """Return the content of the step `name`, or None; a Parallel's is a dict by branch."""
        output = self.get_step_output(name)
        return None if output is None else output.content

    def get_last_step_content(self) -> Any:
        """Return the content of the last step that succeeded before this one."""
        return self.previous_step_content

    def get_all_previous_content(self) -> str:
        """Return all contents so far as text, each under its step's name."""
        parts = [
            f"=== {name} ===\n{_text(output.content)}"
            for name, output in self.previous_step_outputs.items()
            if output.content not in (None, "")
        ]
        return "\n\n".join(parts)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
