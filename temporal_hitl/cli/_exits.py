"""What a command ends with: an exit code for each kind of trouble, and one line that says what to
do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from temporalio.client import WorkflowQueryFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl.errors import (
    AlreadyResolved,
    DecisionConflict,
    DefinitionError,
    OperatorError,
    ResolutionError,
    RunNotFound,
    TooLate,
    UnknownRequirement,
)


class Exit(IntEnum):
    """The exit codes, the same for every command."""

    done = 0
    """It did what it was told to."""
    not_well = 1
    """The run failed or was cancelled; or `doctor` has found what must be mended."""
    usage = 2
    """What was typed does not do: an option, a value, a module, something left out."""
    not_there = 3
    """There is no such run, or no such requirement in it."""
    refused = 4
    """The answer does not fit the requirement; nothing has changed."""
    decided = 5
    """Somebody was first, or the deadline; or a run of this id is there already."""
    unreachable = 6
    """The server, the namespace or a worker is not there, or does not let the caller in."""
    unexpected = 70
    """None of these; with TEMPORAL_HITL_TRACEBACK set, with a traceback."""
    interrupted = 130
    """Ctrl-C."""


TRACEBACK = "TEMPORAL_HITL_TRACEBACK"
"""The variable with which what is unexpected shows a traceback."""


class Usage(Exception):
    """What was typed does not do; the message says what does."""


class Missing(Exception):
    """What was named is not there; the message says what is."""


@dataclass(frozen=True)
class Trouble:
    """Why a command ends, for people and for programs."""

    code: Exit
    message: str
    record: dict[str, Any] | None = None
    """The record of the decision that stands, where one does."""


_CODES: tuple[tuple[tuple[type[Exception], ...], Exit], ...] = (
    ((Usage, DefinitionError), Exit.usage),
    ((Missing, RunNotFound, UnknownRequirement), Exit.not_there),
    ((AlreadyResolved, DecisionConflict, TooLate, WorkflowAlreadyStartedError), Exit.decided),
    ((ResolutionError,), Exit.refused),
    ((OperatorError,), Exit.unreachable),
)
_NO_ENTRY = {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}


def trouble(error: Exception) -> Trouble | None:
    """Return how the command ends with `error`; None where nobody expected it."""
    if isinstance(error, RPCError):
        return _of_the_server(error)
    if isinstance(error, WorkflowAlreadyStartedError):
        told = (
            f"run {error.workflow_id!r} is there already; choose another --run-id, or look at it:"
            f" temporal-hitl show {error.workflow_id}"
        )
        return Trouble(Exit.decided, told)
    if isinstance(error, WorkflowQueryFailedError):
        told = f"this workflow has no gate of temporal_hitl's, so there is nothing to see ({error})"
        return Trouble(Exit.not_there, told)
    if isinstance(error, KeyError) and "payload encoding" in str(error):
        told = (
            f"what came back cannot be read here ({error.args[0]}), though the call may have"
            " counted; give the data converter that the workers have with --data-converter"
        )
        return Trouble(Exit.usage, told)
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return Trouble(code, str(error), getattr(error, "record", None))
    return None


def unexpected(error: Exception) -> Trouble:
    """Return how a command ends that nobody expected to end so."""
    told = f"{type(error).__name__}: {error}; set {TRACEBACK}=1 to see where"
    return Trouble(Exit.unexpected, told)


def _of_the_server(error: RPCError) -> Trouble:
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return Trouble(Exit.usage, f"the server refuses this: {error.message}")
    if error.status in _NO_ENTRY:
        told = (
            f"the server does not let you in ({error.message}); give --api-key or --tls-cert-path"
        )
    elif error.status is RPCStatusCode.NOT_FOUND:
        told = f"{error.message}; `temporal-hitl doctor` says what is there"
    else:
        told = f"the server does not answer ({error.message}); `temporal-hitl doctor` looks why"
    return Trouble(Exit.unreachable, told)
