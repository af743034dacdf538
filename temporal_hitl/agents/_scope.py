"""What is put around an agent for one turn: guarded tools are never called in it, and what is done
is remembered, so that a turn whose worker died does not do it again.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic_ai import RunContext, ToolReturn
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import (
    ApprovalRequired,
    CallDeferred,
    ModelRetry,
    SkipToolExecution,
    ToolFailed,
    ToolFailedError,
    ToolRetryError,
    UserError,
)
from pydantic_ai.messages import (
    ModelMessagesTypeAdapter,
    ModelRequest,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset
from pydantic_core import from_json, to_json

from temporal_hitl._sizes import LIMIT
from temporal_hitl.turns import Called, CheckpointTooLarge

Predicate = Callable[..., Any]
_PASSED_ON = (ApprovalRequired, CallDeferred, ModelRetry, ToolFailed, ToolRetryError, UserError)


def freeze(result: Any) -> Any:
    """Return what a tool returned as JSON data, from which `thawed` makes it again.

    Raises:
        ToolFailed: it cannot be kept, or is too large; the model is told.
    """
    whole = cast(ToolReturn[Any], result if isinstance(result, ToolReturn) else ToolReturn(result))
    parts: list[Any] = [
        ToolReturnPart("frozen", whole.return_value, "frozen", metadata=whole.metadata)
    ]
    if whole.content is not None:
        parts.append(UserPromptPart(whole.content))
    try:
        data = ModelMessagesTypeAdapter.dump_python([ModelRequest(parts)], mode="json")
        size = len(to_json(data))
    except (ValueError, TypeError) as error:
        raise ToolFailed(_lost(f"its result cannot be kept: {error}")) from error
    if size > LIMIT // 2:
        raise ToolFailed(_lost(f"its result of {size:,} bytes is more than a run can keep"))
    return data[0]["parts"]


def _lost(why: str) -> str:
    return f"the tool was called, but {why}"


GUARDED = "temporal_hitl.guarded"
"""The key of a definition's metadata that says by which name its tool is guarded, whatever it is
called further out."""
TOO_MUCH = _lost("its result, with those of the calls beside it, is more than a run can keep")


def thawed(data: Any) -> ToolReturn:
    """Return what `freeze` was given."""
    message = {"kind": "request", "parts": data}
    part, *more = ModelMessagesTypeAdapter.validate_python([message])[0].parts
    assert isinstance(part, ToolReturnPart), "freeze made one"
    content = more[0].content if more and isinstance(more[0], UserPromptPart) else None
    return ToolReturn(part.content, content=content, metadata=part.metadata)


@dataclass
class Guarded(WrapperToolset[Any]):
    """Shows the tools of `names` as such that run elsewhere: nothing here can call them."""

    names: frozenset[str] = frozenset()

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Return the tools, guarded ones marked."""
        tools = await super().get_tools(ctx)
        for name in sorted(self.names & tools.keys()):
            tool = tools[name]
            metadata = {**(tool.tool_def.metadata or {}), GUARDED: name}
            outside = replace(tool.tool_def, kind="external", metadata=metadata)
            tools[name] = replace(tool, tool_def=outside)
        return tools

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Call a tool that nothing stands before."""
        if name in self.names:
            raise UserError(f"{name!r} is guarded, and is not called in a turn")
        return await super().call_tool(name, tool_args, ctx, tool)


@dataclass
class TurnScope(AbstractCapability[Any]):
    """Guards tools, and remembers what came of each call until the model has been told."""

    guarded: frozenset[str] = frozenset()
    conditions: Mapping[str, Predicate] = field(default_factory=dict[str, Predicate])
    """Says of a tool's arguments whether a person must approve."""
    done: dict[str, Any] = field(default_factory=dict[str, Any])
    """What came of the calls of the last response, by call id."""
    beat: Callable[[], None] = lambda: None
    called: list[Called] = field(default_factory=list[Called])
    """What ran in this turn."""
    defined: dict[str, ToolDefinition] = field(default_factory=dict[str, ToolDefinition])
    """The tool of each call of the last response, by call id."""

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        """Return the agent's tools, guarded."""
        return Guarded(toolset, names=self.guarded)

    async def wrap_tool_validate(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: Any,
        handler: Callable[[Any], Any],
    ) -> Any:
        """Note which tool is called: calls that wait come by here too.

        What no JSON can hold the model says again: people could not be shown it.
        """
        self.defined[call.tool_call_id] = tool_def
        if not _is_json(args):
            raise ModelRetry("the arguments are no JSON: write finite numbers and whole characters")
        return await handler(args)

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: Callable[[dict[str, Any]], Any],
    ) -> Any:
        """Run a tool, unless it has run."""
        if (seen := self.done.get(call.tool_call_id)) is not None:
            return _again(seen)
        condition = self.conditions.get(call.tool_name)
        if condition is not None and await _holds(condition, args):
            raise ApprovalRequired()
        try:
            result = await handler(args)
            record = {"value": freeze(result)}
        except SkipToolExecution as skipped:
            # A hook's own result in the place of the tool's.
            self._remember(call, {"value": freeze(skipped.result)})
            raise
        except (ModelRetry, ToolRetryError) as error:
            self._remember(call, {"retry": message_of(error)})
            raise
        except (ToolFailed, ToolFailedError) as error:
            self._remember(call, {"failed": message_of(error)})
            raise
        except _PASSED_ON:
            raise
        except Exception as error:
            self._remember(call, {"failed": told(error)})
            raise ToolFailed(told(error)) from error
        self._remember(call, record)
        return result

    def _remember(self, call: ToolCallPart, record: dict[str, Any]) -> None:
        self.done[call.tool_call_id] = record
        outcome: Any = next(iter(record))
        self.called.append(Called(call_id=call.tool_call_id, tool=call.tool_name, outcome=outcome))
        try:
            self.beat()
        except CheckpointTooLarge:
            self.done[call.tool_call_id] = {"failed": TOO_MUCH}
            self.beat()
            raise ToolFailed(TOO_MUCH) from None


def _is_json(args: str | dict[str, Any]) -> bool:
    try:
        data = from_json(args or "{}") if isinstance(args, str) else args
    except ValueError:
        return True  # The tool's own check says what is wrong.
    try:
        json.dumps(data, allow_nan=False, ensure_ascii=False, default=str).encode()
    except ValueError:
        return False
    return True


async def _holds(condition: Predicate, args: dict[str, Any]) -> bool:
    try:
        said = condition(**_named_by(condition, args))
        return bool(await said if inspect.isawaitable(said) else said)
    except Exception:
        # What nobody could judge is not what everybody allows.
        return True


def _named_by(condition: Predicate, args: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a predicate looks at: it need not name all that the tool has."""
    there = inspect.signature(condition).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in there.values()):
        return args
    return {name: each for name, each in args.items() if name in there}


def _again(seen: Mapping[str, Any]) -> Any:
    if "retry" in seen:
        raise ModelRetry(seen["retry"])
    if "failed" in seen:
        raise ToolFailed(seen["failed"])
    return thawed(seen["value"])


def told(error: BaseException) -> str:
    """Return what a model is told of a tool's exception."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def message_of(error: Any) -> str:
    """Return what a model is told of an error that is meant for it."""
    if isinstance(error, (ModelRetry, ToolFailed)):
        return error.message
    part = error.tool_retry if isinstance(error, ToolRetryError) else error.tool_failed
    content = part.content
    return content if isinstance(content, str) else str(error)
