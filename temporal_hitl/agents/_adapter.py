"""Has a pydantic-ai agent take turns in a run.

Owns what of the framework's is kept between turns, and what a crash of the worker costs: at most
what was in flight. Knows nothing of how a run asks.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import ValidationError
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import RunContext, Tool
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import (
    ToolCallPart,
)
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.toolsets import CombinedToolset
from pydantic_ai.usage import RunUsage, UsageLimits
from pydantic_core import to_json

from temporal_hitl.agents._models import ModelLike, name_of
from temporal_hitl.agents._scope import freeze, told
from temporal_hitl.agents._tools import Function
from temporal_hitl.agents._work import Work
from temporal_hitl.requirements import digest_of, problems_of
from temporal_hitl.turns import (
    Adapter,
    AnyFed,
    AnyTaken,
    Asks,
    Failed,
    Guard,
    InvalidArguments,
    Need,
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

    @property
    def digest(self) -> str:
        """A digest of the model's name, the instructions and the tools."""
        tools = {name: each.digest for name, each in self.functions.items()}
        return digest_of([self.name, name_of(self.model), self.instructions_digest, tools])

    @property
    def guarded(self) -> Mapping[str, Guard]:
        """The guarded tools, as far as they are known beforehand."""
        guards = {name: each.guard for name, each in self.functions.items()}
        return {name: guard for name, guard in guards.items() if guard is not None}

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

    def need(self, call: ToolCallPart, requests: DeferredToolRequests) -> Need:
        """Return what a call of this agent's needs."""
        arguments = call.args_as_dict()
        named: dict[str, Any] = {
            "call_id": call.tool_call_id,
            "tool": call.tool_name,
            "arguments": arguments,
        }
        says: Any = requests.metadata.get(call.tool_call_id, {}).get(GUARD)
        if says is not None:
            return Need(**{**says, **self._deadline(call.tool_name), **named})
        function = self.functions.get(call.tool_name)
        guard = None if function is None else function.guard
        if guard is None:
            asks = _asks(requests.kind(call.tool_call_id))
            form = ANSWER if asks is Asks.question else {}
            return Need(**named, asks=asks, form=form)
        if guard.asks is Asks.input:
            guard = guard.model_copy(update={"form": _filled_in(guard.form, arguments)})
        return Need.model_validate({**dict(guard), **named})

    def _deadline(self, tool: str) -> dict[str, Any]:
        function = self.functions.get(tool)
        return {} if function is None else function.deadline

    # A tool

    async def call(self, call: ToolCall) -> AnyFed:
        """Run a tool with the whole of its arguments, those included that no model sees."""
        context = self._context(call)
        async with self._tool(call.tool, context) as tool:
            if tool is None:
                gone = f"{self.name} has no tool {call.tool!r} any more"
                return Failed(call_id=call.call_id, message=gone)
            arguments = await _validated(tool, call, context)
            try:
                result = await tool.run(arguments, context)
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

    @asynccontextmanager
    async def _tool(self, name: str, context: RunContext[Any]) -> AsyncGenerator[_Callable | None]:
        if name in self.functions:
            yield _of_function(self.functions[name].tool())
            return
        async with CombinedToolset(list(self.agent.toolsets)) as toolset:
            ready = await (await toolset.for_run(context)).for_run_step(context)
            tool = (await ready.get_tools(context)).get(name)
            if tool is None:
                yield None
                return

            async def run(arguments: dict[str, Any], context: RunContext[Any]) -> Any:
                return await ready.call_tool(name, arguments, context, tool)

            yield _Callable(tool.args_validator, tool.args_validator_func, run)


@dataclass(frozen=True)
class _Callable:
    validator: Any
    check: Callable[..., Any] | None
    run: Callable[[dict[str, Any], RunContext[Any]], Any]


def _of_function(tool: Tool[Any]) -> _Callable:
    schema = tool.function_schema
    return _Callable(schema.validator, tool.args_validator, schema.call)


async def _validated(tool: _Callable, call: ToolCall, context: RunContext[Any]) -> dict[str, Any]:
    try:
        # As JSON, as the model's own arguments come: a date is text there.
        arguments = tool.validator.validate_json(to_json(call.arguments))
        if tool.check is not None:
            said = tool.check(context, **arguments)
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
