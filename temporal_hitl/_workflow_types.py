"""Builds the Temporal workflow class of a pipeline: a shell around the interpreter, one per
definition.

Nothing in it is the author's, so it runs unsandboxed; the author's own workflows stay sandboxed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow

from temporal_hitl._doors import as_failure
from temporal_hitl._interpreter import Interpreter
from temporal_hitl.errors import DefinitionError
from temporal_hitl.run import RunOptions, run_options
from temporal_hitl.workflow import Gate


def workflow_type(name: str) -> type:
    """Return a new workflow class whose type is `name`."""
    class_name = "Pipeline"

    # Any number of inputs is taken: a typed run method that is started with none wedges for ever.
    def __init__(self: Any, *inputs: Any) -> None:
        self.broken = None
        try:
            run_input, options = _read(name, inputs)
        except DefinitionError as error:
            run_input, options, self.broken = None, RunOptions(), error
        self.interpreter = Interpreter(Gate(search_attributes=True), run_input, options)

    async def run(self: Any, *inputs: Any) -> dict[str, Any]:
        if self.broken is not None:
            raise as_failure(self.broken)
        return await self.interpreter.run()

    def run_output(self: Any, *_: Any) -> dict[str, Any]:
        return self.interpreter.output().model_dump(mode="json")

    methods = {"__init__": __init__, "run": run, "run_output": run_output}
    for method in methods.values():
        # The SDK refuses methods that look as if they were defined elsewhere.
        method.__qualname__ = f"{class_name}.{method.__name__}"
    body = {
        "__qualname__": class_name,
        "__module__": __name__,
        "__init__": workflow.init(__init__),
        "run": workflow.run(run),
        "run_output": workflow.query(description="The state of the run.")(run_output),
    }
    return workflow.defn(name=name, sandboxed=False)(type(class_name, (), body))


def _read(name: str, inputs: Sequence[Any]) -> tuple[Any, RunOptions]:
    if not 1 <= len(inputs) <= 2:
        raise DefinitionError(
            f"{name} takes one input, and it got {len(inputs)}. Write"
            f" `temporal workflow start --type {name} --task-queue hitl --input '\"text\"'`,"
            " or `--input null` where it needs none"
        )
    return inputs[0], run_options(inputs[1]) if len(inputs) == 2 else RunOptions()
