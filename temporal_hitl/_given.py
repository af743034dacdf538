"""What a call is given: what of it travels, and what is fetched where the call runs.

Both end in the same plain data. A run keeps a `Given` while its call is on its way, and answers
fetches from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporal_hitl._agent_progress import AgentProgress
from temporal_hitl._calls import ActivityCall, Role
from temporal_hitl._scope import Scope
from temporal_hitl._sizes import INLINE, Sizes, first, recent
from temporal_hitl.plan import AnyPlan
from temporal_hitl.run import RunOptions, StepInput, StepOutput


class Given:
    """All that one call may see, as it was when the call was made."""

    def __init__(
        self,
        scope: Scope,
        options: RunOptions,
        outputs: Sequence[StepOutput],
        sizes: Sizes,
        conversation: AgentProgress | None = None,
    ) -> None:
        self._scope = scope
        self._additional_data = options.additional_data
        if scope.said:
            self._additional_data = {**options.additional_data, **scope.said}
        self._state = scope.state.values
        self._outputs = outputs
        self._conversation = AgentProgress() if conversation is None else conversation
        self._messages, self._answers = self._conversation.messages, self._conversation.answers
        # What a step most likely reads comes first, and so travels if it is small.
        parts = {
            "previous_step_content": sizes.of(scope.previous),
            "session_state": scope.state.whole_size,
            "input": sizes.of(scope.input),
            "additional_data": sizes.of(self._additional_data),
            "outputs": sum(each.encoded_size for each in outputs),
            "answers": self._conversation.answers_size,
            "messages": sizes.of(self._messages),
        }
        room, self._left_out = INLINE, list[str]()
        for name, size in parts.items():
            if size <= room:
                room -= size
            else:
                self._left_out.append(name)
        self._near = [name for name in parts if name not in self._left_out]
        self._inline = recent(scope.outputs, room)

    def _part(self, name: str) -> Any:
        match name:
            case "previous_step_content":
                return self._scope.previous
            case "session_state":
                return self._state
            case "input":
                return self._scope.input
            case "additional_data":
                return self._additional_data
            case "messages":
                return self._messages
            case "answers":
                return [each.model_dump(mode="json") for each in self._answers]
            case _:
                return [each.model_dump(mode="json") for each in self._outputs]

    def call(
        self, role: Role, node: AnyPlan, session_id: str, user_id: str | None, **more: Any
    ) -> ActivityCall:
        """Return what travels; `more` are the fields of the role's own."""
        near = {name: self._part(name) for name in self._near}
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
            **more,
        )

    def rest(self) -> dict[str, Any]:
        """Return what did not travel, but for earlier outputs, by its field."""
        return {name: self._part(name) for name in self._left_out}

    def index(self) -> list[list[str]]:
        """Return the name and the path of each earlier output, oldest first."""
        return [[name, each.path or ""] for name, each in self._scope.outputs.items()]

    def outputs(self, names: Sequence[str]) -> list[Any]:
        """Return the first of the earlier outputs `names`, as many as one answer holds."""
        there = self._scope.outputs
        return first(there[name].model_dump(mode="json") for name in names)
