"""The verdict of a fault campaign can be wrong about nothing: forged evidence is found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from temporal_hitl import Confirm, Reject, ResolutionRecord, RunStatus, StepOutput
from temporal_hitl import WorkflowRunOutput as Output
from temporal_hitl.requirements import Channel, Confirmation, DecidedBy, Door, Refusal
from tests.faults.checks import violations
from tests.faults.evidence import Account, Completion
from tests.faults.pipelines import pipelines

NOW = datetime(2026, 1, 1, tzinfo=UTC)
YES = Confirm(requirement_id="check", decision_id="yes")
NO = Reject(requirement_id="publish", decision_id="no")
RIVAL = Confirm(requirement_id="publish", decision_id="rival")


def recorded(resolution: Confirm | Reject, door: Door) -> ResolutionRecord:
    return ResolutionRecord(
        requirement_id=resolution.requirement_id,
        path=resolution.requirement_id,
        kind="confirmation",
        resolution=resolution,
        decided_by=DecidedBy.human,
        channel=Channel.temporal,
        door=door,
        resolved_at=NOW,
    )


def attempt(activity: str, number: int = 1, execution: str = "first") -> dict[str, Any]:
    place = {"activity": activity, "attempt": number, "execution": execution}
    return {"mark": "start", "token": f"{activity}{number}{execution}", **place}


def ended(line: dict[str, Any]) -> dict[str, Any]:
    return {**line, "mark": "end"}


def completion(activity: str, number: int = 1, **over: Any) -> Completion:
    token = attempt(activity, number)["token"]
    content = {"token": token, "saw": [], **over}
    output = {"path": activity, "step_name": activity, "content": content}
    return Completion(activity, "first", number, output)


def sent(resolution: Confirm | Reject, door: str) -> dict[str, Any]:
    decision = resolution.model_dump(mode="json")
    return {"what": "sent", "key": resolution.decision_id, "door": door, "decision": decision}


def told(
    resolution: Confirm | Reject, door: str, outcome: str, record: ResolutionRecord | None
) -> dict[str, Any]:
    stands = None if record is None else record.model_dump(mode="json")
    return {**sent(resolution, door), "what": "told", "outcome": outcome, "record": stands}


@dataclass
class Case:
    """A run of `chain` as it is when all is well: `check` was confirmed, `publish` rejected, and
    a worker died in `work`.
    """

    ledger: list[dict[str, Any]]
    journal: list[dict[str, Any]]
    completed: list[Completion]
    scheduled: Counter[str]
    records: list[ResolutionRecord]
    refused: list[Refusal]
    state: dict[str, Any]
    results: list[StepOutput]
    open: list[Any]
    troubles: list[str]
    status: str = "COMPLETED"

    def found(self) -> list[str]:
        output = Output(
            run_id="chain-0",
            execution_id="first",
            workflow_name="chain",
            session_id="chain-0",
            status=RunStatus.completed,
            step_results=self.results,
            resolutions=self.records,
            requirements=self.open,
            refused=self.refused,
            session_state=self.state,
        )
        account = Account(
            run="chain-0",
            pipeline="chain",
            status=self.status,
            output=output if self.status == "COMPLETED" else None,
            completed=self.completed,
            scheduled=self.scheduled,
            troubles=self.troubles,
        )
        return violations(pipelines(Path("no-ledger"))["chain"], account, self.ledger, self.journal)


@pytest.fixture
def case() -> Case:
    """An honest run."""
    whole = [attempt("load"), attempt("check"), attempt("work", 2)]
    ledger = [attempt("work", 1), *(line for each in whole for line in (each, ended(each)))]
    completed = [completion("load"), completion("check"), completion("work", 2)]
    yes, no = recorded(YES, Door.update), recorded(NO, Door.signal)
    refusal = Refusal(at=NOW, door="resolve", payload='{"decision_id": "late"}', reason="it is")
    late = Confirm(requirement_id="check", decision_id="late")
    journal = [
        *(sent(YES, "update"), told(YES, "update", "recorded", yes)),
        *(sent(NO, "signal"), told(NO, "signal", "delivered", None)),
        *(sent(RIVAL, "update"), told(RIVAL, "update", "AlreadyResolved", no)),
        *(sent(late, "signal"), told(late, "signal", "delivered", None)),
    ]
    return Case(
        ledger=ledger,
        journal=journal,
        completed=completed,
        scheduled=Counter(["load", "check", "work"]),
        records=[yes, no],
        refused=[refusal],
        state={"load": 1, "check": 1, "work": 1},
        results=[StepOutput(**each.output) for each in completed if each.output],
        open=[],
        troubles=[],
    )


def change(**over: Any) -> Callable[[Case], None]:
    return lambda case: vars(case).update(over)


def add(where: str, *more: Any) -> Callable[[Case], None]:
    return lambda case: getattr(case, where).extend(more)


def drop(where: str, index: int) -> Callable[[Case], None]:
    return lambda case: getattr(case, where).pop(index)


def put(where: str, index: int, value: Any) -> Callable[[Case], None]:
    return lambda case: getattr(case, where).__setitem__(index, value)


OPEN = Confirmation(id="check", path="check", name="check", message="?", created_at=NOW)

FORGED: dict[str, tuple[Callable[[Case], None], str]] = {
    "a run that did not end": (change(status="RUNNING"), "is RUNNING and not completed"),
    "a run with an open question": (add("open", OPEN), "ended COMPLETED with"),
    "a failed replay": (add("troubles", "an execution does not replay"), "does not replay"),
    "a later attempt": (add("ledger", attempt("work", 3)), "started again after it had finished"),
    "again in another execution": (
        add("ledger", attempt("load", 1, "second")),
        "load started again after it had finished",
    ),
    "one attempt twice": (add("ledger", attempt("work", 1)), "started 2 times"),
    "scheduled twice": (change(scheduled=Counter(["load"] * 2)), "load was scheduled 2 times"),
    "a step never done": (drop("completed", 2), "work was never done"),
    "a step that was rejected": (add("completed", completion("publish")), "nobody wanted it"),
    "a result of no execution": (put("completed", 2, completion("work", 4)), "the ledger has []"),
    "a result of a dead attempt": (drop("ledger", -1), "for its end"),
    "another result": (put("completed", 0, completion("load", 1, token="?")), "the result holds"),
    "a result left out": (drop("results", 0), "the result holds"),
    "a result twice": (add("results", StepOutput(**(completion("load").output or {}))), "twice"),
    "an output of nowhere": (
        put("completed", 2, completion("work", 2, saw=["other"])),
        "was given outputs that history does not have: {'other'}",
    ),
    "a change counted twice": (
        change(state={"load": 2, "check": 1, "work": 1}),
        "the state counts",
    ),
    "a change lost": (change(state={"load": 1, "check": 1}), "the state counts"),
    "a lost requirement": (drop("records", 1), "the requirement publish was lost"),
    "decided twice": (add("records", recorded(YES, Door.update)), "check was decided 2 times"),
    "asked by nobody": (
        add("records", recorded(Confirm(requirement_id="load"), Door.update)),
        "load was decided, and never to be asked",
    ),
    "a decision of nobody": (drop("journal", 0), "nobody sent the decision"),
    "a lost decision": (
        put("records", 0, recorded(Confirm(requirement_id="check"), Door.update)),
        "and what stands is",
    ),
    "both rivals": (
        put("journal", 5, told(RIVAL, "update", "recorded", recorded(RIVAL, Door.update))),
        "rival was told",
    ),
    "the winner refused": (
        put("journal", 1, told(YES, "update", "AlreadyResolved", recorded(YES, Door.update))),
        "yes was told 'AlreadyResolved' with the decision",
    ),
    "told of another's": (
        put("journal", 5, told(RIVAL, "update", "recorded", recorded(NO, Door.signal))),
        "rival was told 'recorded' with the decision",
    ),
    "an unknown requirement": (
        put("journal", 1, told(YES, "update", "UnknownRequirement", None)),
        "was answered with UnknownRequirement",
    ),
    "a lost signal": (drop("refused", 0), "the signal late was neither counted nor refused"),
}


def test_all_is_well(case: Case) -> None:
    """An honest run is found to be one, also where an attempt given up before starts late."""
    late = case.ledger.pop(0)
    case.ledger.append(late)

    assert [] == case.found()


@pytest.mark.parametrize("name", FORGED)
def test_what_is_wrong_is_found(case: Case, name: str) -> None:
    """Each single thing that must not happen is found where it has happened."""
    forge, sentence = FORGED[name]
    forge(case)

    assert [each for each in case.found() if sentence in each]


def test_past_iterations(tmp_path: Path) -> None:
    """A Loop's result holds its last iteration, and one that holds an earlier one is found out."""
    done = [completion(f"refine.{n}.draft") for n in (1, 2, 10)]
    outputs = [StepOutput(**each.output) for each in done if each.output]
    pipeline = pipelines(tmp_path / "ledger")["rounds"]

    def found(results: list[StepOutput]) -> list[str]:
        run = Output(
            run_id="rounds-0",
            execution_id="first",
            workflow_name="rounds",
            session_id="rounds-0",
            status=RunStatus.completed,
            step_results=results,
        )
        account = Account("rounds-0", "rounds", "COMPLETED", run, done, Counter())
        every = violations(pipeline, account, [], [])
        return [each for each in every if "the result holds" in each]

    assert [] == found(outputs[2:])
    assert [1, 1] == [len(found(outputs[1:])), len(found(outputs[1:2]))]
