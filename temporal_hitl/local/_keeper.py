"""The thread that keeps one server running on a database file, whichever process runs it.

Every process that uses the file has such a thread, and every thread wants the file's lock. The one
that gets it runs the server, and runs it again if it dies; the others use it. The next to get the
lock takes over on the same ports, so clients that are connected already come back by themselves.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from temporal_hitl.errors import ServerError
from temporal_hitl.local._files import Files, Ports, Record, keep_from_forks, try_lock
from temporal_hitl.local._process import answers, command, free_ports, is_free, register, running

__all__ = ["Keeper"]

_PAUSES = (0.0, 0.1, 0.3, 1.0, 3.0)  # seconds before each attempt to start; there is no sixth
_FIRST_ATTEMPTS = 3  # as long as somebody waits for an answer
_STABLE = 30.0  # seconds after which a server that dies has not failed to start
_LOOK = 0.05  # seconds between two looks at a lock or a server
_log = logging.getLogger("temporal_hitl.local")


class Keeper(threading.Thread):
    """Keeps a server reachable on one set of ports from `open` until `close`."""

    def __init__(
        self, files: Files, search_attributes: Mapping[str, str], ready_timeout: float
    ) -> None:
        super().__init__(name="temporal-hitl-server", daemon=True)
        self.files = files
        self.ports: Ports | None = None
        self.pid: int | None = None
        self.owned = False
        self.failure: ServerError | None = None
        self._search_attributes = dict(search_attributes)
        self._ready_timeout = ready_timeout
        self._settled = threading.Event()
        self._closing = threading.Event()

    def open(self) -> Ports:
        """Return the server's ports once it answers, or raise why it does not."""
        self.start()
        if not self._settled.wait(self._ready_timeout):
            raise ServerError(
                f"no Temporal server on {self.files} answered within {self._ready_timeout:g} s;"
                f" its log is {self.files.log}"
            )
        if self.failure is not None:
            raise self.failure
        assert self.ports is not None
        return self.ports

    def close(self) -> None:
        """End the server if it is ours; return when it is gone."""
        self._closing.set()
        if self.is_alive():
            self.join(timeout=10)

    def run(self) -> None:
        """Own or join the server until `close`."""
        try:
            if self.files.lock is None:
                self._own(lock=None)
            else:
                self._own_or_join(self.files.lock)
        except Exception as error:
            self._give_up(error)
        finally:
            self.owned = False
            self._settled.set()

    def _give_up(self, error: Exception) -> None:
        if not isinstance(error, ServerError):
            error = ServerError(f"cannot keep a Temporal server on {self.files}: {error!r}")
        self.failure = error
        if self._settled.is_set():
            _log.error("%s", error)

    def _own_or_join(self, lock_file: Path) -> None:
        while not self._closing.is_set():
            lock = try_lock(lock_file)
            if lock is not None:
                with keep_from_forks(lock):
                    self._own(lock)
            elif not self._settled.is_set():
                self._join()
            self._closing.wait(_LOOK)

    def _join(self) -> None:
        record = self.files.recorded()
        if record is not None and not record.unfinished and answers(record.ports):
            register(record.ports, self._search_attributes)
            self.ports = record.ports
            self._settled.set()

    def _own(self, lock: int | None) -> None:
        failures = 0
        while not self._closing.wait(_PAUSES[failures]):
            lived = self._run_once(lock)
            if self._closing.is_set():
                return
            failures = 1 if lived > _STABLE else failures + 1
            self._check_worth_another(failures)

    def _check_worth_another(self, failures: int) -> None:
        if self.files.database is None and self._settled.is_set():
            raise ServerError(
                "the Temporal server that kept its state in memory died, and its runs with it;"
                f" serve a database file to survive that. Its log is {self.files.log}"
            )
        if failures == (len(_PAUSES) if self._settled.is_set() else _FIRST_ATTEMPTS):
            raise ServerError(
                f"the Temporal server on {self.files} ended {failures} times in a row;"
                f" the end of its log, {self.files.log}:\n{self.files.log_tail()}"
            )
        _log.warning("the Temporal server on %s ended; starting it again", self.files)

    def _run_once(self, lock: int | None) -> float:
        """Run the server until it ends or is to be closed; return for how long it was ready."""
        ports = self.ports or self._usual_ports() or free_ports()
        server = command(ports, self.files.database, self._search_attributes)
        self.files.shorten_log()
        self.files.discard_unfinished()
        unfinished = self.files.database is not None and not self.files.database.exists()
        with running(server, lock=lock, log_file=self.files.log) as process:
            self._tell(Record(process.pid, ports, unfinished))
            if not self._becomes_ready(process, ports):
                return 0.0
            self._tell(Record(process.pid, ports, unfinished=False))
            ready_at = time.monotonic()
            self.ports, self.owned = ports, True
            self._settled.set()
            while process.poll() is None and not self._closing.wait(_LOOK):
                pass
            return time.monotonic() - ready_at

    def _tell(self, record: Record) -> None:
        self.pid = record.pid
        if self.files.record is not None:
            record.write(self.files.record)

    def _usual_ports(self) -> Ports | None:
        """Return the last server's ports if they are free: a Web UI page stays where it was."""
        record = self.files.recorded()
        return record.ports if record is not None and is_free(record.ports) else None

    def _becomes_ready(self, process: subprocess.Popen[bytes], ports: Ports) -> bool:
        deadline = time.monotonic() + self._ready_timeout
        while process.poll() is None and time.monotonic() < deadline:
            if answers(ports):
                register(ports, self._search_attributes)
                return process.poll() is None
            if self._closing.wait(_LOOK):
                return False
        return False
