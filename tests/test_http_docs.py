"""What docs/http.md shows is what the library does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from temporalio.testing import WorkflowEnvironment

from api.settings import Settings
from temporal_hitl import HitlClient
from temporal_hitl.http import hitl_router
from tests.documents import ROOT, blocks
from tests.stage import ended, paused, replays, serving
from tests.web import listening

PAGE = ROOT / "docs" / "http.md"


async def test_the_application(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The application that the page shows serves its pipeline, and a run of it is answered."""
    (program,) = (each.text for each in blocks(PAGE) if each.language == "python")
    monkeypatch.setenv("TEMPORAL_ADDRESS", env.client.service_client.config.target_host)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "none.toml"))
    shown: dict[str, Any] = {}
    exec(program, shown)

    async with (
        serving(env, shown["workflow"], queue="hitl") as client,
        listening(shown["app"]) as http,
    ):
        started = await http.post("/hitl/runs", json={"pipeline": "publication", "input": "it"})
        run = started.json()["run_id"]
        await paused(client, run)
        path = f"/hitl/runs/{run}/requirements/publish/resolution"
        answered = await http.post(path, json={"action": "confirm"})
        output = await ended(client, run)
        await replays(client.handle(run), shown["workflow"])

    assert (201, 200) == (started.status_code, answered.status_code)
    assert "published it" == output.content


def test_every_call_and_setting_is_told(env: WorkflowEnvironment) -> None:
    """The page names every call that there is, and every setting of the service."""
    app = FastAPI()
    app.include_router(hitl_router(HitlClient(env.client)))

    calls = {
        f"`{method.upper()} {path}`"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    settings = {
        f"`{field.validation_alias or f'HITL_API_{name.upper()}'}`"
        for name, field in Settings.model_fields.items()
    }

    assert [] == [each for each in sorted(calls | settings) if each not in PAGE.read_text()]
