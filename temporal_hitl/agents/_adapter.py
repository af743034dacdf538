"""Has a pydantic-ai agent take turns in a run.

Owns what of the framework's is kept between turns, and what a crash of the worker costs: at most
what was in flight. Knows nothing of how a run asks.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import ValidationError
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import RunContext, Tool
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import (
    ToolCallPart,
)
from pydantic_ai.tools import DeferredToolRequests, ToolDefinition
from pydantic_ai.usage import RunUsage, UsageLimits
from pydantic_core import to_json

from temporal_hitl.agents._calling import called
from temporal_hitl.agents._foreign import Deps, asked_about, guards_of, sources_of
from temporal_hitl.agents._models import ModelLike, name_of, resolved
from temporal_hitl.agents._scope import GUARDED, freeze, told
from temporal_hitl.agents._tools import Function
from temporal_hitl.agents._work import Work
from temporal_hitl.requirements import digest_of, problems_of
from temporal_hitl.review import ApprovalType, OnTimeout
from temporal_hitl.turns import (
    Adapter,
    AnyFed,
    AnyTaken,
    Asks,
    Failed,
    Guard,
    InvalidArguments,
    Need,
    NotServed,
    Repaired,
    ToolCall,
    Turn,
    Value,
)

GUARD = "temporal_hitl"
"""The key of a deferred call's metadata under which a tool of ours says what it needs."""
ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}
"""The form of a question whose tool says nothing of the answer."""

AnyAgent = PydanticAgent[Any, Any]


@dataclass(frozen=True)
class PydanticAdapter:
    """A pydantic-ai agent in a run."""

    name: str
    agent: AnyAgent
    functions: Mapping[str, Function] = field(default_factory=dict[str, Function])
    """The tools that are ours, by name."""
    model: ModelLike | None = None
    """What it thinks with; None leaves it to the agent, or to the environment."""
    limits: UsageLimits | None = None
    settings: Any = None
    members: Sequence[Adapter] = ()
    tasks: Guard | None = None
    """What stands before `delegate`, where there are members."""
    instructions_digest: str = ""
    deferred: Sequence[Any] = ()
    """What an agent gives that was not made to pause: its turns are told that it may."""
    listed: Mapping[str, Guard] = field(default_factory=dict[str, Guard])
    """The guarded tools among those that are listed when the agent works."""
    deadline: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The fields of a `Guard` that say how long questions of others' tools are open."""
    deps: Deps | None = None
    """What makes the agent's `deps`; without, they are the turn, or the call."""

    def hitl_adapter(self) -> Adapter:
        """Return itself: it is its own adapter."""
        return self

    @property
    def digest(self) -> str:
        """A digest of the model's name, the instructions and the tools."""
        tools = {name: each.digest for name, each in self.functions.items()}
        model: Any = self.model or self.agent.model
        others = sources_of(self.agent, tools)
        made_of = [self.name, name_of(model), self.instructions_digest, tools]
        return digest_of([*made_of, others] if others else made_of)

    @property
    def guarded(self) -> Mapping[str, Guard]:
        """The guarded tools, as far as they are known beforehand."""
        marked = {name: self._timed(each) for name, each in guards_of(self.agent).items()}
        guards = {name: each.guard for name, each in self.functions.items()}
        own = {name: guard for name, guard in guards.items() if guard is not None}
        return {**marked, **self.listed, **own}

    def _timed(self, guard: Guard) -> Guard:
        return timed(guard, self.deadline)

    @property
    def tools(self) -> Sequence[str]:
        """The tools that are known beforehand and can be called."""
        guards = {name: each.guard for name, each in self.functions.items()}
        return [
            name
            for name, guard in guards.items()
            if guard is None or guard.asks not in (Asks.execution, Asks.member)
        ]

    # A turn

    async def turn(self, turn: Turn) -> AnyTaken:
        """Work until the agent is through, needs something, or the worker stops."""
        return await Work(self, turn).run()

    async def given(self, work: Turn | ToolCall) -> dict[str, Any]:
        """Return what the agent works with: model, settings and deps."""
        there = self.agent.model is not None or self.agent.root_capability.get_model() is not None
        own = self.model is None and there
        deps = work if self.deps is None else self.deps(work)
        return {
            "model": None if own else self._model(work),
            "model_settings": self.settings,
            "deps": await deps if inspect.isawaitable(deps) else deps,
        }

    def _model(self, work: Turn | ToolCall) -> Any:
        try:
            return resolved(self.model, self.name)
        except Exception as error:
            # A run that waits for weeks does not fail of a deploy that forgot a variable.
            if isinstance(work, ToolCall) or work.messages or work.checkpoint:
                raise NotServed(str(error)) from error
            raise

    def need(
        self, call: ToolCallPart, requests: DeferredToolRequests, tool: ToolDefinition
    ) -> Need:
        """Return what a call of this agent's needs."""
        arguments = call.args_as_dict()
        named: dict[str, Any] = {
            "call_id": call.tool_call_id,
            "tool": call.tool_name,
            "arguments": arguments,
        }
        metadata = dict(requests.metadata.get(call.tool_call_id, {}))
        says: Any = metadata.pop(GUARD, None)
        function = self.functions.get(call.tool_name)
        if says is not None:
            return Need(**{**says, **({} if function is None else function.deadline), **named})
        guard = None if function is None else function.guard
        if guard is None:
            guard = self._guard(tool, requests.kind(call.tool_call_id))
        if guard.asks is Asks.input:
            guard = guard.model_copy(update={"form": _filled_in(guard.form, arguments)})
        return Need.model_validate({**dict(guard), **named, "told": metadata})

    def _guard(self, tool: ToolDefinition, kind: str) -> Guard:
        """Return what stands before a tool whose code, or whose server, says so at last."""
        guarded = (tool.metadata or {}).get(GUARDED)
        known = self.guarded.get(guarded or tool.name)
        if known is not None:
            asks = known.asks
        else:
            # Only the run's plan guards it still: its author has taken that away meanwhile.
            asks = _asks(kind) if guarded is None else Asks.confirmation
        guard = known or self._timed(Guard(asks=asks))
        if asks is Asks.confirmation:
            now = asked_about(tool)
            return guard.model_copy(update={"form": now.form, "alone": now.alone})
        return guard.model_copy(update={"form": ANSWER}) if asks is Asks.question else guard

    # A tool

    async def call(self, call: ToolCall) -> AnyFed:
        """Run a tool with the whole of its arguments, those included that no model sees."""
        function = self.functions.get(call.tool)
        if function is None:
            return await called(self.agent, call, **await self.given(call))
        tool, context = function.tool(), self._context(call)
        arguments = await _validated(tool, call, context)
        try:
            result = await tool.function_schema.call(arguments, context)
            return Value(call_id=call.call_id, value=freeze(result), frozen=True)
        except ModelRetry as error:
            return Repaired(call_id=call.call_id, message=error.message)
        except ToolFailed as error:
            return Failed(call_id=call.call_id, message=error.message)
        except Exception as error:
            return Failed(call_id=call.call_id, message=told(error))

    def _context(self, call: ToolCall) -> RunContext[Any]:
        return RunContext(
            deps=call,
            model=cast(Any, self.model),
            usage=RunUsage(),
            tool_name=call.tool,
            tool_call_id=call.call_id,
            tool_call_approved=True,
            max_retries=0,
        )


