"""Fixtures that every test may use; see `tests/stage.py` for the functions."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncIterator, Generator, Sequence
from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import SqliteDb
from tests.seeds import Play, Played, cells_in, pipeline_in, replayed
from tests.stage import SUGGESTED, server_options

MEMORY = Path("/dev/shm")
"""A folder that is in memory on Linux."""
ROOM = 2 << 30
"""How many bytes must be free there; a session needs a tenth of it."""


def pytest_configure() -> None:
    """Let the tests' folders be in memory where that can be: servers and journals wait for the disk
    at every step, which tells nothing of what survives them.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        return
    if not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:  # Some tests write programs.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are imported, nor ever after among what they import: that is
    a third of the time that this takes.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what may take longest: begun last, it is waited for alone."""
    items.sort(key=_patience, reverse=True)


def _patience(item: pytest.Item) -> float:
    of_its_own = item.get_closest_marker("timeout")
    return 0 if of_its_own is None else of_its_own.args[0]


@pytest.fixture(scope="session")
async def env() -> AsyncIterator[WorkflowEnvironment]:
    """One real server per test process, whose runs can skip time."""
    started = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=pydantic_data_converter, **server_options()
    )
    async with started as environment:
        yield environment


@pytest.fixture(scope="session")
async def short() -> AsyncIterator[WorkflowEnvironment]:
    """A server like `env`'s that suggests to continue as new after few events."""
    settings = [
        f"limit.historyCount.suggestContinueAsNew={SUGGESTED}",
        # A second, unless said otherwise; anything but none is weeks where a clock was moved.
        'history.workflowIdReuseMinimalInterval="0s"',
        'history.transferProcessorUpdateAckInterval="100ms"',  # What has ended can be deleted soon.
    ]
    started = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=pydantic_data_converter, **server_options(*settings)
    )
    async with started as environment:
        yield environment


@pytest.fixture(params=[1000, 0], ids=["cached", "uncached"])
def cache(request: pytest.FixtureRequest) -> int:
    """How many runs a worker keeps in memory; with 0, every message replays the whole history."""
    return request.param


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the one embedded server per test process that `Workflow.run` starts.

    It has the name that the seeds use, so that their programs run on it where it is.
    """
    return tmp_path_factory.mktemp("embedded") / "workflow.db"


@pytest.fixture
def embedded(database: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteDb:
    """What `Workflow(db=...)` takes to run on the embedded server, with no other one configured."""
    for name in ("ADDRESS", "NAMESPACE", "PROFILE", "API_KEY", "TLS"):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(database.with_name("temporal.toml")))
    return SqliteDb(db_file=database)


@pytest.fixture
def play(
    embedded: SqliteDb,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Play:
    """Plays cells where `workflow.db` is the embedded server's file, and replays what ran."""
    monkeypatch.chdir(database.parent)
    # The seeds' agents name no database.
    monkeypatch.setattr("temporal_hitl._site.DEFAULT_DB_FILE", database)

    def in_cells(*cells: str, typed: Sequence[str] = ()) -> Played:
        left = list(typed)

        def types(prompt: str) -> str:
            line = left.pop(0)
            print(f"{prompt}{line}")
            return line

        names = cells_in(tmp_path, cells, types)
        assert [] == left, "not everything that was typed was asked for"
        asyncio.run(replayed(embedded, pipeline_in(names)))
        return Played(capsys.readouterr().out.splitlines(), names)

    return in_cells
