"""The main job on its real file: load, profile, redact as people say, review, publish."""

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

from temporal_hitl import (
    Answer,
    Confirm,
    Edit,
    HitlClient,
    Reject,
    Retry,
    RunStatus,
    Select,
    WorkflowRunOutput,
)
from temporal_hitl.requirements import AnyResolution, ErrorDecision, OutputReview
from tests.stage import ended, paused, replays, serving
from workflows.data_release import data_release

SOURCE = Path(__file__).parent.parent / "activities" / "data" / "legislators.csv"
KEPT = ["birthday", "gender", "type", "state", "district", "party"]
DEEP = Select(requirement_id="profile", choices=("deep",))
AS_SUGGESTED = Answer(requirement_id="redact", values={})
GOOD = Confirm(requirement_id="redact~2")
PUBLISH = Confirm(requirement_id="publish", resolved_by="ana")


def asked_for(folder: Path, source: Path = SOURCE) -> dict[str, str]:
    return {"source": str(source), "out": str(folder)}


async def through(client: HitlClient, run: str, *answers: AnyResolution) -> WorkflowRunOutput:
    """Give each answer when its question is open, and return the run as it then waits or ended."""
    for answer in answers:
        await paused(client, run)
        await client.resolve(run, answer)
    return await client.wait(run, timeout=20)


def header(file: Path) -> list[str]:
    return next(csv.reader(file.read_text().splitlines()))


async def test_confirmed_it_releases(env: WorkflowEnvironment, cache: int, tmp_path: Path) -> None:
    """Confirmed, the file is released without its personal columns; the report says so."""
    async with serving(env, data_release, max_cached_workflows=cache) as client:
        run = await client.start(data_release, asked_for(tmp_path))
        waiting = await through(client, run, DEEP, AS_SUGGESTED, GOOD)
        before = sorted(path.name for path in tmp_path.glob("*.*"))
        await client.resolve(run, PUBLISH)
        output = await ended(client, run)

    released = tmp_path / "legislators.csv"
    report = json.loads((tmp_path / "report.json").read_text())
    rows = list(csv.reader(released.read_text().splitlines()))
    assert [] == before
    assert "Publish the draft of 540 rows" in waiting.requirements[0].message
    assert 540 == waiting.step_results[0].content["rows"]
    assert KEPT == rows[0]
    assert 541 == len(rows)
    assert sha256(released.read_bytes()).hexdigest() == report["released"]["sha256"]
    assert sha256(SOURCE.read_bytes()).hexdigest() == report["source"]["sha256"]
    assert (540, 540) == (report["source"]["rows"], report["released"]["rows"])
    assert output.content["report"] == report
    await replays(client.handle(run), data_release)


