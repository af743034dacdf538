"""What a node of the tree sees, and what a container makes of what its children produced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from temporal_hitl.plan import AnyPlan
from temporal_hitl.run import StepOutput, one_result


@dataclass(frozen=True)
class Scope:
    """What a node sees: where it stands, and what came before it."""

    path: str
    input: Any
    state: dict[str, Any]
    """Shared with the nodes before and after; replaced key by key, never changed in place."""
    previous: Any = None
    outputs: Mapping[str, StepOutput] = field(default_factory=dict[str, StepOutput])
    iteration: int | None = None

    def below(self, segment: str) -> Scope:
        return replace(self, path=f"{self.path}.{segment}" if self.path else segment)

    def after(self, output: StepOutput) -> Scope:
        produced = any(each.success for each in output.walk() if not each.steps)
        return replace(
            self,
            outputs={**self.outputs, output.step_name or "": output},
            previous=output.content if produced else self.previous,
        )


def container_output(
    node: AnyPlan, scope: Scope, kind: str, outputs: list[StepOutput], *, content: Any = None
) -> StepOutput | None:
    """Return a container's output from its children's, or None where all of them were left out."""
    if not outputs:
        return None
    return StepOutput(
        step_name=node.name,
        path=scope.path,
        step_type=kind,
        content=one_result(outputs) if content is None else content,
        success=all(each.success for each in outputs),
        stop=any(each.stop for each in outputs),
        steps=outputs,
    )
