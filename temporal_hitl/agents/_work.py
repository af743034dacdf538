"""One turn of a pydantic-ai agent: what it goes on from, what it saves, and how it ends.

Owns what a crash of the worker costs: at most what was in flight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import ToolDenied, ToolReturn
from pydantic_ai.exceptions import ModelRetry, ToolFailed, UsageLimitExceeded, UserError
from pydantic_ai.messages import (
    ModelMessagesTypeAdapter,
    ModelResponse,
    repair_messages,
)
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
from pydantic_ai.usage import RunUsage
from pydantic_graph import End

from temporal_hitl._sizes import size_of
from temporal_hitl.agents._scope import Predicate, TurnScope, thawed
from temporal_hitl.errors import DefinitionError
from temporal_hitl.turns import (
    AnyFed,
    AnyTaken,
    Asks,
    CheckpointTooLarge,
    Denied,
    Exhausted,
    Failed,
    Finished,
    Needs,
    Repaired,
    Turn,
    Unfinished,
    Value,
)

if TYPE_CHECKING:
    from temporal_hitl.agents._adapter import PydanticAdapter

FRAMEWORK = "pydantic-ai"
LONG = 256_000
"""Bytes of a checkpoint from which on a turn ends, and the next goes on."""
_USAGE = TypeAdapter(RunUsage)
_OUTPUT: TypeAdapter[Any] = TypeAdapter(Any)


class Work:
    """One turn: what it goes on from, and what it has done so far."""

    def __init__(self, adapter: PydanticAdapter, turn: Turn) -> None:
        self._adapter, self._turn = adapter, turn
        if turn.made_by and turn.made_by.partition(" ")[0] != FRAMEWORK:
            raise DefinitionError(
                f"{turn.path}: {FRAMEWORK} cannot read a conversation that {turn.made_by} made;"
                " serve the run with the agent that it began with"
            )
        saved: dict[str, Any] = turn.checkpoint or {}
        self._is_saved = bool(saved)
        self._messages: list[Any] = (
            [*turn.messages[: saved["keep"]], *saved["new"]] if saved else turn.messages
        )
        counts = adapter.limits is not None
        self._beside = _USAGE.validate_python(turn.counted if counts else {})
        self._usage = _USAGE.validate_python(saved.get("usage") or turn.usage or {}) + self._beside
        if not saved:
            # The framework counts what has run in a turn; these have run outside one.
            self._usage.tool_calls += sum(_has_run(each) for each in turn.answers)
        conditions = {
            name: each.predicate
            for name, each in adapter.functions.items()
            if each.predicate is not None
        }
        own = {name for name, guard in adapter.guarded.items() if not guard.conditional}
        guarded = own | turn.guarded | (turn.conditional - conditions.keys())
        self._scope = TurnScope(
            guarded=frozenset(guarded),
            conditions=cast(Mapping[str, Predicate], conditions),
            done=dict(saved.get("done") or {}),
            beat=self._save,
        )
        self._now: list[Any] = []
        self._latest: RunUsage = self._usage
        self._size = 0
        self._has_worked = False

    async def run(self) -> AnyTaken:
        try:
            return await self._run()
        except UserError as error:
            # The author's mistake, as the framework calls it: it stays one when tried again.
            raise DefinitionError(f"{self._adapter.name}: {error}") from error

    async def _run(self) -> AnyTaken:
        turn, adapter = self._turn, self._adapter
        prompt, results = (None, None) if self._is_saved else (turn.prompt, self._answers())
        history = repair_messages(
            ModelMessagesTypeAdapter.validate_python(self._messages), repair_last_response=False
        )
        async with adapter.agent.iter(
            prompt,
            output_type=[*adapter.deferred, DeferredToolRequests] if adapter.deferred else None,
            message_history=history or None,
            deferred_tool_results=results,
            usage=self._usage,
            usage_limits=adapter.limits,
            capabilities=[self._scope],
            **await adapter.given(turn),
        ) as run:
            self._latest = run.usage
            try:
                return await self._steps(run, fed=results is None)
            except UsageLimitExceeded as error:
                now = self._now or run.all_messages()
                return Exhausted(**self._taken(now), error=str(error))

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
                self._allow(node.model_response, run.usage)
            if self._is_to_end(node):
                return Unfinished(**self._taken(self._now))
            self._has_worked = bool(self._now)
            try:
                node = await run.next(node)
            except UsageLimitExceeded:
                raise
            except Exception:
                if not (PydanticAgent.is_model_request_node(node) and self._is_to_hand_over()):
                    raise
                return Unfinished(**self._taken(self._now))
        return self._ended(run)

    def _allow(self, response: ModelResponse, usage: RunUsage) -> None:
        """Raise `UsageLimitExceeded` where the guarded calls of a response are too many."""
        limits = self._adapter.limits
        wanted = sum(self._is_called_later(each.tool_name) for each in response.tool_calls)
        if limits is not None and wanted:
            limits.check_before_tool_call(usage + RunUsage(tool_calls=wanted))

    def _is_called_later(self, name: str) -> bool:
        function = self._adapter.functions.get(name)
        guard = None if function is None else function.guard
        outside = guard is not None and guard.asks in (Asks.execution, Asks.member)
        return name in self._scope.guarded and not outside

    def _is_to_hand_over(self) -> bool:
        # A person may have the step tried again once this has failed, long after: what was done
        # until here is handed over, and the next turn fails of the request alone.
        before = sum(each["kind"] == "response" for each in self._turn.messages)
        now = sum(isinstance(each, ModelResponse) for each in self._now)
        return self._turn.is_last and (now > before or bool(self._turn.answers))

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
        response = next(e for e in reversed(messages) if isinstance(e, ModelResponse))
        if not isinstance(output, DeferredToolRequests):
            called = [each.tool_name for each in response.tool_calls]
            left = [name for name in called if name in self._scope.guarded]
            return Finished(**delta, output=self._data(output), not_called=left)
        waiting = {each.tool_call_id for each in (*output.calls, *output.approvals)}
        calls = [each for each in response.tool_calls if each.tool_call_id in waiting]
        tools = self._scope.defined
        needs = [self._adapter.need(each, output, tools[each.tool_call_id]) for each in calls]
        return Needs(**delta, needs=needs)

    def _data(self, output: Any) -> Any:
        try:
            return _OUTPUT.dump_python(output, mode="json")
        except ValueError as error:
            # Asking the model once more would not help.
            kind = type(output).__name__
            raise DefinitionError(
                f"{self._adapter.name} gives a {kind}, which is no JSON data: {error}"
            ) from error

    def _delta(self, now: Sequence[Any]) -> dict[str, Any]:
        messages = repair_messages(list(now), repair_last_response=False)
        dumped = ModelMessagesTypeAdapter.dump_python(messages, mode="json")
        keep, new = self._turn.beyond(dumped)
        usage = _USAGE.dump_python(deepcopy(self._latest) - self._beside, mode="json")
        return {"keep": keep, "new": new, "usage": usage}

    def _taken(self, now: Sequence[Any]) -> dict[str, Any]:
        made_by = f"{FRAMEWORK} {version('pydantic-ai-slim')}"
        return {**self._delta(now), "called": self._scope.called, "made_by": made_by}

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


def _has_run(fed: AnyFed) -> bool:
    return isinstance(fed, Value) and fed.frozen


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