async def test_nothing_personal_in_history(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """No value of a personal column reaches Temporal, not even of one that is kept and released."""
    quick = Select(requirement_id="profile", choices=("quick",))
    chosen = Answer(requirement_id="redact", values={"keep": ["phone"], "mask": ["full_name"]})
    async with serving(env, data_release) as client:
        run = await client.start(data_release, asked_for(tmp_path))
        await through(client, run, quick, chosen, GOOD, PUBLISH)
        output = await ended(client, run)
        told = _decoded((await client.handle(run).fetch_history()).to_json())

    people = list(csv.DictReader(SOURCE.read_text().splitlines()))
    secrets = {person[column] for person in people for column in ("phone", "full_name", "address")}
    assert 1000 < len(secrets)
    assert RunStatus.completed is output.status, output.error
    assert {"full_name", "phone"} < set(header(tmp_path / "legislators.csv"))
    assert [] == [secret for secret in secrets if secret and secret in told]


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
    """Rejected, or with nobody there for a week, nothing is released; the run is cancelled."""
    async with serving(env, data_release) as client:
        run = await client.start(data_release, asked_for(tmp_path))
        await through(client, run, DEEP, AS_SUGGESTED, GOOD)
        if end == "rejected":
            await client.resolve(run, Reject(requirement_id="publish", feedback="not yet"))
        else:
            await env.fast_forward(client.handle(run), timedelta(days=7, seconds=1))
        output = await ended(client, run)

    assert RunStatus.cancelled is output.status
    assert [tmp_path / "draft"] == list(tmp_path.iterdir())
    assert ("not yet" if end == "rejected" else "its deadline acted") in (output.error or "")
    await replays(client.handle(run), data_release)


async def test_a_review_until_it_is_right(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """A form that cannot be carried out, a rejection with feedback and an edit end in a release of
    exactly what was wanted last.
    """
    wrong = Answer(requirement_id="redact", values={"remove": ["telephone"]})
    feedback = "too telling: mask party, and remove district"
    note = "for the archive"
    async with serving(env, data_release) as client:
        run = await client.start(data_release, asked_for(tmp_path))
        failed = await through(client, run, DEEP, wrong)
        again = Reject(requirement_id="redact~2", feedback=feedback)
        (shown,) = (await through(client, run, again)).requirements
        assert isinstance(shown, OutputReview)
        draft: Any = shown.output
        edited = {**draft, "note": note, "columns": {**draft["columns"], "gender": "remove"}}
        await through(client, run, Edit(requirement_id="redact~3", output=edited), PUBLISH)
        output = await ended(client, run)

    (error,) = failed.requirements
    assert isinstance(error, OutputReview)
    assert "no column 'telephone' to 'remove'" in (error.error or "")
    assert ["remove district; mask party"] == draft["changes"]
    assert [{"district"}, {"D•••"}] == [
        set(KEPT) - set(draft["sample"][0]),
        {draft["sample"][0]["party"]},
    ]
    assert RunStatus.completed is output.status, output.error
    assert ["birthday", "type", "state", "party"] == header(tmp_path / "legislators.csv")
    assert note == json.loads((tmp_path / "report.json").read_text())["note"]
    await replays(client.handle(run), data_release)


async def test_a_source_that_changed_meanwhile(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """What was profiled is what is released: of a source that changed since there is no draft, and
    without a draft nothing is published.
    """
    source = tmp_path / "people.csv"
    source.write_bytes(SOURCE.read_bytes())
    async with serving(env, data_release) as client:
        run = await client.start(data_release, asked_for(tmp_path / "o", source))
        await through(client, run, DEEP)
        without_the_last = SOURCE.read_bytes().splitlines(keepends=True)[:-1]
        source.write_bytes(b"".join(without_the_last))
        waiting = await through(client, run, AS_SUGGESTED)
        await through(client, run, GOOD, PUBLISH)
        output = await ended(client, run)

    (asked,) = waiting.requirements
    assert isinstance(asked, OutputReview)
    assert "changed while the release was prepared" in (asked.error or "")
    assert RunStatus.error is output.status
    assert "there is no draft to publish" in (output.error or "")
    assert not (tmp_path / "o").exists()
    await replays(client.handle(run), data_release)


async def test_a_source_that_is_not_there(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """Where the source cannot be read, a person puts it there and has it tried again."""
    source = tmp_path / "people.csv"
    async with serving(env, data_release) as client:
        run = await client.start(data_release, asked_for(tmp_path / "o", source))
        (asked,) = (await paused(client, run)).requirements
        source.write_text("not,a table\n")
        retry = Retry(requirement_id="load")
        (still,) = (await through(client, run, retry)).requirements
        source.write_bytes(SOURCE.read_bytes())
        again = retry.model_copy(update={"requirement_id": "load~2"})
        waiting = await through(client, run, again)
        await client.cancel(run)
        await ended(client, run)

    assert isinstance(asked, ErrorDecision)
    assert isinstance(still, ErrorDecision)
    assert ("builtins.FileNotFoundError", 1) == (asked.error_type, asked.attempts)
    assert "people.csv" in asked.error_message
    assert "has a header and no rows" in still.error_message
    assert ["profile"] == [each.id for each in waiting.requirements]
    await replays(client.handle(run), data_release)
