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

from pydantic import TypeAdapter, ValidationError
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import RunContext, Tool, ToolDenied, ToolReturn
from pydantic_ai.exceptions import ModelRetry, ToolFailed, UsageLimitExceeded
from pydantic_ai.messages import (
    ModelMessagesTypeAdapter,
    ModelResponse,
    ToolCallPart,
    repair_messages,
)
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
from pydantic_ai.toolsets import CombinedToolset
from pydantic_ai.usage import RunUsage, UsageLimits
from pydantic_core import to_json
from pydantic_graph import End

from temporal_hitl._sizes import size_of
from temporal_hitl.agents._models import ModelLike, name_of, resolved
from temporal_hitl.agents._scope import Predicate, TurnScope, freeze, thawed, told
from temporal_hitl.agents._tools import Function
from temporal_hitl.requirements import digest_of, problems_of
from temporal_hitl.turns import (
    Adapter,
    AnyFed,
    AnyTaken,
    Asks,
    CheckpointTooLarge,
    Denied,
    Exhausted,
    Failed,
    Finished,
    Guard,
    InvalidArguments,
    Need,
    Needs,
    Repaired,
    ToolCall,
    Turn,
    Unfinished,
    Value,
)

LONG = 256_000
"""Bytes of a checkpoint from which on a turn ends, and the next goes on."""
GUARD = "temporal_hitl"
"""The key of a deferred call's metadata under which a tool of ours says what it needs."""
ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}
"""The form of a question whose tool says nothing of the answer."""
_USAGE = TypeAdapter(RunUsage)
_OUTPUT: TypeAdapter[Any] = TypeAdapter(Any)

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
        """The guarded tools, as far as they are known beforehand; of those that a condition guards
        the approvals.
        """
        guards = {name: each.guard for name, each in self.functions.items()}
        known = {name: guard for name, guard in guards.items() if guard is not None}
        return {
            name: guard
            for name, guard in known.items()
            if self.functions[name].predicate is None or guard.approval is not None
        }

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
        return await _Work(self, turn).run()

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
            return Need(**{**says, **named})
        function = self.functions.get(call.tool_name)
        guard = None if function is None else function.guard
        if guard is None and function is not None:
            # Only the run's plan guards it still: its author has taken that away meanwhile.
            guard = Guard(form=function.parameters)
        if guard is None:
            asks = _asks(requests.kind(call.tool_call_id))
            form = ANSWER if asks is Asks.question else {}
            return Need(**named, asks=asks, form=form)
        if guard.asks is Asks.input:
            guard = guard.model_copy(update={"form": _filled_in(guard.form, arguments)})
        return Need.model_validate({**dict(guard), **named})

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


