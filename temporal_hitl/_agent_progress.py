"""How far an agent has come, as data: what its next turn goes on from, what its calls need, and
what it has used.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, PrivateAttr

from temporal_hitl._sizes import size_of
from temporal_hitl.turns import AnyFed, AnyTaken, Need


class _Kept(BaseModel):
    # Read by later versions too: what they have more takes its default.
    model_config = ConfigDict(extra="ignore")


class NeedProgress(_Kept):
    """One call of an agent's that the run sees to."""

    need: Need
    path: str
    """Where it is asked about, and run: `support.2.delete_user`."""
    asked: str | None = None
    """The requirement that was opened for it."""
    fed: AnyFed | None = None
    """What came of it."""
    problems: list[str] = []
    """Why the tool refused what a person gave, where it did."""
    unknown: str | None = None
    """What is known of an execution that nobody knows the end of."""
    arguments: dict[str, Any] | None = None
    """What it is called with, once nothing stands against it; a person may have edited them."""

    _need_size: int | None = PrivateAttr(default=None)
    _fed_size: int | None = PrivateAttr(default=None)

    @property
    def size(self) -> int:
        """How many bytes it has as JSON, about: what a person edited counts as it was."""
        if self._need_size is None:
            self._need_size = len(self.need.model_dump_json()) + size_of(self.need.arguments)
        if self.fed is not None and self._fed_size is None:
            self._fed_size = len(self.fed.model_dump_json())
        return self._need_size + (self._fed_size or 0)


class AgentProgress(_Kept):
    """How far an agent is that works in a step, or a member of its team."""

    turn: int = 1
    """The one that is taken, or whose needs are seen to."""
    messages: list[Any] = []
    made_by: str = ""
    """What made the messages: the adapter's framework and its version."""
    usage: dict[str, Any] = {}
    earlier: dict[str, Any] = {}
    """For a member: what it has used for tasks of before."""
    members: dict[str, dict[str, Any]] = {}
    """What each member of a team has used for tasks that have ended, by its name: `ops/clerk`."""
    answers: list[AnyFed] = []
    """What the turn is told of the calls of the one before."""
    needs: list[NeedProgress] = []
    """The calls that the turn ended with, until all of them have come to something."""

    _messages_size: int | None = PrivateAttr(default=None)
    _answers_size: int | None = PrivateAttr(default=None)

    @property
    def size(self) -> int:
        """How many bytes it has as JSON, about."""
        if self._messages_size is None:
            self._messages_size = size_of(self.messages)
        return self._messages_size + self.answers_size + sum(each.size for each in self.needs)

    @property
    def answers_size(self) -> int:
        """How many bytes the answers have as JSON."""
        if self._answers_size is None:
            self._answers_size = sum(len(each.model_dump_json()) for each in self.answers)
        return self._answers_size

    @property
    def used(self) -> dict[str, Any]:
        """What it has used, and its members."""
        return summed(self.usage, *self.members.values())

    @property
    def counted(self) -> dict[str, Any]:
        """What counts towards its limits beside its own usage."""
        return summed(self.earlier, *self.members.values())

    def used_by(self, member: str) -> dict[str, Any]:
        """Return what a member has used for tasks that have ended, its own members with it."""
        theirs = [name for name in self.members if f"{name}/".startswith(f"{member}/")]
        return summed(*(self.members[name] for name in theirs))

    def take(self, taken: AnyTaken) -> None:
        """Keep how the turn ended."""
        self.messages = [*self.messages[: taken.keep], *taken.new]
        self.usage = taken.usage
        self.made_by = taken.made_by
        self.answers = []
        self._messages_size = self._answers_size = None

    def move_on(self) -> None:
        """Begin the next turn, which is told what came of each call."""
        self.answers = [each.fed for each in self.needs if each.fed is not None]
        self.needs = []
        self._answers_size = None
        self.turn += 1


def summed(*used: dict[str, Any]) -> dict[str, Any]:
    """Return what all of these make: numbers are added, at any depth, and amounts in words too."""
    total: dict[str, Any] = {}
    for each in used:
        total = {name: _sum(total.get(name), each.get(name)) for name in {**total, **each}}
    return total


def _sum(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, dict) and isinstance(other, dict):
        return summed(cast(dict[str, Any], one), cast(dict[str, Any], other))
    if isinstance(one, str) and isinstance(other, str):
        return str(Decimal(one) + Decimal(other))  # Money, as JSON has no decimals.
    return one + other
