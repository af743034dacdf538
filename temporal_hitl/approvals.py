"""What was approved, by whom, and of what: one record for each requirement of an agent's tool that
is marked with `@approval`.

Owns the record, and who is handed it when it closes: a file of JSON Lines unless an operator gives
something else. Knows nothing of runs; a run makes the records, and an activity hands them over.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Awaitable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, field_validator

from temporal_hitl.errors import OperatorError
from temporal_hitl.requirements import Channel, DecidedBy, Identity
from temporal_hitl.review import ApprovalType

__all__ = [
    "FILE",
    "Approval",
    "ApprovalFilter",
    "ApprovalSink",
    "ApprovalStatus",
    "ApprovalType",
    "ApprovalsFile",
]

FILE = "HITL_APPROVALS_FILE"
"""The variable that names the file."""


class ApprovalStatus(StrEnum):
    """How an approval stands."""

    pending = "pending"
    """Somebody is asked."""
    approved = "approved"
    """Somebody said yes, as shown or with changes; or the deadline, where its author wrote so."""
    rejected = "rejected"
    expired = "expired"
    """Nobody decided before the deadline."""
    cancelled = "cancelled"
    """The run stopped asking."""


class Approval(BaseModel):
    """One requirement that is to be on file, from when it was opened to how it was closed."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    id: str
    """`RUN_ID/REQUIREMENT_ID`. A run that was reset asks again, and has two that differ in time."""
    status: ApprovalStatus
    type: ApprovalType
    run_id: str
    requirement_id: str
    kind: str
    """Of the requirement: `tool_confirmation`, `tool_input`, `tool_execution`, `tool_outcome`."""
    pipeline: str
    agent_name: str | None = None
    path: str
    """Where in the run it was asked."""
    tool_name: str | None = None
    arguments: dict[str, JsonValue] | None = None
    """As they were shown to who decided; null where they are not told here."""
    digest: str = ""
    """SHA-256 of all that was shown, as on the requirement."""
    given: JsonValue = None
    """What the decision brought: edited arguments, the values of a form, or a reported result."""
    omitted: dict[str, int] = {}
    """How many bytes `arguments` and `given` have, where one is too large to be told here."""
    requested_by: str | None = None
    """For whom the run was started: its `user_id`."""
    created_at: datetime
    deadline: datetime | None = None
    asks: tuple[str, ...] = ()
    """The roles that may decide."""
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    """Who decided: a claim, unless `identity` is `signed`."""
    identity: Identity = Identity.none
    roles: tuple[str, ...] = ()
    """What who decided is, where that is signed."""
    channel: Channel | None = None
    decided_by: DecidedBy | None = None
    action: str | None = None
    """What was decided: `confirm`, `edit_arguments`, `reject`, `time_out`, `withdraw`, ..."""
    comment: str | None = None
    """Why, in the words of who decided."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from every other one: sorts by when it was opened."""
        closed = "" if self.resolved_at is None else self.resolved_at.isoformat()
        return (self.created_at.isoformat(), self.id, closed)


class ApprovalFilter(BaseModel):
    """Which approvals; all that is given must hold."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    status: ApprovalStatus | None = None
    type: ApprovalType | None = None
    pipeline: str | None = None
    """The pipeline, or the agent, whose run asks."""
    run_id: str | None = None
    tool: str | None = None
    """The tool's name."""
    resolved_by: str | None = None
    """Who decided."""
    since: datetime | None = None
    """Opened then, or later."""
    until: datetime | None = None
    """Opened before then."""

    @field_validator("since", "until")
    @classmethod
    def _in_utc(cls, given: datetime | None) -> datetime | None:
        return given if given is None or given.tzinfo else given.replace(tzinfo=UTC)

    def holds(self, each: Approval) -> bool:
        """Return whether `each` is wanted."""
        wanted = (
            (self.status, each.status),
            (self.type, each.type),
            (self.pipeline, each.pipeline),
            (self.run_id, each.run_id),
            (self.tool, each.tool_name),
            (self.resolved_by, each.resolved_by),
        )
        is_late = self.since is None or each.created_at >= self.since
        is_early = self.until is None or each.created_at < self.until
        fits = all(value is None or value == actual for value, actual in wanted)
        return fits and is_late and is_early


class ApprovalSink(Protocol):
    """Keeps approvals for as long as they are needed; what `HitlPlugin(approvals=...)` takes."""

    def write(self, record: Approval) -> Awaitable[None] | None:
        """Keep a record that has closed, and return, or be awaited, once it is safe.

        Called again until it succeeds, and perhaps once more with the same record. What it raises
        is shown to operators; the tool waits.
        """
        ...


@dataclass
class ApprovalsFile:
    """A file of JSON Lines: one line for each record, in the order in which they closed."""

    path: Path
    _read: dict[tuple[str, str, str], Approval] = field(
        default_factory=dict[tuple[str, str, str], Approval], init=False, repr=False
    )
    _from: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _reading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def from_environment(cls) -> ApprovalsFile | None:
        """Return the file that `HITL_APPROVALS_FILE` names, None where it is not set."""
        named = os.environ.get(FILE, "").strip()
        return cls(Path(named)) if named else None

    def write(self, record: Approval) -> None:
        """Append a record, and return once it is on the disk.

        Raises:
            OperatorError: it cannot be; with what to do.
        """
        line = record.model_dump_json().encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self.path, flags, 0o600)
            try:
                with _alone(descriptor):
                    _append(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OperatorError(
                f"approvals cannot be filed in {str(self.path)!r} ({error}): make room there, or"
                f" set {FILE} on the workers to a file that they can write; until then nothing that"
                " is approved is executed"
            ) from error

    def check(self) -> None:
        """Raise `OperatorError` where it cannot be written."""
        place = self.path if self.path.exists() else self.path.parent
        if place.exists() and not os.access(place, os.W_OK):
            raise OperatorError(
                f"approvals are to be filed in {str(self.path)!r}, and this user cannot write there"
            )

    def records(self) -> list[Approval]:
        """Return every record, each once, in the order in which they were filed first.

        What was read before is not read again. A line that is none of ours is passed over.

        Raises:
            OperatorError: the file cannot be read.
        """
        try:
            with self._reading, self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                inode, done = self._from
                if inode != status.st_ino or done > status.st_size:
                    self._read, done = {}, 0
                file.seek(done)
                for each in _lines(file.read(status.st_size - done)):
                    done += len(each)
                    self._keep(each)
                self._from = status.st_ino, done
        except FileNotFoundError:
            return []  # Nothing has closed yet.
        except OSError as error:
            raise OperatorError(
                f"the approvals in {str(self.path)!r} cannot be read: {error}"
            ) from error
        return list(self._read.values())

    def _keep(self, line: bytes) -> None:
        with contextlib.suppress(ValidationError):
            record = Approval.model_validate_json(line)
            self._read.setdefault(record.key, record)


def _lines(data: bytes) -> Iterator[bytes]:
    # The last one may still be on its way.
    yield from (each for each in data.splitlines(keepends=True) if each.endswith(b"\n"))


def _append(descriptor: int, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line  # Somebody died in the midst of a line.
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError("the disk is full")
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


@contextlib.contextmanager
def _alone(descriptor: int) -> Generator[None]:
    try:
        import fcntl
    except ImportError:  # Without such locks, appending has to do.
        yield
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
