"""`Team`: an agent that gives tasks to others, which work at once and pause each for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack

from temporal_hitl.agents._agent import Agent, AgentOptions
from temporal_hitl.agents._models import ModelLike
from temporal_hitl.agents._tools import Function
from temporal_hitl.errors import DefinitionError
from temporal_hitl.primitives import AgentLike, adapter_of
from temporal_hitl.turns import Adapter, Asks

DELEGATE = "delegate"
"""The tool by which a leader gives a task to a member."""


class Team(Agent):
    """A leader with members: agents, or teams (seed 003, "Teams").

    The leader gives tasks; each member works in turns of its own, several at once, and what one
    gives comes back to the leader. A member's question stands in the team's run, below the member's
    path, and names the member, which may be a pydantic-ai agent or an `AskingFunction` too. The
    leader goes on once all that it asked for in one turn has come to something.

    Raises:
        DefinitionError: no members, or two of one name.
    """

    def __init__(
        self,
        name: str = "team",
        members: Sequence[AgentLike] = (),
        model: ModelLike | None = None,
        instructions: Any = None,
        tools: Sequence[Any] = (),
        **options: Unpack[AgentOptions],
    ) -> None:
        there = [_member(name, each) for each in members]
        names = [each.name for each in there]
        if not names or len(set(names)) < len(names):
            raise DefinitionError(
                f"Team {name!r} needs members of different names; it has {', '.join(names) or 'no'}"
            )
        self.members = tuple(members)
        self._adapters = tuple(there)
        super().__init__(name, model, instructions, tools, **options)

    def _more(self) -> Sequence[Function]:
        names = tuple(each.name for each in self._adapters)
        described = [getattr(each, "description", None) for each in self.members]

        def delegate(member: str, task: str) -> str:
            raise NotImplementedError  # The run has the member do it.

        about = zip(names, described, strict=True)
        told = "; ".join(f"{name}: {each}" for name, each in about if each)
        delegate.__annotations__ = {"member": Literal[names], "task": str, "return": str}  # type: ignore[valid-type]
        task = f"Give a task to a member of the team. {told}".strip()
        return [Function(delegate, description=task).guarded_by(Asks.member)]

    @property
    def _members(self) -> Sequence[Adapter]:
        return self._adapters


def _member(team: str, member: Any) -> Adapter:
    adapter = adapter_of(member)
    if adapter is None:
        raise DefinitionError(f"Team {team!r}: {member!r} is no agent")
    return adapter
