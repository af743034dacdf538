"""Builds the Temporal workflow class of a pipeline: a shell around the interpreter, one per
definition.

Nothing in it is the author's, so it runs unsandboxed; the author's own workflows stay sandboxed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import VersioningBehavior

from temporal_hitl._children import telling_parent
from temporal_hitl._doors import as_failure
from temporal_hitl._execution import Execution
from temporal_hitl._wire import read
from temporal_hitl.errors import DefinitionError
from temporal_hitl.run import Omitted, RunOptions, run_options
from temporal_hitl.workflow import Gate

CLASS = "Pipeline"
OURS = "For the run's own activities."


def workflow_type(name: str, behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED) -> type:
    """Return a new workflow class whose type is `name`.

    The server refuses any `behavior` that a worker without versioning states.
    """

    # Any number of inputs is taken: a typed run method that is started with none wedges for ever.
    def __init__(self: Any, *inputs: Any) -> None:
        self.broken = None
        try:
            run_input, options, carried = _read(name, inputs)
        except DefinitionError as error:
            run_input, options, carried, self.broken = None, RunOptions(), None, error
        self.execution = Execution(Gate(search_attributes=True), run_input, options, carried)

    async def run(self: Any, *inputs: Any) -> dict[str, Any]:
        return await telling_parent(_run(self))

    body = {
        "__qualname__": CLASS,
        "__module__": __name__,
        "__init__": workflow.init(_owned(__init__)),
        "run": workflow.run(_owned(run)),
        **_queries(),
    }
    made = workflow.defn(name=name, sandboxed=False, versioning_behavior=behavior)
    return made(type(CLASS, (), body))


async def _run(self: Any) -> dict[str, Any]:
    if self.broken is not None:
        raise as_failure(self.broken)
    return await self.execution.run()


def _queries() -> dict[str, Any]:
    def run_output(self: Any, *_: Any) -> dict[str, Any]:
        return self.execution.shown()

    def run_parts(self: Any, wanted: list[Any]) -> list[Any]:
        return self.execution.parts([read(Omitted, each) for each in wanted])

    def journal(self: Any, after: int = 0) -> dict[str, Any]:
        return self.execution.journal.since(after)

    def conversation(self: Any, path: str = "", start: int = 0) -> dict[str, Any]:
        return self.execution.conversation(path, start)

    def step_input(self: Any, activity_id: str) -> dict[str, Any]:
        return self.execution.given(activity_id).rest()

    def step_outputs(self: Any, activity_id: str, names: list[str] | None = None) -> Any:
        given = self.execution.given(activity_id)
        return given.index() if names is None else given.outputs(names)

    told = {
        run_output: "The state of the run.",
        run_parts: "The first of what stands in `omitted` of `run_output`, given a list of it.",
        journal: "What has happened in this execution, in order, from an index on.",
        conversation: "What the agent at a path has said so far, from a message on.",
        step_input: OURS,
        step_outputs: OURS,
    }
    return {
        query.__name__: workflow.query(description=text)(_owned(query))
        for query, text in told.items()
    }


def _owned(method: Callable[..., Any]) -> Callable[..., Any]:
    # The SDK refuses methods that look as if they were defined elsewhere.
    method.__qualname__ = f"{CLASS}.{method.__name__}"
    return method


def _read(name: str, inputs: Sequence[Any]) -> tuple[Any, RunOptions, Any]:
    info = workflow.info()
    if len(inputs) == 3 and info.continued_run_id:
        return inputs[0], read(RunOptions, inputs[1]), inputs[2]
    if len(inputs) == 2 and info.parent:
        return inputs[0], read(RunOptions, inputs[1]), None
    if not 1 <= len(inputs) <= 2:
        raise DefinitionError(
            f"{name} takes one input, and it got {len(inputs)}. Write"
            f" `temporal workflow start --type {name} --task-queue hitl --input '\"text\"'`,"
            " or `--input null` where it needs none"
        )
    return inputs[0], run_options(inputs[1]) if len(inputs) == 2 else RunOptions(), None