class _Work:
    """One turn: what it goes on from, and what it has done so far."""

    def __init__(self, adapter: PydanticAdapter, turn: Turn) -> None:
        self._adapter, self._turn = adapter, turn
        saved: dict[str, Any] = turn.checkpoint or {}
        self._is_saved = bool(saved)
        self._messages: list[Any] = (
            [*turn.messages[: saved["keep"]], *saved["new"]] if saved else turn.messages
        )
        self._usage = _USAGE.validate_python(saved.get("usage") or turn.usage or {})
        conditions = {
            name: each.predicate
            for name, each in adapter.functions.items()
            if each.predicate is not None
        }
        guarded = (frozenset(adapter.guarded) | turn.guarded) - conditions.keys()
        self._scope = TurnScope(
            guarded=guarded,
            conditions=cast(Mapping[str, Predicate], conditions),
            done=dict(saved.get("done") or {}),
            beat=self._save,
        )
        self._now: list[Any] = []
        self._latest: RunUsage = self._usage
        self._size = 0
        self._has_worked = False

    async def run(self) -> AnyTaken:
        turn, adapter = self._turn, self._adapter
        prompt, results = (None, None) if self._is_saved else (turn.prompt, self._answers())
        history = repair_messages(
            ModelMessagesTypeAdapter.validate_python(self._messages), repair_last_response=False
        )
        output = [*adapter.deferred, DeferredToolRequests] if adapter.deferred else None
        async with adapter.agent.iter(
            prompt,
            output_type=output,
            message_history=history or None,
            deferred_tool_results=results,
            usage=self._usage,
            usage_limits=adapter.limits,
            model=self._model(),
            model_settings=adapter.settings,
            deps=turn,
            capabilities=[self._scope],
        ) as run:
            self._latest = run.usage
            try:
                return await self._steps(run, fed=results is None)
            except UsageLimitExceeded as error:
                return Exhausted(**self._taken(run.all_messages()), error=str(error))

    def _model(self) -> Any:
        own = self._adapter.agent.model
        if self._adapter.model is None and own is not None:
            return None
        return resolved(self._adapter.model, self._adapter.name)

    async def _steps(self, run: Any, *, fed: bool) -> AnyTaken:
        node = run.next_node
        while not isinstance(node, End):
            if PydanticAgent.is_model_request_node(node):
                # All calls of the last response are answered; the answers are in the request alone.
                self._now, fed = [*run.all_messages(), node.request], True
                self._scope.done.clear()
                self._save_here()
            elif PydanticAgent.is_call_tools_node(node) and fed:
                self._now = run.all_messages()
                self._save_here()
            if self._is_to_end(node):
                return Unfinished(**self._taken(self._now))
            self._has_worked = bool(self._now)
            node = await run.next(node)
        return self._ended(run)

    def _is_to_end(self, node: Any) -> bool:
        # Never before the first checkpoint, which would lose the prompt, or the answers; and not on
        # the last word, which would be said twice. Nor where nothing was done, for being long: the
        # next turn would be so too.
        last = PydanticAgent.is_call_tools_node(node) and not node.model_response.tool_calls
        is_long = self._size > LONG and self._has_worked
        return bool(self._now) and not last and (is_long or self._turn.stops())

    def _ended(self, run: Any) -> AnyTaken:
        messages, output = run.all_messages(), run.result.output
        delta = self._taken(messages)
        if not isinstance(output, DeferredToolRequests):
            return Finished(**delta, output=_OUTPUT.dump_python(output, mode="json"))
        waiting = {each.tool_call_id for each in (*output.calls, *output.approvals)}
        response = next(e for e in reversed(messages) if isinstance(e, ModelResponse))
        calls = [each for each in response.tool_calls if each.tool_call_id in waiting]
        return Needs(**delta, needs=[self._adapter.need(each, output) for each in calls])

    def _delta(self, now: Sequence[Any]) -> dict[str, Any]:
        messages = repair_messages(list(now), repair_last_response=False)
        dumped = ModelMessagesTypeAdapter.dump_python(messages, mode="json")
        before, keep = self._turn.messages, 0
        while keep < min(len(before), len(dumped)) and before[keep] == dumped[keep]:
            keep += 1
        usage = _USAGE.dump_python(self._latest, mode="json")
        return {"keep": keep, "new": dumped[keep:], "usage": usage}

    def _taken(self, now: Sequence[Any]) -> dict[str, Any]:
        return {**self._delta(now), "called": self._scope.called}

    def _save_here(self) -> None:
        try:
            self._save()
        except CheckpointTooLarge:
            # What cannot be saved is handed over, where the turn ends; or refused there.
            self._has_worked = True

    def _save(self) -> None:
        # Nothing before the answers stand in a request: a turn that went on from there would not
        # have them, and people would be asked again.
        if self._now:
            checkpoint = {**self._delta(self._now), "done": dict(self._scope.done)}
            self._size = size_of(checkpoint)
            self._turn.save(checkpoint)

    def _answers(self) -> DeferredToolResults | None:
        if not self._turn.answers:
            return None
        results = DeferredToolResults()
        for fed in self._turn.answers:
            if isinstance(fed, Denied):
                results.approvals[fed.call_id] = ToolDenied(fed.reason)
            else:
                results.calls[fed.call_id] = _result(fed)
        return results


def _result(fed: AnyFed) -> Any:
    match fed:
        case Value(frozen=True):
            result = thawed(fed.value)
        case Value():
            result = ToolReturn(fed.value)
        case Repaired():
            return ModelRetry(fed.message)
        case Denied():
            return ToolDenied(fed.reason)
        case Failed():
            return ToolFailed(fed.message)
    if fed.note is None:
        return result
    return ToolReturn(result.return_value, content=fed.note, metadata=result.metadata)
