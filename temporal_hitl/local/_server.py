"""What a caller holds of an embedded server."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

from temporalio.converter import DataConverter

from temporal_hitl.errors import ServerError
from temporal_hitl.local._address import Address
from temporal_hitl.local._files import Files, Ports
from temporal_hitl.local._keeper import Keeper
from temporal_hitl.local._process import HOST, answers
from temporal_hitl.local._storage import converter_with

__all__ = ["DEFAULT_DB_FILE", "Found", "Server", "found", "serve"]

DEFAULT_DB_FILE = Path(".temporal-hitl", "dev.db")
_NONE: Mapping[str, str] = MappingProxyType({})


def serve(
    db_file: str | Path | None = DEFAULT_DB_FILE,
    *,
    search_attributes: Mapping[str, str] = _NONE,
    ready_timeout: float = 30.0,
) -> Server:
    """Return a server that is ready: a new one on `db_file`, or the one that runs on it already.

    May be called from any thread, and blocks it until the server answers. The server ends with
    this process at the latest, however this process ends.

    Args:
        db_file: Where the server keeps its state; None keeps it in memory, for this process alone.
        search_attributes: The name and type of each attribute that a new server registers.
        ready_timeout: The seconds after which `ServerError` is raised instead.
    """
    keeper = Keeper(_files(db_file), search_attributes, ready_timeout)
    try:
        ports = keeper.open()
    except BaseException:
        keeper.close()
        raise
    return Server(keeper, _address(ports))


@dataclass(frozen=True)
class Found:
    """A server that another process runs."""

    address: Address
    data_converter: DataConverter
    """What a client of it needs, as `Server.data_converter`."""
    files: Files
    """Where its state is kept, and what may stand beside it."""


def found(db_file: str | Path) -> Found | None:
    """Return the server that runs on `db_file` now, or None; starts nothing, and makes no file."""
    database = Path(db_file).resolve()
    if not database.exists():
        return None
    files = Files.of(database)
    record = files.recorded()
    if record is None or record.unfinished or not answers(record.ports):
        return None
    return Found(_address(record.ports), converter_with(files.values), files)


def _address(ports: Ports) -> Address:
    return Address(f"{HOST}:{ports.frontend}", ui=f"http://{HOST}:{ports.ui}")


class Server:
    """Stays reachable at one `address` until closed, through crashes and changes of its owner."""

    def __init__(self, keeper: Keeper, address: Address) -> None:
        self.address = address
        self._keeper = keeper
        self._creator = os.getpid()
        atexit.register(self.close)

    @property
    def owned(self) -> bool:
        """Whether this process runs the server, and so ends it."""
        return self._keeper.owned

    @property
    def pid(self) -> int | None:
        """The server's process id, whichever process runs it."""
        record = None if self.owned else self._keeper.files.recorded()
        return self._keeper.pid if record is None else record.pid

    @property
    def log_file(self) -> Path:
        """Where the server writes its warnings and errors."""
        return self._keeper.files.log

    @property
    def data_converter(self) -> DataConverter:
        """What a client of this server needs: values of any size, the large ones in a folder."""
        return converter_with(self._keeper.files.values)

    @property
    def files(self) -> Files:
        """Where its state is kept, and what may stand beside it."""
        return self._keeper.files

    @property
    def failure(self) -> ServerError | None:
        """Why nothing keeps the server running any more, where that is so."""
        return self._keeper.failure

    def close(self) -> None:
        """End the server if this process runs it, else stop using it; safe to call twice."""
        # A forked child has this object too, but the server is its parent's.
        if os.getpid() != self._creator:
            return
        atexit.unregister(self.close)
        self._keeper.close()
        self._keeper.files.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _files(db_file: str | Path | None) -> Files:
    if db_file is None or str(db_file) == ":memory:":
        return Files.in_memory()
    try:
        return Files.of(Path(db_file).resolve())
    except OSError as error:
        raise ServerError(
            f"cannot keep a database at {str(db_file)!r}: {error}; name a file in a writable folder"
        ) from error
