"""What a call is given: what of it travels, and what is fetched where the call runs.

Both end in the same plain data. A run keeps a `Given` while its call is on its way, and answers
fetches from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporal_hitl._calls import ActivityCall, Role
from temporal_hitl._scope import Scope
from temporal_hitl._sizes import INLINE, first, recent, size_of
from temporal_hitl.plan import AnyPlan
from temporal_hitl.run import RunOptions, StepInput, StepOutput


class Given:
    """All that one call may see, as it was when the call was made."""

    def __init__(self, scope: Scope, options: RunOptions, outputs: Sequence[StepOutput]) -> None:
        self._scope = scope
        # What a step most likely reads comes first, and so travels if it is small.
        self._parts: dict[str, Any] = {
            "previous_step_content": scope.previous,
            "session_state": scope.state.values,
            "input": scope.input,
            "additional_data": options.additional_data,
            "outputs": [each.model_dump(mode="json") for each in outputs],
        }
        self._room = INLINE
        self._left_out = [name for name in self._parts if not self._travels(name)]
        self._inline = recent(scope.outputs, self._room)

    def _travels(self, part: str) -> bool:
        size = size_of(self._parts[part])
        if size > self._room:
            return False
        self._room -= size
        return True

    def call(self, role: Role, node: AnyPlan, session_id: str, user_id: str | None) -> ActivityCall:
        """Return what travels."""
        near = {name: each for name, each in self._parts.items() if name not in self._left_out}
        of_input = {name: near.pop(name) for name in list(near) if name in StepInput.model_fields}
        step_input = StepInput(
            **of_input,
            previous_step_outputs=self._inline,
            iteration=self._scope.iteration,
        )
        return ActivityCall(
            role=role,
            path=self._scope.path,
            name=node.name,
            step_input=step_input,
            more_outputs=len(self._inline) < len(self._scope.outputs),
            left_out=self._left_out,
            session_id=session_id,
            user_id=user_id,
            **near,
        )

    def rest(self) -> dict[str, Any]:
        """Return what did not travel, but for earlier outputs, by its field."""
        return {name: self._parts[name] for name in self._left_out}

    def index(self) -> list[list[str]]:
        """Return the name and the path of each earlier output, oldest first."""
        return [[name, each.path or ""] for name, each in self._scope.outputs.items()]

    def outputs(self, names: Sequence[str]) -> list[Any]:
        """Return the first of the earlier outputs `names`, as many as one answer holds."""
        there = self._scope.outputs
        return first(there[name].model_dump(mode="json") for name in names)
