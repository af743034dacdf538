"""`Toolkit`: tools that belong together, with lists of those that are guarded.

Owns the rule that a list names only tools that are there, for those too that a server lists when it
is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.toolsets import AbstractToolset, CombinedToolset, ToolsetTool, WrapperToolset

from temporal_hitl.agents._tools import Function, as_function
from temporal_hitl.errors import DefinitionError
from temporal_hitl.turns import Asks


class Toolkit:
    """Tools that belong together, with lists of those that are guarded.

    `tools` are functions, `@tool`s and pydantic-ai's toolsets, an `MCPToolset` among them.

    Raises:
        DefinitionError: a list names a tool that is not there: it would run unguarded. Of a
            toolset this is known once its tools are listed, and the turn fails.
    """

    def __init__(
        self,
        name: str = "toolkit",
        tools: Sequence[Any] = (),
        *,
        instructions: str | None = None,
        requires_confirmation_tools: Sequence[str] = (),
        external_execution_required_tools: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.instructions = instructions
        sets: list[Any] = [each for each in tools if isinstance(each, AbstractToolset)]
        own = [as_function(each) for each in tools if not isinstance(each, AbstractToolset)]
        there = {each.name: each for each in own}
        guarded = {
            Asks.confirmation: requires_confirmation_tools,
            Asks.execution: external_execution_required_tools,
        }
        listed: dict[str, Asks] = {}
        for asks, names in guarded.items():
            for each in names:
                if each in there:
                    there[each] = there[each].guarded_by(asks)
                elif not sets:
                    raise DefinitionError(_not_there(name, each, there))
                elif listed.setdefault(each, asks) is not asks:
                    raise DefinitionError(
                        f"toolkit {name!r}: {each!r} stands in two lists; keep one"
                    )
        self.functions: tuple[Function, ...] = tuple(there.values())
        self.listed: Mapping[str, Asks] = listed
        """Those of its toolsets' tools that are guarded."""
        self.toolsets: tuple[AbstractToolset[Any], ...] = (
            (_Listed(CombinedToolset(sets), toolkit=name, names=tuple(listed)),) if sets else ()
        )


def _not_there(toolkit: str, name: str, there: Mapping[str, Any]) -> str:
    return (
        f"toolkit {toolkit!r}: {name!r} is to be guarded, and is not there; it has"
        f" {', '.join(there) or 'no tools'}"
    )


@dataclass
class _Listed(WrapperToolset[Any]):
    """Toolsets among whose tools those of `names` must be."""

    toolkit: str
    names: tuple[str, ...]

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Return the tools; raises `DefinitionError` where one of `names` is not among them."""
        tools = await super().get_tools(ctx)
        for name in self.names:
            if name not in tools:
                raise DefinitionError(_not_there(self.toolkit, name, tools))
        return tools
