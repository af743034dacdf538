"""`Team`: an agent that gives tasks to others, which work at once and pause each for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack

from temporal_hitl.agents._agent import Agent, AgentOptions
from temporal_hitl.agents._models import ModelLike
from temporal_hitl.agents._tools import Function
from temporal_hitl.errors import DefinitionError
from temporal_hitl.turns import Adapter, Asks

DELEGATE = "delegate"
"""The tool by which a leader gives a task to a member."""


class Team(Agent):
    """A leader with members: agents, or teams (seed 003, "Teams").

    The leader gives tasks; each member works in turns of its own, several at once, and what one
    gives comes back to the leader. A member's question stands in the team's run, below the member's
    path, and names the member. The leader goes on once all that it asked for in one turn has come
    to something.

    Raises:
        DefinitionError: no members, or two of one name.
    """

    def __init__(
        self,
        name: str = "team",
        members: Sequence[Agent] = (),
        model: ModelLike | None = None,
        instructions: Any = None,
        tools: Sequence[Any] = (),
        **options: Unpack[AgentOptions],
    ) -> None:
        names = [each.name for each in members]
        if not names or len(set(names)) < len(names):
            raise DefinitionError(
                f"Team {name!r} needs members of different names; it has {', '.join(names) or 'no'}"
            )
        self.members = tuple(members)
        super().__init__(name, model, instructions, tools, **options)

    def _more(self) -> Sequence[Function]:
        names = tuple(each.name for each in self.members)

        def delegate(member: str, task: str) -> str:
            raise NotImplementedError  # The run has the member do it.

        told = "; ".join(f"{e.name}: {e.description}" for e in self.members if e.description)
        delegate.__annotations__ = {"member": Literal[names], "task": str, "return": str}  # type: ignore[valid-type]
        described = f"Give a task to a member of the team. {told}".strip()
        return [Function(delegate, description=described).guarded_by(Asks.member)]

    @property
    def _members(self) -> Sequence[Adapter]:
        return [each.hitl_adapter() for each in self.members]
