"""What an answer or silence does to a run: the half of the model that knows people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from tests.model.outputs import Output, Place, edit
from tests.model.people import WAITS, Asked, Way, turn_of, way
from tests.model.pipelines import interesting


class Cancelled(Exception):
    """The run ends cancelled."""


class Failed(Exception):
    """The run ends failed."""


class TooMuch(Exception):
    """The run is longer than a test can afford."""


@dataclass
class Failures:
    """How often one node has failed, and how often a person had it tried again."""

    executions: int = 0
    retries: int = 0


@dataclass
class Questions:
    """Asks, and writes down what was asked, what was decided, and what became of it."""

    affordable: int = 1000
    work: int = 0
    """About how many activities and questions there were."""
    questions: Counter[str] = field(default_factory=Counter[str])
    asked: list[Any] = field(default_factory=list[Any])
    decided: list[Any] = field(default_factory=list[Any])
    events: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    refused: int = 0
    rejected: tuple[str, Any] | None = None
    """The output whose review ended the run."""
    marks: set[str] = field(default_factory=set[str])
    """What kinds of things happened, for those who choose examples."""

    def worked(self) -> None:
        self.work += 1
        if self.work > self.affordable:
            raise TooMuch

    def ask(self, kind: str, node: Any, place: Place, retries: int = 0, **shown: Any) -> Way:
        """Ask a person, and return what becomes of it."""
        self.worked()
        asked = Asked(kind, self.questions[node.name], retries)
        self.questions[node.name] += 1
        given, turn, key = way(node, asked), turn_of(node, asked), self.unused(place.path)
        if kind in ("output_review", "error"):
            shown["retries"] = retries
        self.asked.append((key, kind, shown))
        door = None if given.action == WAITS else turn.door
        self.decided.append((key, kind, given.action, door))
        if door is not None:
            self.refused += turn.door == "signal" and turn.first is not None
            self.marks |= {f"{turn.first} first", f"{turn.again} again", f"by {turn.door}"}
        return given

    def unused(self, path: str) -> str:
        """Return the id of the next question at a path: `a`, then `a~2`, `a~3`."""
        taken = {key for key, *_ in self.asked}
        count = 1
        while (key := path if count == 1 else f"{path}~{count}") in taken:
            count += 1
        return key

    def fate(self, kind: str, node: Any, given: Way) -> str:
        """Return what an answer or silence does: `go`, `again`, `skip`, `else`; or end the run."""
        silent = {"skip": "skip", "cancel": "cancel", "approve": "go", None: "go"}
        said = {"reject": node.asks.on_reject, "skip": "skip", "retry": "again"}
        if given.action == WAITS:
            fate, word = silent[node.asks.on_timeout], f"{WAITS} {node.asks.on_timeout}"
        else:
            fate = said.get(given.action, "go")
            word = f"reject {fate}" if given.action == "reject" else given.action
        self.marks |= {f"{kind}: {word}", f"{kind} of {node.kind}"}
        fate = "again" if fate == "retry" else fate
        # Before it has run there is nothing to do again.
        before = kind in ("confirmation", "user_input", "route")
        return "skip" if before and fate == "again" else fate

    def left_out(self, fate: str, place: Place) -> bool:
        """Return whether a node is left out; a run that ends here ends."""
        if fate == "cancel":
            raise Cancelled
        if fate == "skip":
            self.events.append(("node_skipped", place.path))
        return fate == "skip"

    def tried_again(
        self, node: Any, place: Place, counts: Failures, message: str, at: str | None = None
    ) -> str:
        """Return what becomes of a failure: `again`, or `skip`, by a `person` or by its author."""
        fate, by = "skip", "author"
        if node.asks.on_error == "fail":
            raise Failed
        if node.asks.on_error == "pause":
            limit = node.asks.max_error_retries
            shown = {"attempts": counts.executions, "message": message, "limit": limit}
            given = self.ask("error", node, place, counts.retries, **shown)
            fate, by = self.fate("error", node, given), "person"
        if fate == "cancel":
            raise Cancelled
        if fate == "again":
            counts.retries += 1
            return fate
        self.events.append(("node_failed", at or place.path))
        return by

    def reviewed(self, node: Any, place: Place, output: Output, rounds: int) -> tuple[str, Place]:
        """Return what becomes of an output, and where it is made again."""
        if not self.wants_review(node, place, output):
            return "go", place
        limit = node.asks.max_retries if node.asks.on_reject == "retry" else None
        shown = {"output": output["content"], "error": output["error"], "limit": limit}
        given = self.ask("output_review", node, place, rounds, **shown)
        fate = self.fate("output_review", node, given)
        if fate == "again" and rounds == limit:
            self.marks.add("output_review: exhausted")
            fate = "cancel"
        if fate == "cancel":
            self.rejected = (place.path, output["content"])
        if given.action == "edit":
            edit(output, given.payload)
        return fate, with_feedback(place, given, output["content"])

    def wants_review(self, node: Any, place: Place, output: Output) -> bool:
        if node.asks.reviews in (None, "always"):
            return node.asks.reviews is not None
        self.worked()
        if node.asks.reviews == "some":
            self.marks.add(f"predicate {interesting(output['content'])}")
            return interesting(output["content"])
        self.marks.add("predicate broken")
        self.events.append(("node_failed", f"{place.path}.output_review"))
        return True


def completed(form: str, values: dict[str, Any] | None) -> dict[str, Any]:
    """Return what was filled in, with the defaults of the form."""
    defaults = {"required": {"note": None}, "optional": {"n": 7, "note": None}, "any": {}}
    return {**defaults[form], **(values or {})}


def with_data(place: Place, **more: Any) -> Place:
    return replace(place, data={**place.data, **more})


def with_feedback(place: Place, given: Way, content: Any) -> Place:
    """Return the place where what was rejected is made again."""
    data = {name: each for name, each in place.data.items() if name != "rejection_feedback"}
    feedback = {} if given.payload is None else {"rejection_feedback": given.payload}
    return replace(place, data={**data, **feedback, "previous_output": content})