def timed(guard: Guard, deadline: Mapping[str, Any]) -> Guard:
    """Return a guard with the deadline of its agent: silence approves no more than it may."""
    may = guard.asks is Asks.confirmation and guard.approval is not ApprovalType.required
    if deadline.get("on_timeout") is OnTimeout.approve and not may:
        deadline = {**deadline, "on_timeout": OnTimeout.skip}
    return guard.model_copy(update=dict(deadline))


async def _validated(tool: Tool[Any], call: ToolCall, context: RunContext[Any]) -> dict[str, Any]:
    try:
        # As JSON, as the model's own arguments come: a date is text there.
        arguments = tool.function_schema.validator.validate_json(to_json(call.arguments))
        if tool.args_validator is not None:
            said = tool.args_validator(context, **arguments)
            if inspect.isawaitable(said):
                await said
    except ValidationError as invalid:
        raise InvalidArguments(problems_of(invalid)) from invalid
    except ModelRetry as refused:
        raise InvalidArguments([refused.message]) from refused
    return arguments


def _asks(kind: str) -> Asks:
    kinds = {"approval": Asks.confirmation, "question": Asks.question}
    return kinds.get(kind, Asks.execution)


def _filled_in(form: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a form that has what the agent gave, and needs no more than the rest."""
    properties = {
        name: {**each, "default": arguments[name]} if name in arguments else each
        for name, each in form.get("properties", {}).items()
    }
    required = [name for name in form.get("required", ()) if name not in arguments]
    return {**form, "properties": properties, "required": required}
