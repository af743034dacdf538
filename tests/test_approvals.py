"""Approvals: what `@approval` marks runs only once somebody who may has signed for it, and every
decision is on file before it is executed.
"""

from __future__ import annotations

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import ApprovalStatus
from temporal_hitl.agents import Agent, approval, tool
from tests.agents import desk_of, scripted
from tests.signatures import KEYS, confirmed
from temporal_hitl.signing import KEYS as VARIABLE

done: list[str] = []


@approval
@tool
def wipe(disk: str) -> str:
    """Wipe a disk."""
    done.append(disk)
    return f"wiped {disk}"


async def test_it(env: WorkflowEnvironment, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(VARIABLE, KEYS)
    monkeypatch.setenv("HITL_APPROVALS_FILE", str(tmp_path / "a" / "approvals.jsonl"))
    agent = Agent("operator", scripted([("wipe", {"disk": "sda"})]), tools=[wipe])
    async with desk_of(env, agent) as desk:
        out = await desk.open(agent, "operator.1.wipe")
        print(out.approvals)
        with pytest.raises(Exception) as e:
            req, = out.active_requirements
            req.confirm()
            await desk.send(req)
        print(e.value)
        await desk.client.resolve(out.run_id, confirmed(desk.client, out.run_id, "operator.1.wipe", roles=["approver"]))
        end = await desk.end(out.run_id)
        print(end.approvals, end.content)
    print((tmp_path / "a" / "approvals.jsonl").read_text())
