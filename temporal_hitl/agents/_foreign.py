"""What is known beforehand of a pydantic-ai agent: which of its tools are guarded, what of it is in
its digest, and what of it no run can have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from types import NoneType
from typing import Any, cast, get_args

from pydantic_ai.capabilities import (
    AbstractCapability,
    CombinedCapability,
    Hooks,
    WrapperCapability,
)
from pydantic_ai.output import PendingModelResponse
from pydantic_ai.tools import DeferredToolRequests, Tool, ToolDefinition
from pydantic_ai.toolsets import ExternalToolset, FunctionToolset

from temporal_hitl._source import source_digest
from temporal_hitl.agents._tools import policy_of
from temporal_hitl.errors import DefinitionError
from temporal_hitl.turns import Asks, Guard, ToolCall, Turn

Deps = Callable[[Turn | ToolCall], Any]
"""Makes the `deps` of a turn, or of one call of a tool; may be awaited."""


def refuse(agent: Any, where: str, deps: Deps | None) -> None:
    """Raise `DefinitionError` for what would be ignored, or fail in the midst of a run."""
    if deps is not None and not callable(deps):
        raise DefinitionError(
            f"{where}: deps={deps!r} cannot be called; give a function of the turn or the call:"
            " deps=lambda run: ..."
        )
    if deps is None and not _may_be_a_turn(agent.deps_type):
        kind = getattr(agent.deps_type, "__name__", agent.deps_type)
        raise DefinitionError(
            f"{where} works on deps of the type {kind}, which a run does not have: say how they are"
            " made, adapter_of(agent, deps=lambda run: ...); `run` has user_id, session_state and"
            " additional_data"
        )
    if _validators(agent) and not can_pause(agent.output_type):
        raise DefinitionError(
            f"{where} has output validators, and cannot be made to pause beside them: write"
            " output_type=[..., DeferredToolRequests]"
        )
    if _gives(agent.output_type, PendingModelResponse):
        raise DefinitionError(
            f"{where} may end with a response that is pending, for which no run waits: leave"
            " PendingModelResponse out of its output_type"
        )
    for name in _deciders(agent):
        raise DefinitionError(
            f"{where} decides by itself about the calls that wait ({name}), and nobody would be"
            " asked: leave that capability out; the run asks"
        )


def _may_be_a_turn(kind: Any) -> bool:
    return not isinstance(kind, type) or kind is NoneType or issubclass(Turn, kind)


def can_pause(output: Any) -> bool:
    """Return whether an agent of this output type may give `DeferredToolRequests`."""
    return _gives(output, DeferredToolRequests)


def _gives(output: Any, kind: type) -> bool:
    several = cast(list[Any], output) if isinstance(output, (list, tuple)) else get_args(output)
    return output is kind or any(_gives(each, kind) for each in several)


def _validators(agent: Any) -> Any:
    # What wraps an agent has it as `wrapped`. There is no public list of them.
    while (wrapped := getattr(agent, "wrapped", None)) is not None:
        agent = wrapped
    return getattr(agent, "_output_validators", ())


def _deciders(agent: Any) -> Iterator[str]:
    found: list[AbstractCapability[Any]] = []
    agent.root_capability.apply(found.append)
    for each in found:
        while isinstance(each, WrapperCapability):
            each = each.wrapped
        own = type(each).handle_deferred_tool_calls is not _UNDECIDED
        # Hooks have the method, whether or not anything is hooked there.
        asked = not isinstance(each, Hooks) or each._get("handle_deferred_tool_calls")  # pyright: ignore[reportPrivateUsage]
        if own and asked and not isinstance(each, CombinedCapability):
            yield type(each).__name__


_UNDECIDED = AbstractCapability.handle_deferred_tool_calls


def guards_of(agent: Any) -> dict[str, Guard]:
    """Return the tools that wait for somebody, as far as they are known before they are listed:
    those of plain function toolsets that are marked, and external ones.

    Raises:
        DefinitionError: `@approval` marks what asks nobody, or what nobody would find.
    """
    known: dict[str, Guard] = {}
    for toolset in agent.toolsets:
        if isinstance(toolset, ExternalToolset):
            for each in toolset.tool_defs:
                known[each.name] = Guard(asks=Asks.execution)
        elif isinstance(toolset, FunctionToolset):
            own = [(tool, _marked(tool)) for tool in _functions_of(toolset)]
            known |= {tool.name: guard for tool, guard in own if guard is not None}
        else:
            toolset.apply(_refuse_approvals)
    return known


def _marked(tool: Tool[Any]) -> Guard | None:
    policy = policy_of(tool.function)
    if policy is None:
        return asked_about(tool.tool_def) if tool.requires_approval else None
    if not (tool.requires_approval or policy.is_required):
        raise DefinitionError(
            f"tool {tool.name!r}: @approval(type='audit') keeps what people decide, and this tool"
            " asks nobody: add requires_approval=True, or use type='required'"
        )
    return policy.on(asked_about(tool.tool_def))


def _refuse_approvals(toolset: Any) -> None:
    for tool in _functions_of(toolset):
        if policy_of(tool.function) is not None:
            raise DefinitionError(
                f"tool {tool.name!r}: @approval would be overlooked in a toolset that another one"
                " wraps; give the agent the tool, or its toolset, itself"
            )


def sources_of(agent: Any, known: Collection[str]) -> dict[str, str]:
    """Return a digest of each tool that is a plain function, by name, but for those of `known`."""
    tools = [tool for toolset in agent.toolsets for tool in _functions_of(toolset)]
    return {each.name: source_digest(each.function) for each in tools if each.name not in known}


def _functions_of(toolset: Any) -> list[Tool[Any]]:
    return list(toolset.tools.values()) if isinstance(toolset, FunctionToolset) else []


def asked_about(tool: ToolDefinition) -> Guard:
    """Return what stands before a tool of which only its definition is known."""
    # Loaded where it is needed: it takes its time.
    from temporal_hitl._json_schema import mistake

    schema = tool.parameters_json_schema
    # A server may say anything; what is no schema makes no form.
    form = schema if mistake(schema) is None else {}
    return Guard(form=form, alone=tool.sequential)
