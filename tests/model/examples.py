"""Trees that are the same each time, chosen from many so that together they show everything."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.model.pipelines import State
from tests.model.questions import TooMuch
from tests.model.semantics import Model
from tests.model.trees import MODES, Asks, Box, Leaf, Tree, Turn, node, pipelines, renamed

INPUT = "x"
BEFORE: State = {"k": 0}
DATA = {"caller": "c"}
AFFORDABLE = 40
"""About how many activities and questions a tree may have."""
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
FEW, MORE = 25, {("Loop", "iterations"): 80, ("Router", "routes"): 60, ("Router", "reviews"): 60}
"""How many trees are drawn for each mode: of so many, most answers are among them."""
WORKS = Leaf("works", None)
SAYS_NO, WAITS = (
    Turn(1),
    {"form": Turn(2), "routes": Turn(2), "reviews": Turn(4), "iterations": Turn(4)},
)
"""Who rejects, and who does not answer."""


def asker(mode: str, turns: tuple[Turn, ...], **policy: Any) -> Any:
    """Return a node that asks in this mode."""
    how = {"form": "any", "reviews": "always"}.get(mode, True)
    asks = Asks(**{mode: how}, turns=turns, **policy)
    if mode in ("form", "reviews"):
        return Leaf("works", None, asks)
    kind, says = ("Router", (0,)) if mode == "routes" else ("Loop", None)
    return Box(kind, (WORKS,), says=says, asks=asks)


AGAIN: dict[str, Any] = {"reviews": "always", "on_reject": "retry", "max_retries": 1}
SELDOM = [
    *(
        asker(mode, (silent,), on_timeout=does)
        for mode, silent in WAITS.items()
        for does in ("skip", "cancel", "approve")
        if (mode, does) != ("routes", "approve")
    ),
    *(asker(mode, (SAYS_NO,), on_reject=does) for mode in WAITS for does in ("skip", "cancel")),
    asker("routes", (SAYS_NO,), **AGAIN),
    # A router that has a selector asks for a route only where its output is made again.
    Box(
        "Router",
        (WORKS,),
        says=(0,),
        asks=Asks(on_timeout="approve", turns=(SAYS_NO, WAITS["routes"]), **AGAIN),
    ),
]
"""What might not be among those that are drawn."""
DECISIONS = {
    "confirmation": ["confirm", "reject else", "reject retry"],
    "user_input": ["answer", "reject retry"],
    "route": ["select", "reject retry"],
    "output_review": ["confirm", "edit", "reject retry", "exhausted"],
    "iteration_review": ["confirm", "edit", "reject retry", "again after the last"],
    "error": ["retry", "skip"],
}
ENDS = ["reject skip", "reject cancel", "time_out skip", "time_out cancel", "time_out approve"]
ASKED = {
    "confirmation": list(MODES),
    "user_input": ["Step"],
    "route": ["Router"],
    "output_review": ["Step", "Router"],
    "iteration_review": ["Loop"],
    "error": ["Step", "Router", "Loop", "Condition"],
}
EVERYTHING = {
    *(f"{kind}: {decision}" for kind, each in DECISIONS.items() for decision in each),
    *(f"{kind}: {end}" for kind in DECISIONS if kind != "error" for end in ENDS),
    *("error: time_out skip", "error: time_out cancel"),
    *(f"{kind} of {node}" for kind, each in ASKED.items() for node in each),
    *(f"predicate {each}" for each in ("True", "False", "broken")),
    *("action first", "values first", "id first", "same again", "other again"),
    *("by update", "by signal", "COMPLETED", "CANCELLED", "ERROR"),
}
"""What a model marks where it happens: every mode, answer and deadline, and what people try."""


def meant(tree: Tree) -> Model | None:
    """Return what a tree means, if a test can afford it."""
    model = Model(affordable=AFFORDABLE)
    try:
        model.run(tree, INPUT, dict(BEFORE), DATA)
    except TooMuch:
        return None
    return model


def trees(least: int = 3) -> st.SearchStrategy[Tree]:
    """Return pipelines of about `least` activities and questions, or more."""
    drawn = pipelines(3 if least > 10 else 1)
    return drawn.filter(lambda tree: (model := meant(tree)) is not None and least <= model.work)


def examples(count: int, *phases: Phase) -> Any:
    """Return settings for so many examples; without phases they are the same each time."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=not phases,
        suppress_health_check=QUIET,
        phases=[Phase.generate, *phases],
    )


def drawn(kind: str, mode: str, count: int) -> list[Tree]:
    """Return pipelines of three nodes, of which the second asks in this mode at least."""
    found: list[Tree] = []

    @examples(count)
    @given(node(kind, must=mode))
    def collect(asks: Any) -> None:
        found.append(between_others(asks))

    collect()
    return found


def between_others(node: Any) -> Tree:
    return renamed((WORKS, node, WORKS))


@cache
def chosen() -> list[Tree]:
    """Return few trees that together show everything, as far as those that are drawn do."""
    modes = [(kind, mode) for kind in MODES for mode in MODES[kind]]
    pool = [tree for each in modes for tree in drawn(*each, MORE.get(each, FEW))]
    pool += map(between_others, SELDOM)
    shown = [(tree, model) for tree in pool if (model := meant(tree)) is not None]
    missing, found = set(EVERYTHING), list[Tree]()
    while missing:
        tree, model = max(shown, key=lambda each: len(each[1].marks & missing) / each[1].work)
        if not model.marks & missing:
            break
        found.append(tree)
        missing -= model.marks
    return found


def joined(trees: list[Tree], least: int) -> Iterator[Tree]:
    """Yield all the trees, one after another, in pipelines of about so much work."""
    going = [tree for tree in trees if goes_on(tree)]
    for last in [tree for tree in trees if not goes_on(tree)]:
        row: Tree = ()
        while going and work_of((*row, *going[0], *last)) <= least:
            row = (*row, *going.pop(0))
        yield renamed((*row, *last))
    yield from going


def goes_on(tree: Tree) -> bool:
    model = meant((*tree, Leaf("works", None, name="last")))
    return model is not None and model.executions["last"] > 0


def work_of(tree: Tree) -> int:
    model = meant(renamed(tree))
    return AFFORDABLE + 1 if model is None else model.work
