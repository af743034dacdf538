"""How a demo runs a pipeline: on until it has ended, with a reviewer for whatever it asks."""

from collections.abc import Callable, Sequence
from typing import Protocol

from temporal_hitl import RunFailed, Workflow, WorkflowRunOutput
from temporal_hitl.drafts import AnyDraft
from workflows.demo.scripted import GivesUp


class Reviewer(Protocol):
    """Fills in drafts."""

    def answer(self, draft: AnyDraft) -> None:
        """Fill in one draft, or raise `GivesUp`."""
        ...


Shown = Callable[[WorkflowRunOutput, AnyDraft], None]
Result = tuple[bool, list[str]]
"""Whether there is one, and what came of the run, in lines."""
Played = tuple[WorkflowRunOutput, str | None, Callable[[], None]]
"""How the run ended, its page in the Web UI, and what ends the server."""


def play(
    workflow: Workflow,
    source: str,
    reviewer: Reviewer,
    show: Shown,
    roles: Sequence[str] | None = None,
) -> Played:
    """Run a pipeline to its end, answering whatever it asks; failed runs are returned too.

    Where what it asks is for certain roles, `roles` are what the reviewer signs as.
    """
    try:
        run_output = workflow.run(source)
        while run_output.is_paused:
            for draft in [*run_output.step_requirements, *run_output.error_requirements]:
                show(run_output, draft)
                reviewer.answer(draft)
            run_output = workflow.continue_run(run_output, roles=roles)
    except GivesUp:
        run_output = workflow.cancel_run(run_output.run_id)  # pyright: ignore[reportPossiblyUnboundVariable]
    except Exception as error:
        run_output = _failed(error)
    return run_output, workflow.web_url(run_output.run_id), lambda: None


def _failed(error: Exception) -> WorkflowRunOutput:
    """Return the run that failed, whatever its executor raised; anything else is raised on."""
    failed = error if isinstance(error, RunFailed) else error.__cause__
    if not isinstance(failed, RunFailed) or not isinstance(failed.run_output, WorkflowRunOutput):
        raise error
    return failed.run_output
