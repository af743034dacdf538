"""One campaign from its first process to its verdict."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from tests.faults.checks import violations
from tests.faults.evidence import Account, account
from tests.faults.journal import Journal
from tests.faults.pipelines import Pipeline, pipelines
from tests.faults.supervisor import Site, site
from tests.stage import until

SETTLE = 75.0
"""Seconds in which every run ends once nothing is killed any more."""


@dataclass(frozen=True)
class Campaign:
    """What was done, and what was found."""

    seed: int
    kills: Counter[str]
    runs: Counter[str]
    """By pipeline."""
    executions: int
    """Of Temporal's: more than runs, as runs continue as new."""
    taken_along: int
    """Requirements that were open while their run continued as new."""
    repeated: int
    """Functions that were started and did not count, as something died."""
    decisions: Counter[str]
    """The records, by who or what decided and by which door."""
    told: Counter[str]
    """What became of the answers that were sent."""
    again: int
    """Answers that were sent again, as nobody heard what became of them."""
    seconds: dict[str, float]
    violations: list[str]

    def lines(self) -> str:
        """Return all of it as text."""
        facts = {name: value for name, value in vars(self).items() if name != "violations"}
        shown = {
            name: dict(value) if isinstance(value, Counter) else value
            for name, value in facts.items()
        }
        found = self.violations or ["nothing is wrong"]
        return "\n".join([*(f"{name}: {value}" for name, value in shown.items()), *found])


async def campaign(folder: Path, seed: int, kills: int) -> Campaign:
    """Run the mix while processes are killed `kills` times, and compare all that is left of it."""
    chance, began = random.Random(seed), time.monotonic()
    async with site(folder, seed) as (there, client):
        await _all_at_work(folder)
        victims = Counter([await there.kill_one(chance) for _ in range(kills)])
        killed = time.monotonic()
        (folder / "stop").touch()
        await asyncio.wait([client], timeout=SETTLE)
        settled = time.monotonic()
        accounts = await _accounts(there)
        found = [*_fallen(there, client), *_wrong(folder, accounts)]
    seconds = {
        "killing": round(killed - began, 1),
        "settling": round(settled - killed, 1),
        "checking": round(time.monotonic() - settled, 1),
    }
    return _told(folder, accounts, seed=seed, kills=victims, seconds=seconds, violations=found)


async def _all_at_work(folder: Path) -> None:
    """Return once there is a run of each pipeline, and a step of any has begun: to kill what does
    nothing would find nothing.
    """
    ledger, journal = folder / "ledger", Journal(folder / "journal")
    mix = pipelines(ledger)
    await until(lambda: ledger.exists() and len(journal.lines(what="started")) >= len(mix))


async def _accounts(there: Site) -> list[Account]:
    client = await Client.connect(there.address, data_converter=pydantic_data_converter)
    mix = pipelines(there.folder / "ledger")
    started = Journal(there.folder / "journal").lines(what="start")
    return [await account(client, mix[each["pipeline"]], each["run"]) for each in started]


def _fallen(there: Site, client: asyncio.Task[None]) -> list[str]:
    ends = [(each.name, code) for each in there.all for code in each.fell]
    found = [f"{name} ended by itself with {code}; see {name}.log" for name, code in ends]
    return found if client.done() else [*found, f"the client was not done after {SETTLE} s"]


def _wrong(folder: Path, accounts: list[Account]) -> list[str]:
    mix: dict[str, Pipeline] = pipelines(folder / "ledger")
    ledger, journal = Journal(folder / "ledger").lines(), Journal(folder / "journal").lines()
    return [
        sentence
        for each in accounts
        for sentence in violations(
            mix[each.pipeline],
            each,
            [line for line in ledger if line["run"] == each.run],
            [line for line in journal if line["run"] == each.run],
        )
    ]


def _told(folder: Path, accounts: list[Account], **known: object) -> Campaign:
    ledger, journal = Journal(folder / "ledger"), Journal(folder / "journal")
    outputs = [each.output for each in accounts if each.output is not None]
    records = [record for output in outputs for record in output.resolutions]
    sent, told = journal.lines(what="sent"), journal.lines(what="told")
    completed = sum(len(each.completed) for each in accounts)
    return Campaign(
        runs=Counter(each.pipeline for each in accounts),
        executions=sum(each.executions for each in accounts),
        taken_along=sum(each.taken_along for each in accounts),
        repeated=len(ledger.lines(mark="start")) - completed,
        decisions=Counter(f"{each.decided_by} {each.door or ''}".strip() for each in records),
        told=Counter(f"{each['outcome']} by {each['door']}" for each in told),
        again=len(sent) - len(told),
        **known,  # type: ignore[arg-type]
    )
