"""Which of a Router's choices are walked, and where."""

from __future__ import annotations

from typing import Any

from temporal_hitl._caller import StepFailed
from temporal_hitl._scope import Scope
from temporal_hitl.plan import AnyPlan, RouterPlan


def choose(node: RouterPlan, scope: Scope, names: Any) -> list[AnyPlan]:
    """Return the choices of these names, in their order; raises `StepFailed` where one is none."""
    choices = {choice.name: choice for choice in node.choices}
    unknown = [name for name in names if name not in choices]
    if unknown:
        raise StepFailed(
            f"{scope.path}.selector",
            "temporal_hitl.UnknownChoice",
            f"the selector returned {unknown[0]!r}, which is not one of {', '.join(choices)}",
        )
    chosen: list[AnyPlan] = []
    for turn, name in enumerate(names):
        again = names[:turn].count(name)
        # A choice that is named twice runs twice, at a path of its own.
        slug = choices[name].slug + (f"~{again + 1}" if again else "")
        chosen.append(choices[name].model_copy(update={"slug": slug}))
    return chosen
