"""What must hold of a run after a campaign: pure, so that forged evidence shows what is found.

Each check yields a sentence per violation. `ledger` are the lines that the run's functions wrote,
`journal` those that the client wrote about it.

A finished step runs again where an attempt starts that cannot have been on its way when the
completion of its activity came to be in history: one of a later number, or of another execution of
the run. An attempt of a lower number is one that was given up before, however late its worker
starts or ends it; Temporal runs an activity at least once. Each attempt runs once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from temporal_hitl import ResolutionRecord, StepOutput
from tests.faults.evidence import Account, Completion
from tests.faults.pipelines import Pipeline, tokens

Line = dict[str, Any]
TOLD_OF_RECORD = ("recorded", "AlreadyResolved")


def violations(
    pipeline: Pipeline, account: Account, ledger: Sequence[Line], journal: Sequence[Line]
) -> list[str]:
    """Return every violation of what was promised for a run."""
    found = [*account.troubles, *_lost(account)]
    found += _runs_once(account, ledger)
    if account.output is not None:
        records = account.output.resolutions
        found += _all_done(pipeline, account, records)
        found += _results(account, account.output.step_results)
        found += _state(account, account.output.session_state)
        found += _decisions(pipeline, records)
        found += _told(records, journal)
        found += _signals(account, journal)
    return [f"{account.run}: {each}" for each in found]


def _lost(account: Account) -> Iterator[str]:
    if account.output is None:
        yield f"is {account.status} and not completed"
    elif (account.output.status, account.output.requirements) != ("COMPLETED", []):
        yield f"ended {account.output.status} with {account.output.requirements} open"


# Steps


def _all_done(
    pipeline: Pipeline, account: Account, records: Sequence[ResolutionRecord]
) -> Iterator[str]:
    approved = {each.path for each in records if each.approved}
    expected = {*pipeline.always, *(gate for gate in pipeline.gates if gate in approved)}
    done = {each.activity for each in account.completed}
    for each in sorted(expected - done):
        yield f"{each} was never done"
    for each in sorted(done - expected):
        yield f"{each} was done, and nobody wanted it"


def _runs_once(account: Account, ledger: Sequence[Line]) -> Iterator[str]:
    for name, times in account.scheduled.items():
        if times != 1:
            yield f"{name} was scheduled {times} times"
    done = {each.activity: each for each in account.completed}
    for place, times in Counter(map(_attempt, _marked(ledger, "start"))).items():
        if times != 1:
            yield f"attempt {place} started {times} times"
    for line in _marked(ledger, "start"):
        counted = done.get(line["activity"])
        if counted is not None and not _may_have_run(line, counted):
            yield f"{line['activity']} started again after it had finished: {line}"
    for each in account.completed:
        yield from _is_in_ledger(each, ledger)


def _may_have_run(line: Line, counted: Completion) -> bool:
    return line["execution"] == counted.execution and line["attempt"] <= counted.attempt


def _is_in_ledger(done: Completion, ledger: Sequence[Line]) -> Iterator[str]:
    place = (done.execution, done.activity, done.attempt)
    for mark in ("start", "end"):
        there = [each["token"] for each in _marked(ledger, mark) if _attempt(each) == place]
        expected = there if done.output is None else [done.output["content"]["token"]]
        if len(there) != 1 or expected != there:
            yield f"{done} is recorded, and the ledger has {there} for its {mark}"


def _marked(ledger: Sequence[Line], mark: str) -> list[Line]:
    return [each for each in ledger if each["mark"] == mark]


def _attempt(line: Line) -> tuple[str, str, int]:
    return line["execution"], line["activity"], line["attempt"]


# Results


def _results(account: Account, results: Sequence[StepOutput]) -> Iterator[str]:
    steps = {
        each.activity: each.output["content"]
        for each in account.completed
        if each.output is not None
    }
    recorded = {path: content["token"] for path, content in steps.items()}
    leaves = [each for output in results for each in output.walk() if each.step_type == "Step"]
    kept = {str(each.path): each.content["token"] for each in leaves}
    expected = {path: token for path, token in recorded.items() if not _is_past(path, recorded)}
    if kept != expected:
        yield f"the result holds {kept}, and history {expected}"
    if len(leaves) != len(kept) or len(tokens(results)) != len(set(tokens(results))):
        yield f"the result holds a step twice: {tokens(results)}"
    for path, content in steps.items():
        if unknown := set(content["saw"]) - set(recorded.values()):
            yield f"{path} was given outputs that history does not have: {unknown}"


def _is_past(path: str, paths: dict[str, str]) -> bool:
    """Return whether `path` is in an iteration of a loop that had a later one."""
    parts = path.split(".")
    numbers = [at for at, part in enumerate(parts) if part.isdigit()]
    return any(
        other.split(".")[:at] == parts[:at] and int(other.split(".")[at]) > int(parts[at])
        for at in numbers
        for other in paths
    )


def _state(account: Account, state: dict[str, Any]) -> Iterator[str]:
    steps = [each.activity for each in account.completed if each.output is not None]
    expected = Counter(each.rpartition(".")[2] for each in steps)
    if state != expected:
        yield f"the state counts {state}, and history has {dict(expected)}"


# Decisions


def _decisions(pipeline: Pipeline, records: Sequence[ResolutionRecord]) -> Iterator[str]:
    decided = Counter(each.requirement_id for each in records)
    for each, times in decided.items():
        if times != 1:
            yield f"{each} was decided {times} times"
    for each in sorted(set(pipeline.gates) - set(decided)):
        yield f"the requirement {each} was lost"
    for each in sorted(set(decided) - set(pipeline.gates)):
        yield f"{each} was decided, and never to be asked"


def _told(records: Sequence[ResolutionRecord], journal: Sequence[Line]) -> Iterator[str]:
    stands = {each.requirement_id: each.model_dump(mode="json") for each in records}
    sent = [each["decision"] for each in journal if each["what"] == "sent"]
    for record in records:
        if record.decided_by == "human" and stands[record.requirement_id]["resolution"] not in sent:
            yield f"nobody sent the decision {record}"
    for line in journal:
        if line["what"] == "told" and line["door"] == "update":
            yield from _was_true(line, stands.get(line["decision"]["requirement_id"]))


def _was_true(line: Line, stands: Line | None) -> Iterator[str]:
    outcome, record = line["outcome"], line["record"]
    if outcome == "TooLate" and record is None:
        return  # What came of it instead is one of the records.
    if outcome not in TOLD_OF_RECORD or record is None:
        yield f"{line['decision']} was answered with {outcome}"
    elif record != stands:
        yield f"{line['key']} was told {record}, and what stands is {stands}"
    elif (outcome == "recorded") != (record["resolution"] == line["decision"]):
        yield f"{line['key']} was told {outcome!r} with the decision {record['resolution']}"


def _signals(account: Account, journal: Sequence[Line]) -> Iterator[str]:
    assert account.output is not None
    counted = [each.resolution.model_dump(mode="json") for each in account.output.resolutions]
    refused = " ".join(each.payload for each in account.output.refused)
    for line in journal:
        if line["what"] == "told" and line["outcome"] == "delivered":
            key = f'"{line["decision"]["decision_id"]}"'
            if line["decision"] not in counted and key not in refused:
                yield f"the signal {line['key']} was neither counted nor refused"
