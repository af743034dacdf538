"""The main job on its real file: load, profile, a person confirms, redact, publish."""

from __future__ import annotations

import base64
import csv
import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, Reject, RunStatus
from tests.stage import ended, paused, replays, serving
from workflows.data_release import data_release

SOURCE = Path(__file__).parent.parent / "activities" / "data" / "legislators.csv"
KEPT = ["birthday", "gender", "type", "state", "district", "party"]


def asked_for(folder: Path) -> dict[str, str]:
    return {"source": str(SOURCE), "out": str(folder)}


async def test_confirmed_it_releases(env: WorkflowEnvironment, cache: int, tmp_path: Path) -> None:
    """Confirmed, the file is released without its personal columns; the report says so."""
    async with serving(env, data_release, max_cached_workflows=cache) as client:
        run = await client.start(data_release, asked_for(tmp_path))
        waiting = await paused(client, run)
        before = sorted(path.name for path in tmp_path.rglob("*.csv"))
        await client.resolve(run, Confirm(requirement_id="redact", resolved_by="ana"))
        output = await ended(client, run)

    released = tmp_path / "legislators.csv"
    report = json.loads((tmp_path / "report.json").read_text())
    rows = list(csv.reader(released.read_text().splitlines()))
    assert [] == before
    assert 540 == waiting.step_results[0].content["rows"]
    assert KEPT == rows[0]
    assert 541 == len(rows)
    assert sha256(released.read_bytes()).hexdigest() == report["released"]["sha256"]
    assert sha256(SOURCE.read_bytes()).hexdigest() == report["source"]["sha256"]
    assert (540, 540) == (report["source"]["rows"], report["released"]["rows"])
    assert output.content["report"] == report
    await replays(client.handle(run), data_release)


async def test_nothing_personal_in_history(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """No value of a personal column reaches Temporal: not the history, not the memo."""
    async with serving(env, data_release) as client:
        run = await client.start(data_release, asked_for(tmp_path))
        await paused(client, run)
        await client.resolve(run, Confirm(requirement_id="redact"))
        await ended(client, run)
        history = (await client.handle(run).fetch_history()).to_json()

    people = list(csv.DictReader(SOURCE.read_text().splitlines()))
    secrets = {person[column] for person in people for column in ("phone", "full_name", "address")}
    assert 1000 < len(secrets)
    assert [] == [secret for secret in secrets if secret and secret in _decoded(history)]


def _decoded(history: str) -> str:
    def texts(value: Any) -> list[str]:
        match value:
            case dict():
                return [text for each in value.values() for text in texts(each)]
            case list():
                return [text for each in value for text in texts(each)]
            case str():
                try:
                    return [value, base64.b64decode(value, validate=True).decode()]
                except ValueError:
                    return [value]
            case _:
                return []

    return "\n".join(texts(json.loads(history)))


@pytest.mark.parametrize("end", ["rejected", "nobody"])
async def test_unconfirmed_it_releases_nothing(
    env: WorkflowEnvironment, tmp_path: Path, end: str
) -> None:
    """Rejected, or with nobody there for a week, nothing is written; the run is cancelled."""
    async with serving(env, data_release) as client:
        run = await client.start(data_release, asked_for(tmp_path))
        await paused(client, run)
        if end == "rejected":
            await client.resolve(run, Reject(requirement_id="redact", feedback="not yet"))
        else:
            await env.fast_forward(client.handle(run), timedelta(days=7, seconds=1))
        output = await ended(client, run)

    assert RunStatus.cancelled is output.status
    assert [] == list(tmp_path.rglob("*"))
    assert ("not yet" if end == "rejected" else "its deadline acted") in (output.error or "")
    await replays(client.handle(run), data_release)


async def test_a_source_that_changed_meanwhile(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """What was confirmed is what is released: a source that changed since fails the run."""
    source = tmp_path / "people.csv"
    source.write_bytes(SOURCE.read_bytes())
    async with serving(env, data_release) as client:
        run = await client.start(data_release, {"source": str(source), "out": str(tmp_path / "o")})
        await paused(client, run)
        without_the_last = SOURCE.read_bytes().splitlines(keepends=True)[:-1]
        source.write_bytes(b"".join(without_the_last))
        await client.resolve(run, Confirm(requirement_id="redact"))
        output = await ended(client, run)

    assert RunStatus.error is output.status
    assert "people.csv" in (output.error or "")
    assert not (tmp_path / "o" / "people.csv").exists()
    await replays(client.handle(run), data_release)


async def test_a_source_that_is_not_there(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """A path that leads nowhere fails the run with a sentence that names it."""
    async with serving(env, data_release) as client:
        run = await client.start(data_release, str(tmp_path / "nowhere.csv"))
        output = await ended(client, run)

    assert RunStatus.error is output.status
    assert "nowhere.csv" in (output.error or "")
    assert "builtins.FileNotFoundError" == output.error_type
