"""Models that say what a test writes down, and a desk on which many agents are tried at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_core import to_jsonable_python
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import HitlClient, RunOptions, WorkflowRunOutput
from temporal_hitl.agents import RunOutput, RunRequirement
from temporal_hitl.primitives import Definition, as_definition
from temporal_hitl.requirements import AnyResolution
from tests.stage import ended, paused, replay_each, serving

Called: TypeAlias = tuple[str, Any]
"""A tool's name, and the arguments: a dict, or any text in the place of one."""
Says: TypeAlias = (
    "str | Sequence[Called] | ModelResponse | Callable[[list[ModelMessage], AgentInfo], Says]"
)


def scripted(*turns: Says) -> FunctionModel:
    """Return a model that says one thing after another in each conversation: a text, or calls of
    tools, whose ids are `c0`, `c1` in every response. After the last it says what it heard.
    """

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        place = sum(isinstance(each, ModelResponse) for each in messages)
        said = turns[place] if place < len(turns) else heard(messages)
        if callable(said):
            said = said(messages, info)
        if isinstance(said, ModelResponse):
            return said
        if isinstance(said, str):
            return ModelResponse(parts=[TextPart(said)])
        calls = enumerate(cast(Sequence[Called], said))
        return ModelResponse(parts=[ToolCallPart(name, args, f"c{n}") for n, (name, args) in calls])

    return FunctionModel(model, model_name="scripted")


def heard(messages: list[ModelMessage], _: Any = None) -> str:
    """Return what a model was told last: `tool: content` of each result, or the prompt."""
    return "; ".join(filter(None, map(_told, messages[-1].parts)))


def _told(part: Any) -> str:
    match part:
        case ToolReturnPart(tool_name=name, content=content):
            return f"{name}: {content if isinstance(content, str) else _as_json(content)}"
        case RetryPromptPart(tool_name=name):
            return f"{name} again: {part.model_response()}"
        case UserPromptPart(content=content):
            return content if isinstance(content, str) else _as_json(content)
        case _:
            return ""


def _as_json(content: Any) -> str:
    return json.dumps(to_jsonable_python(content))


@dataclass
class Desk:
    """A worker that serves many agents and pipelines, and the runs that were started on it."""

    env: WorkflowEnvironment
    client: HitlClient
    served: Sequence[Definition]
    runs: list[str] = field(default_factory=list[str])

    async def start(self, agent: Any, input: Any = "go", **options: Any) -> str:
        given = RunOptions(**options)
        run = await self.client.start(as_definition(agent), input, options=given)
        self.runs.append(run)
        return run

    async def asked(self, run: str, *ids: str) -> RunOutput:
        """Return the run once it waits, for exactly these."""
        output = RunOutput(await paused(self.client, run))
        # Members work at once: which of them asks first is chance.
        there = sorted(each.id for each in output.run.requirements)
        assert sorted(ids) == there or not ids, f"{there} are open, not {ids}"
        return output

    async def open(self, agent: Any, *ids: str, input: Any = "go", **options: Any) -> RunOutput:
        """Start a run, and return it once it waits, for exactly these."""
        return await self.asked(await self.start(agent, input, **options), *ids)

    async def by_id(self, agent: Any, *ids: str) -> tuple[str, list[RunRequirement]]:
        """Start a run, and return it with what it waits for, in this order."""
        output = await self.open(agent, *ids)
        there = {each.id: each for each in output.active_requirements}
        return output.run_id, [there[each] for each in ids]

    async def send(self, *decided: RunRequirement) -> None:
        """Send what was decided, one after another."""
        for each in decided:
            resolution = each.draft.resolution()
            assert resolution is not None, f"{each} is not decided"
            await self.client.resolve(each.draft.run_id, resolution)

    async def resolve(self, run: str, *resolutions: AnyResolution) -> None:
        for each in resolutions:
            await self.client.resolve(run, each)

    async def end(self, run: str) -> WorkflowRunOutput:
        return await ended(self.client, run)

    async def said(self, agent: Any, input: Any = "go", **options: Any) -> Any:
        """Return what an agent says that asks nobody."""
        return (await self.end(await self.start(agent, input, **options))).content


@asynccontextmanager
async def desk_of(env: WorkflowEnvironment, *served: Any) -> AsyncIterator[Desk]:
    """Yield a desk for agents and pipelines; at the end every history of its runs replays."""
    definitions = [as_definition(each) for each in served]
    async with serving(env, *definitions) as client:
        desk = Desk(env, client, definitions)
        yield desk
        await replay_each([client.handle(run) for run in desk.runs], *definitions)
