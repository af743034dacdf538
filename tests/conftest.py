"""Fixtures that every test may use; see `tests/stage.py` for the functions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from tests.stage import server_options


@pytest.fixture(scope="session")
async def env() -> AsyncIterator[WorkflowEnvironment]:
    """One real server per test process, whose runs can skip time."""
    started = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=pydantic_data_converter, **server_options()
    )
    async with started as environment:
        yield environment


@pytest.fixture(params=[1000, 0], ids=["cached", "uncached"])
def cache(request: pytest.FixtureRequest) -> int:
    """How many runs a worker keeps in memory; with 0, every message replays the whole history."""
    return request.param
