"""`make bench` says what it measures in lines of JSON; the figures themselves never fail a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Loop, Step, Workflow
from tests.benchmarks.__main__ import FIGURES
from tests.benchmarks.figure import percentile, quartiles
from tests.benchmarks.server import histories
from tests.stage import ended, replay_all, serving

ROOT = Path(__file__).parent.parent
UNITS = {
    "overhead_start_to_paused": "ratio",
    "overhead_resolve_to_done": "ratio",
    "resolve_to_next_step_ms": "milliseconds",
    "resolve_to_next_step_ratio": "ratio",
    "events_per_pause": "events",
    "growth_bytes_ratio": "ratio",
    "growth_linearity": "ratio",
    "loop_iteration_ms_last_over_first": "ratio",
    "paused_run_kb": "kilobytes",
    "list_100_ms": "milliseconds",
    "stream_lag_ms": "milliseconds",
    "inbox_p99_ms_1000": "milliseconds",
    "inbox_p99_ms_10000": "milliseconds",
    "http_resolve_extra_ms": "milliseconds",
    "signed_resolve_extra_ms": "milliseconds",
    "pause_to_browser_ms": "milliseconds",
    "throughput_ratio": "ratio",
    "agent_turn_overhead_ms": "milliseconds",
    "agent_history_ratio": "ratio",
    "import_seconds": "seconds",
}


def bench(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks as `make bench` does."""
    command = [sys.executable, "-m", "tests.benchmarks", *args]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.slow
def test_some_figures() -> None:
    """`make bench NAME ...` tells those figures, in one line of JSON each, in order."""
    names = ["events_per_pause", "stream_lag_ms"]
    ran = bench(*names, "--rounds", "1", "--size", "10")

    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert names == [each["figure"] for each in lines]
    assert all({"figure", "value", "unit", "detail"} == set(each) for each in lines)


def test_the_figures_are_these() -> None:
    """`make bench` measures every figure that there is, each once."""
    assert tuple(UNITS) == FIGURES


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_figure() -> None:
    """`make bench` tells each figure that it is asked for in one line of JSON, in order and nothing
    else, and each is measured of what it names.
    """
    ran = bench(*UNITS, "--rounds", "1", "--size", "10")
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    told: dict[str, dict[str, Any]] = {each["figure"]: each["detail"] for each in lines}
    throughput = told["throughput_ratio"]["history"]
    next_step = told["resolve_to_next_step_ms"]["p50"]
    done = told["overhead_resolve_to_done"]["ms_quartiles"]

    assert list(UNITS.items()) == [(each["figure"], each["unit"]) for each in lines]
    assert all({"figure", "value", "unit", "detail"} == set(each) for each in lines)
    assert all(isinstance(each["value"], int | float) for each in lines)
    # The step after an answer begins before its run is done, of the pipeline and of all rivals.
    assert {"pipeline", *told["resolve_to_next_step_ratio"]["p50_ratio_to"]} == set(next_step)
    assert all(0 < next_step[name] < done[name][1] for name in done)
    # To import the library brings no web or agent framework along.
    assert [] == told["import_seconds"]["frameworks_imported"]
    # Each output is in history as a result, and but the last as the next step's input.
    assert 19 * 10_000 < told["growth_bytes_ratio"]["run"]["bytes"]
    assert [10, 20] == [each["steps"] for each in told["growth_linearity"]["runs"]]
    assert 10 == told["loop_iteration_ms_last_over_first"]["iterations"]
    assert (10, 10) == (told["paused_run_kb"]["runs"], told["list_100_ms"]["rows"])
    # One run of 20 steps with one subscriber.
    assert 20 == told["stream_lag_ms"]["events"]
    assert (10, 10) == tuple(told[f"inbox_p99_ms_{size}"]["open"] for size in (1000, 10000))
    assert 2 == told["pause_to_browser_ms"]["rounds"]
    assert {"pipeline", "by_hand", "by_hand_unsandboxed"} == set(throughput)
    turns = told["agent_history_ratio"]["runs"]
    assert [(10, 3), (20, 6)] == [(each["requests"], each["confirmed"]) for each in turns]
    assert 0 < told["agent_turn_overhead_ms"]["p50"]["call"]
    # Three activities of three events, and the workflow tasks around them.
    assert all(each["events"] >= 23 for each in throughput.values())


async def test_a_history_is_that_of_all_executions(short: WorkflowEnvironment) -> None:
    """What a run's history came to is counted over every execution that it continued as."""
    loop = Loop([Step("strike", lambda _: "struck")], "turn", max_iterations=20)
    definition = Workflow("long", [loop])
    async with serving(short, definition) as client:
        run = await client.start(definition)
        await ended(client, run)
        found = await histories(short.client, run)

    steps = [each for history in found for each in history.events if is_scheduled(each)]
    assert len(found) > 1
    assert [f"turn.{number}.strike" for number in range(1, 21)] == [
        each.activity_task_scheduled_event_attributes.activity_id for each in steps
    ]
    assert len(found) == await replay_all(short, run, definition)


def is_scheduled(event: HistoryEvent) -> bool:
    """Return whether the event schedules an activity."""
    return event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED


def test_an_unknown_figure_is_refused() -> None:
    """A name that is no figure ends the command, which says what there is."""
    ran = bench("overheads")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "no figure 'overheads'; there are overhead_start_to_paused" in ran.stderr


@pytest.mark.parametrize(
    ("values", "three"), [([2.0], [2.0, 2.0, 2.0]), ([1, 2, 3, 4, 5], [2, 3, 4])]
)
def test_quartiles(values: list[float], three: list[float]) -> None:
    """Few values have quartiles too, down to one."""
    assert three == quartiles(values)


@pytest.mark.parametrize(("values", "p99"), [([2.0], 2.0), (list(range(1, 102)), 100)])
def test_percentile(values: list[float], p99: float) -> None:
    """A p99 is what one in a hundred exceeds, and one value is its own."""
    assert p99 == percentile(values, 99)
