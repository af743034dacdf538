"""Random pipelines as data: trees of nodes, what these do, when they ask, and how people answer.

`TREES` draws them; `pipelines.py` makes the real thing of one, and `semantics.py` says
what it means.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

GONE = "GONE"
"""What a step writes that takes a key away."""


@dataclass(frozen=True)
class Turn:
    """What a person does with one question: the answer, what comes before it, and what after."""

    pick: int = 0
    """Which of the possible answers, by position."""
    first: str | None = None
    """What is tried before, and refused: the wrong `action`, bad `values`, an unknown `id`."""
    again: str | None = None
    """What follows: the `same` decision, or an `other` one."""
    door: str = "update"


@dataclass(frozen=True)
class Asks:
    """When a node asks, what each answer and silence do, and what people say, turn by turn."""

    confirms: bool = False
    form: str | None = None
    """A form with `required` fields, with `optional` ones only, or one that takes `any` values."""
    routes: bool = False
    several: bool = False
    reviews: str | None = None
    """`always`, only `some` outputs, or those that a `broken` predicate cannot tell."""
    iterations: bool = False
    on_error: str = "skip"
    max_error_retries: int | None = None
    on_reject: str = "skip"
    max_retries: int = 0
    on_timeout: str | None = None
    """What the deadline does, where there is one."""
    fatal: bool = True
    """Whether an answer may end the run; not beside running branches, as that would be a race."""
    flat: bool = True
    """Which spelling says all this."""
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Leaf:
    """One step: what it does and what it writes."""

    does: str
    writes: tuple[str, Any] | None
    asks: Asks = Asks()
    name: str = ""
    kind: str = "Step"


@dataclass(frozen=True)
class Box:
    """One container: its kind, its children, and what its function says."""

    kind: str
    children: tuple[Any, ...]
    other: tuple[Any, ...] = ()
    says: Any = None
    forwards: bool = False
    named: bool = True
    asks: Asks = Asks()
    name: str = ""


Tree = tuple[Any, ...]


def walk(nodes: Tree) -> list[Any]:
    """Return all nodes of a tree."""
    below = [
        each
        for node in nodes
        if isinstance(node, Box)
        for each in walk((*node.children, *node.other))
    ]
    return [*nodes, *below]


# Drawing

KINDS = ["Step", "Step", "Steps", "Parallel", "Condition", "Loop", "Router"]
MODES = {
    "Step": ["confirms", "form", "reviews", "errors"],
    "Router": ["confirms", "routes", "reviews", "errors"],
    "Loop": ["confirms", "iterations", "errors"],
    "Condition": ["confirms", "errors"],
    "Steps": ["confirms"],
    "Parallel": ["confirms"],
}
DOES = ["works"] * 4 + ["gives nothing", "stops", "fails", "says no"]
FAILS = ["fails 1", "fails 2", "fails", "says no 1", "says no", "works"]
EVALUATORS = [True, False, "yes", "no", "broken"]
LOOP_ENDS = [None, None, 1, 2, True, False]
BREAKS = ["broken", "broken 1", "broken 2"]


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


TURNS = st.builds(
    Turn,
    pick=st.integers(0, 11),
    first=one_of(None, None, None, "action", "values", "id"),
    again=one_of(None, None, None, "same", "other"),
    door=one_of("update", "update", "signal"),
)


@st.composite
def asking(draw: st.DrawFn, kind: str, fatal: bool) -> Asks:
    """Draw when a node of this kind asks; most often it does not."""
    if not draw(st.booleans()):
        return Asks(fatal=fatal)
    modes = draw(st.lists(st.sampled_from(MODES[kind]), min_size=1, max_size=3, unique=True))
    reviewed = "reviews" in modes or "iterations" in modes
    asks = Asks(
        confirms="confirms" in modes,
        form=draw(one_of("required", "optional", "any")) if "form" in modes else None,
        routes="routes" in modes,
        several=kind == "Router" and draw(st.booleans()),
        reviews=draw(one_of("always", "always", "some", "broken")) if "reviews" in modes else None,
        iterations="iterations" in modes,
        on_error="pause" if "errors" in modes else "skip",
        max_error_retries=draw(one_of(None, 1)) if "errors" in modes else None,
        max_retries=draw(st.integers(0, 2)) if "reviews" in modes else 0,
        fatal=fatal,
        flat=draw(st.booleans()),
        turns=tuple(draw(st.lists(TURNS, min_size=1, max_size=3))),
    )
    retry = ["retry"] * 3 if reviewed else []
    ends = ["cancel"] if fatal else []
    otherwise = ["else"] * 2 if kind == "Condition" else []
    return replace(
        asks,
        on_reject=draw(one_of("skip", *ends, *otherwise, *retry)),
        on_timeout=draw(one_of(None, None, "skip", *ends, *approve(asks))),
    )


def approve(asks: Asks) -> list[str]:
    """Return `approve`, where it makes sense that a deadline approves."""
    nothing_to_take = asks.form == "required" or asks.routes or asks.on_error == "pause"
    return [] if nothing_to_take else ["approve"]


@st.composite
def leaves(draw: st.DrawFn, fatal: bool) -> Leaf:
    """Draw a step; only a `fatal` one may end the run."""
    asks = draw(asking("Step", fatal))
    does = draw(one_of(*(FAILS if asks.on_error == "pause" else DOES)))
    if fatal and asks == Asks() and not draw(st.integers(0, 7)):
        does, asks = "fatal", replace(asks, on_error="fail")
    writes = draw(st.none() | st.tuples(st.sampled_from("kl"), one_of(1, 2, None, GONE)))
    return Leaf(does, writes, asks)


@st.composite
def nodes(draw: st.DrawFn, depth: int, fatal: bool = True) -> Any:
    """Draw a tree of at most this depth."""
    kind = draw(st.sampled_from(KINDS if depth else KINDS[:1]))
    if kind == "Step":
        return draw(leaves(fatal))
    below = st.lists(nodes(depth - 1, fatal and kind != "Parallel"), min_size=1, max_size=3)
    asks = draw(asking(kind, fatal))
    # Who asks is told by its name, so it has one of its own.
    named = bool(asks.turns) or draw(st.booleans())
    box = Box(kind, tuple(draw(below)), named=named, asks=asks)
    breaks = BREAKS if asks.on_error == "pause" else []
    match kind:
        case "Condition":
            other = draw(st.just([]) | below)
            return replace(box, other=tuple(other), says=draw(one_of(*EVALUATORS, *breaks * 2)))
        case "Loop":
            ends = draw(one_of(*LOOP_ENDS, "broken", *breaks * 2))
            return replace(box, says=ends, forwards=draw(st.booleans()))
        case "Router":
            picks = st.lists(st.integers(0, 2), max_size=3).map(tuple)
            return replace(box, says=draw(st.one_of(picks, picks, one_of("broken", *breaks))))
        case _:
            return box


def renamed(tree: Tree) -> Tree:
    """Return the tree with a name of its own for each node; choices of a Router always have one."""
    numbers = iter(range(10_000))

    def one(node: Any, must: bool = False) -> Any:
        if isinstance(node, Leaf):
            return replace(node, name=f"s{next(numbers)}")
        name = f"{node.kind[0]}{next(numbers)}" if node.named or must else ""
        choices = node.kind == "Router"
        children = tuple(one(child, choices) for child in node.children)
        other = tuple(one(each) for each in node.other)
        return replace(node, name=name, children=children, other=other)

    return tuple(one(node) for node in tree)


TREES: st.SearchStrategy[Tree] = st.lists(nodes(depth=4), min_size=1, max_size=3).map(
    lambda drawn: renamed(tuple(drawn))
)
"""Pipelines of any size."""
