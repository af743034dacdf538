"""Runs one call that nothing stands against any more, of a tool that only its agent knows.

The agent does it, in a run of its own that begins after the call and ends before a model is asked:
so what the agent has around its tools (toolsets that wrap, capabilities, hooks) is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.exceptions import (
    ModelRetry,
    SkipToolExecution,
    ToolFailed,
    ToolFailedError,
    ToolRetryError,
)
from pydantic_ai.messages import (
    LoadCapabilityCallPart,
    LoadCapabilityReturnPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolAvailabilityDeltaPart,
    ToolCallPart,
)
from pydantic_ai.tools import DeferredToolResults
from pydantic_core import to_json
from pydantic_graph import End

from temporal_hitl.agents._scope import freeze, message_of, told
from temporal_hitl.requirements import problems_of
from temporal_hitl.turns import (
    AnyFed,
    Failed,
    InvalidArguments,
    OutcomeUnknown,
    Repaired,
    ToolCall,
    Value,
)

LOST = (-32000, -32001, 408)
"""The codes of an MCP client that has no answer any more: connection closed, timed out."""
LOST_TYPES = ("ClosedResourceError", "BrokenResourceError", "EndOfStream")


async def called(agent: PydanticAgent[Any, Any], call: ToolCall, **options: Any) -> AnyFed:
    """Have an agent run one call, and return what came of it.

    Raises:
        InvalidArguments: they do not fit the tool, as its schema or its own check says.
        OutcomeUnknown: its server was lost meanwhile.
    """
    # As JSON, as the model's own arguments come: a date is text there.
    part = ToolCallPart(call.tool, to_json(call.arguments).decode(), call.call_id)
    only = _Only(call.call_id)
    try:
        async with agent.iter(
            None,
            message_history=[*_before(agent, call.tool), ModelResponse([part])],
            deferred_tool_results=DeferredToolResults(approvals={call.call_id: True}),
            capabilities=[only],
            **options,
        ) as run:
            node: Any = run.next_node
            while not (isinstance(node, End) or PydanticAgent.is_model_request_node(node)):
                node = await run.next(node)
    except Exception:
        # That the agent would not go on from there, or its server not end, is nothing to this call.
        if only.came is None and not only.problems:
            raise
    if only.problems:
        raise InvalidArguments(only.problems)
    if only.lost:
        raise OutcomeUnknown(only.lost)
    gone = f"{agent.name} has no tool {call.tool!r} any more"
    return only.came or Failed(call_id=call.call_id, message=gone)


def _before(agent: PydanticAgent[Any, Any], tool: str) -> list[ModelMessage]:
    """Return a conversation in which the model has found a tool that it has to look for first."""
    found: list[AbstractCapability[Any]] = []
    agent.root_capability.apply(found.append)
    loaded = [each.id for each in found if each.defer_loading is True and each.id]
    loads = [LoadCapabilityCallPart(args={"id": each}, tool_call_id=each) for each in loaded]
    done = [LoadCapabilityReturnPart(content={}, tool_call_id=each) for each in loaded]
    return [
        ModelRequest([]),
        ModelResponse(loads),
        ModelRequest([*done, ToolAvailabilityDeltaPart(tools_added=[tool])]),
    ]


@dataclass
class _Only(AbstractCapability[Any]):
    """Notes what comes of the one call."""

    call_id: str
    came: AnyFed | None = None
    problems: tuple[str, ...] = ()
    """Why the arguments do not fit."""
    lost: str = ""
    """What is said of a call of which nobody knows whether it happened."""

    def get_ordering(self) -> CapabilityOrdering:
        """Stand around what the agent has: the result is what its hooks made of it."""
        return CapabilityOrdering(position="outermost")

    async def wrap_tool_validate(self, ctx: Any, *, args: Any, handler: Any, **_: Any) -> Any:
        """Note why the arguments do not fit."""
        try:
            return await handler(args)
        except ValidationError as invalid:
            self.problems = tuple(problems_of(invalid))
            raise
        except ModelRetry as refused:
            self.problems = (refused.message,)
            raise

    async def wrap_tool_execute(
        self, ctx: Any, *, args: Any, handler: Callable[[Any], Any], **_: Any
    ) -> Any:
        """Note what came of it."""
        try:
            result = await handler(args)
            self.came = self._value(result)
            return result
        except SkipToolExecution as skipped:
            self.came = self._value(skipped.result)
            raise
        except (ModelRetry, ToolRetryError) as error:
            self.came = Repaired(call_id=self.call_id, message=message_of(error))
            self._note_lost(error)
            raise
        except (ToolFailed, ToolFailedError) as error:
            self.came = Failed(call_id=self.call_id, message=message_of(error))
            raise
        except Exception as error:
            self.came = Failed(call_id=self.call_id, message=told(error))
            self._note_lost(error)
            raise

    def _value(self, result: Any) -> AnyFed:
        return Value(call_id=self.call_id, value=freeze(result), frozen=True)

    def _note_lost(self, error: BaseException) -> None:
        for each in _causes(error):
            code = getattr(getattr(each, "error", None), "code", None)
            if code in LOST or type(each).__name__ in LOST_TYPES:
                self.lost = f"the tool's server was lost: {told(each)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
