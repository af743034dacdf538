"""`AskingFunction`: a plain async function in the place of an agent, which may ask as it goes.

An adapter without any framework, and the shortest example of one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporal_hitl._forms import Form, FormLike
from temporal_hitl._source import source_digest
from temporal_hitl.agents._tools import policy_of
from temporal_hitl.errors import DefinitionError
from temporal_hitl.turns import (
    Adapter,
    AnyFed,
    AnyTaken,
    Asks,
    Failed,
    Finished,
    Guard,
    Need,
    Needs,
    ToolCall,
    Turn,
    Value,
)

MADE_BY = "asking-function 1"
"""What its conversations are marked with: the number is of their shape."""


class NotDone(Exception):
    """A call that was asked for did not happen, or failed; the function may catch it and go on."""


class _Pause(BaseException):
    def __init__(self, need: Need) -> None:
        self.need = need


@dataclass
class Ask:
    """What an asking function asks by. Each call waits for its answer as long as that takes."""

    turn: Turn
    """What the function knows of its run."""
    _tools: Mapping[str, Guard]
    _answers: list[Any]
    _asked: int = field(default=0, init=False)

    async def question(self, message: str, form: FormLike) -> dict[str, Any]:
        """Have a person fill in a form, and return its values.

        Raises:
            NotDone: a person declined, or the deadline passed.
        """
        made = Form.of(form, "question")
        return await self._answer(
            "question", {}, asks=Asks.question, message=message, form=made.schema
        )

    async def call(self, tool: str, /, *, message: str | None = None, **arguments: Any) -> Any:
        """Have a person approve the call of a tool, and return what the tool gave.

        Who that may be, says `@approval` on the tool.

        Raises:
            NotDone: a person said no, the deadline passed, or the tool failed.
        """
        if tool not in self._tools:
            known = ", ".join(self._tools) or "none"
            raise DefinitionError(f"{tool!r} is no tool of this function; it has {known}")
        guard = self._tools[tool].model_copy(update={"message": message})
        return await self._answer(tool, arguments, **dict(guard))

    async def outside(self, tool: str, /, *, message: str | None = None, **arguments: Any) -> Any:
        """Have somebody outside do something, and return the result that they report.

        Raises:
            NotDone: they declined, or it failed, or the deadline passed.
        """
        return await self._answer(tool, arguments, asks=Asks.execution, message=message)

    async def _answer(self, tool: str, arguments: dict[str, Any], **guard: Any) -> Any:
        place, self._asked = self._asked, self._asked + 1
        need = Need(call_id=str(place), tool=tool, arguments=arguments, **guard)
        if place == len(self._answers):
            raise _Pause(need)
        answer = self._answers[place]
        if (asked := answer.get("asked", _asked(need))) != _asked(need):
            # Never the answer to one question as that to another.
            raise DefinitionError(
                f"{self.turn.path}: asks {_asked(need)!r} where it had asked {asked!r}: either its"
                " code has changed since, or it asks in another order each time; have it ask as it"
                " did, or start the run anew"
            )
        if answer["kind"] != "value":
            raise NotDone(answer.get("reason") or answer.get("message"))
        return answer["value"]


@dataclass(frozen=True)
class AskingFunction:
    """A plain async function as an agent: `Step(agent=AskingFunction(triage))`.

    It is called with an `Ask` and the prompt, and called again from its start after each answer,
    which it is then given at once; so what it does besides asking must bear to be done again.
    `tools_by_name` are what it may have called once a person has approved; one that `@approval`
    marks needs the approval that it says.
    """

    function: Callable[..., Any]
    tools_by_name: Mapping[str, Callable[..., Any]] = field(
        default_factory=dict[str, Callable[..., Any]]
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be awaited."""
        if not inspect.iscoroutinefunction(self.function):
            raise DefinitionError(f"AskingFunction: {self.function!r} is no `async def` function")

    def hitl_adapter(self) -> Adapter:
        """Return itself: it is its own adapter."""
        return self

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    @property
    def digest(self) -> str:
        """The digest of its source."""
        return source_digest(self.function)

    @property
    def guarded(self) -> Mapping[str, Guard]:
        """Every tool: none is called unasked."""
        return {name: _guard_of(each) for name, each in self.tools_by_name.items()}

    @property
    def tools(self) -> Sequence[str]:
        """The names of its tools."""
        return list(self.tools_by_name)

    @property
    def members(self) -> Sequence[Adapter]:
        """Nobody."""
        return ()

    async def turn(self, turn: Turn) -> AnyTaken:
        """Call the function with the answers so far; it ends, or asks for one more."""
        # The conversation is the prompt, and each question with what came of it.
        said: list[Any] = [*turn.messages] or [{"prompt": turn.prompt}]
        for fed in turn.answers:
            # Runs of before kept what came of each question alone.
            asked: Any = said.pop() if said[-1].keys() == {"asked"} else {}
            said.append({**asked, **fed.model_dump(mode="json")})
        try:
            output = await self.function(Ask(turn, self.guarded, said[1:]), said[0]["prompt"])
        except _Pause as pause:
            asks: Any = {"asked": _asked(pause.need)}
            return Needs(new=[*said, asks], needs=[pause.need], made_by=MADE_BY)
        return Finished(new=said, output=output, made_by=MADE_BY)

    async def call(self, call: ToolCall) -> AnyFed:
        """Call a tool."""
        try:
            result = self.tools_by_name[call.tool](**call.arguments)
            value = await result if inspect.isawaitable(result) else result
        except Exception as error:
            return Failed(call_id=call.call_id, message=f"{type(error).__name__}: {error}")
        return Value(call_id=call.call_id, value=value)


def _asked(need: Need) -> str:
    """Return what tells one question of a function from another, whatever it says this time."""
    fields: Any = need.form.get("properties", {}) if need.asks is Asks.question else ()
    return f"{need.asks} {' '.join(fields) or need.tool}"


def _guard_of(tool: Callable[..., Any]) -> Guard:
    policy = policy_of(tool)
    return Guard() if policy is None else policy.on(Guard())
