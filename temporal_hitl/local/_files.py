"""The files beside a database: at most one server runs on it, and every process finds that one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from temporal_hitl.errors import ServerError

__all__ = ["Files", "Ports", "Record", "keep_from_forks", "try_lock"]

_LOG_LIMIT = 10_000_000  # bytes after which the next server begins a new log
_ODD = frozenset("%?#")  # the server puts the name into a URL as it is
_kept_from_forks: set[int] = set()


class Ports(NamedTuple):
    """Names the four ports of a server."""

    frontend: int
    ui: int
    http: int
    metrics: int


class Record(NamedTuple):
    """Tells other processes, and later servers on the same database, what runs and where."""

    pid: int
    ports: Ports
    unfinished: bool
    """Whether the server may still be creating the database, which nobody has used yet."""

    def write(self, path: Path) -> None:
        """Replace the record at `path` in one step: a reader sees the old one or this one."""
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(self._asdict() | {"ports": self.ports._asdict()}))
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """Return the record at `path`, or None if there is none that can be read."""
        try:
            data = json.loads(path.read_text())
            return cls(int(data["pid"]), Ports(**data["ports"]), bool(data["unfinished"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Files:
    """Names the files of one database; a server in memory has a log and large values alone."""

    log: Path
    values: Path
    """The folder of the values that are too large for the server."""
    database: Path | None = None
    lock: Path | None = None
    record: Path | None = None

    @classmethod
    def of(cls, database: Path) -> Self:
        """Name the files of `database`, and make the folder that they are in."""
        if odd := _ODD & set(database.name):
            raise ServerError(
                f"cannot keep a database at {str(database)!r}: the server misreads {min(odd)!r}"
                " in the name of a file; use another name"
            )
        database.parent.mkdir(parents=True, exist_ok=True)
        log, values, lock, record = (
            database.with_name(f"{database.name}.{suffix}")
            for suffix in ("log", "values", "lock", "server.json")
        )
        return cls(log, values, database, lock, record)

    @classmethod
    def in_memory(cls) -> Self:
        """Name a temporary log and folder, for a server without a database file."""
        descriptor, name = tempfile.mkstemp(prefix="temporal-hitl-", suffix=".log")
        os.close(descriptor)
        return cls(Path(name), Path(name).with_suffix(".values"))

    def beside(self, suffix: str) -> Path:
        """Return the path of one more file of the database; `forget` deletes that of memory's."""
        if self.database is None:
            return self.log.with_suffix(f".{suffix}")
        return self.database.with_name(f"{self.database.name}.{suffix}")

    def forget(self) -> None:
        """Delete what only a server in memory needed."""
        if self.database is None:
            shutil.rmtree(self.values, ignore_errors=True)
            for each in self.log.parent.glob(f"{self.log.stem}.*"):
                each.unlink(missing_ok=True)

    def __str__(self) -> str:
        return "memory" if self.database is None else str(self.database)

    def recorded(self) -> Record | None:
        """Return what the last server on the database, running or not, told about itself."""
        return None if self.record is None else Record.read(self.record)

    def discard_unfinished(self) -> None:
        """Delete the database if it was never finished: it may have half of its tables for ever."""
        record = self.recorded()
        if self.database is not None and record is not None and record.unfinished:
            for suffix in ("", "-journal", "-wal", "-shm"):
                self.database.with_name(self.database.name + suffix).unlink(missing_ok=True)

    def shorten_log(self) -> None:
        """Set a long log aside as `.log.1`; only while no server writes to it."""
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))

    def log_tail(self) -> str:
        """Return the last lines of the log, to be read after a colon."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-5:])


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock at `path`, or None if another one holds it.

    The lock is free once every copy of the descriptor is closed. The server process inherits one:
    whoever gets the lock knows that no server is alive on the database, however its owner ended.
    """
    try:
        import fcntl  # Only here: the library is imported where there are no such locks, too.
    except ImportError:
        raise ServerError(
            "an embedded server needs a POSIX system; set TEMPORAL_ADDRESS to a server that runs"
        ) from None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def keep_from_forks(descriptor: int) -> Generator[int]:
    """Close `descriptor` at the end of the block, and at once in every child forked meanwhile.

    `close-on-exec` does not reach a child that never calls exec, as `multiprocessing` makes them.
    """
    _kept_from_forks.add(descriptor)
    try:
        yield descriptor
    finally:
        _kept_from_forks.discard(descriptor)
        os.close(descriptor)


def _close_in_child() -> None:
    for descriptor in _kept_from_forks:
        os.close(descriptor)
    _kept_from_forks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
