"""What a tree means: a page of plain Python, written from the seeds and the design and not from the
interpreter.

Nothing waits here: a question is answered where it is asked, by `people.py`. Everything that
could be seen of a real run is written down on the way.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from tests.model.outputs import Output, Place, box, edited, last_content, produced, told
from tests.model.people import WAITS, Way
from tests.model.pipelines import MAX_ITERATIONS, State, fails_now, picks, seen, write
from tests.model.questions import (
    Cancelled,
    Failed,
    Failures,
    Questions,
    completed,
    with_data,
    with_feedback,
)
from tests.model.trees import GONE, Box, Leaf

FIELDS = {
    "required": {"fields": ["n", "note"], "required": ["n"]},
    "optional": {"fields": ["n", "note"], "required": []},
    "any": {"fields": [], "required": []},
}


@dataclass
class Model(Questions):
    """Says what a run of a tree comes to."""

    executions: Counter[str] = field(default_factory=Counter[str])

    def run(self, tree: tuple[Any, ...], input: Any, state: State, data: Any) -> dict[str, Any]:
        results: list[Output] = []
        status = "COMPLETED"
        try:
            self.sequence(tree, Place("", input, state, data=data), results)
        except Cancelled:
            status = "CANCELLED"
        except Failed:
            status = "ERROR"
        self.marks.add(status)
        return {
            "status": status,
            "content": last_content(results),
            "results": results,
            "state": state,
            "asked": self.asked,
            "decided": self.decided,
            "events": self.events,
            "refused": self.refused,
        }

    def sequence(
        self, nodes: tuple[Any, ...], place: Place, results: list[Output], first: int = 1
    ) -> list[Output]:
        for position, node in enumerate(nodes, first):
            # A choice that is named again runs again, at a path of its own.
            turn = nodes[: position - first].count(node) + 1
            output = self.node(node, place, position, f"~{turn}" if turn > 1 else "")
            if output is None:
                continue
            results.append(output)
            if output["name"] not in place.outputs:
                place = replace(place, outputs=(*place.outputs, output["name"]))
            if produced(output):
                place = replace(place, previous=output["content"])
            if output["stop"]:
                break
        return results

    def node(self, node: Any, place: Place, position: int, again: str = "") -> Output | None:
        segment = node.name.lower() or f"{node.kind.lower()}_{position}"
        path, planned = (f"{up}.{segment}" if up else segment for up in (place.path, place.planned))
        place = replace(place, path=path + again, planned=planned)
        if node.asks.confirms:
            fate = self.fate("confirmation", node, self.ask("confirmation", node, place))
            if fate == "else" and node.other:
                return self.otherwise(node, place)
            if self.left_out("skip" if fate == "else" else fate, place):
                return None
        return getattr(self, node.kind.lower())(node, place)

    def step(self, leaf: Leaf, place: Place) -> Output | None:
        form = leaf.asks.form
        if form is not None:
            given = self.ask("user_input", leaf, place, **FIELDS[form])
            if self.left_out(self.fate("user_input", leaf, given), place):
                return None
            place = with_data(place, user_input=completed(form, given.payload))
        counts, rounds = Failures(), 0
        while True:
            output, by = self.performed(leaf, place, counts)
            if by == "person":
                return output
            fate, next_place = self.reviewed(leaf, place, output, rounds)
            if fate != "again":
                return None if self.left_out(fate, place) else output
            place, rounds = next_place, rounds + 1

    def performed(self, leaf: Leaf, place: Place, counts: Failures) -> tuple[Output, str]:
        """Return what a step made, and who lets the run go on where it failed."""
        while True:
            output = self.executed(leaf, place)
            counts.executions += 1
            if output["success"]:
                return output, "nobody"
            message = "no" if leaf.does.startswith("says no") else "broken"
            by = self.tried_again(leaf, place, counts, message)
            if by != "again":
                return output, by

    def executed(self, leaf: Leaf, place: Place) -> Output:
        self.worked()
        self.executions[leaf.name] += 1
        count, outputs = self.executions[leaf.name], list(place.outputs)
        content: Any = seen(
            place.input, place.previous, outputs, place.iteration, place.state, place.data
        )
        broken = leaf.does == "fatal" or fails_now(leaf.does, "fails", count)
        if not broken:
            write(leaf, place.state)
        if broken or leaf.does == "gives nothing":
            content = None
        success = not broken and not fails_now(leaf.does, "says no", count)
        return told(leaf, place, content, success=success, stop=leaf.does == "stops")

    def steps(self, node: Box, place: Place) -> Output | None:
        return box(node, place, self.sequence(node.children, place, []))

    def parallel(self, node: Box, place: Place) -> Output | None:
        before = dict(place.state)
        branches = [dict(before) for _ in node.children]
        outputs = [
            self.node(child, replace(place, state=state), position)
            for position, (child, state) in enumerate(zip(node.children, branches, strict=True), 1)
        ]
        self.merge(node, place, before, branches)
        there = [output for output in outputs if output is not None]
        content = {output["name"]: output["content"] for output in there if produced(output)}
        return box(node, place, there, content)

    def merge(self, node: Box, place: Place, before: State, branches: list[State]) -> None:
        written: State = {}
        for position, (child, state) in enumerate(zip(node.children, branches, strict=True), 1):
            kept = child.name or f"{place.planned}.{child.kind.lower()}_{position}"
            for key in sorted({*before, *state}):
                value = state.get(key, GONE)
                if value == before.get(key, GONE):
                    continue
                if key in written and written[key] != value:
                    self.events.append(("state_conflict", place.path, key, kept))
                written[key] = value
        for key, value in written.items():
            if value == GONE:
                place.state.pop(key, None)
            else:
                place.state[key] = value

    def breaks(self, node: Box, place: Place, at: str, counts: Failures) -> str | None:
        """Return who lets the run go on where a function of a container fails for good."""
        while True:
            self.worked()
            self.executions[node.name] += 1
            counts.executions += 1
            says, count = node.says, self.executions[node.name]
            if not isinstance(says, str) or not fails_now(says, "broken", count):
                return None
            by = self.tried_again(node, place, counts, "cannot tell", at)
            if by != "again":
                return by

    def condition(self, node: Box, place: Place) -> Output | None:
        at = f"{place.path}.evaluator"
        if not isinstance(node.says, bool) and self.breaks(node, place, at, Failures()):
            return box(node, place, [], failed=True)
        if node.says not in (False, "no"):
            return box(node, place, self.sequence(node.children, place, []))
        return self.otherwise(node, place)

    def otherwise(self, node: Box, place: Place) -> Output | None:
        first = len(node.children) + 1
        return box(node, place, self.sequence(node.other, place, [], first))

    def loop(self, node: Box, place: Place) -> Output | None:
        inside = place
        kept: list[Output] = []
        for iteration in range(1, MAX_ITERATIONS + 1):
            inside = replace(inside, path=f"{place.path}.{iteration}", iteration=iteration)
            outputs = self.sequence(node.children, inside, [])
            kept, content = outputs or kept, last_content(outputs)
            ends = any(each["stop"] for each in outputs) or self.ends(node, inside)
            if ends == "failed":
                return box(node, place, kept, failed=True)
            if ends:
                break
            if node.asks.iterations:
                fate, given = self.iteration_reviewed(node, inside, content)
                if self.left_out(fate, place):
                    return None
                if fate == "go":
                    return edited(node, place, box(node, place, kept), given)
                inside = with_feedback(inside, given, content)
            if node.forwards:
                inside = replace(inside, input=content, previous=content)
        return box(node, place, kept)

    def ends(self, node: Box, inside: Place) -> bool | str:
        """Return whether its condition ends a loop, or whether that `failed`."""
        last = inside.iteration == MAX_ITERATIONS
        if node.says is None or (last and not node.asks.iterations):
            return False
        counted = isinstance(node.says, int) and not isinstance(node.says, bool)
        at = f"{inside.path}.{'should_continue' if counted else 'end_condition'}"
        if self.breaks(node, inside, at, Failures()):
            return "failed"
        return (inside.iteration or 0) >= node.says if counted else node.says is True

    def iteration_reviewed(self, node: Box, inside: Place, content: Any) -> tuple[str, Way]:
        shown = {"output": content, "iteration": inside.iteration, "of": MAX_ITERATIONS}
        given = self.ask("iteration_review", node, inside, **shown)
        fate = self.fate("iteration_review", node, given)
        if fate == "again" and inside.iteration == MAX_ITERATIONS:
            self.marks.add("iteration_review: again after the last")
            fate = "skip"
        return fate, given

    def router(self, node: Box, place: Place) -> Output | None:
        by_name = {child.name: child for child in node.children}
        names, counts, rounds = picks(node), Failures(), 0
        here, person = place, node.asks.routes
        while True:
            selects = not person
            if person:
                shown = {"choices": tuple(by_name), "several": node.asks.several}
                given = self.ask("route", node, place, **shown)
                if self.left_out(self.fate("route", node, given), place):
                    return None
                names, selects = given.payload or picks(node), given.action == WAITS
            by = self.breaks(node, place, f"{place.path}.selector", counts) if selects else None
            if by is None:
                chosen = tuple(by_name[name] for name in names)
                output = box(node, place, self.sequence(chosen, here, []))
            else:
                output = box(node, place, [], failed=True)
            if output is None or by == "person":
                return output
            fate, next_place = self.reviewed(node, here, output, rounds)
            if fate != "again":
                return None if self.left_out(fate, place) else output
            here, rounds, person = next_place, rounds + 1, True
