"""Random pipelines as data: trees of nodes, what these do, when they ask, and how people answer.

`TREES` draws them; `pipelines.py` makes the real thing of one, and `semantics.py` says
what it means.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product
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

KINDS = ("Step", "Step", "Step", "Step", "Steps", "Parallel", "Condition", "Loop", "Router")
MODES = {
    "Step": ["confirms", "form", "reviews", "errors"],
    "Router": ["confirms", "routes", "reviews", "errors"],
    "Loop": ["confirms", "iterations", "errors"],
    "Condition": ["confirms", "errors"],
    "Steps": ["confirms"],
    "Parallel": ["confirms"],
}


@cache
def subsets(kind: str, must: str | None) -> st.SearchStrategy[tuple[str, ...]]:
    """Return the modes of one node, up to three: none, half of the time, unless it `must` ask."""
    some = [each for size in (1, 2, 3) for each in combinations(MODES[kind], size)]
    if must is not None:
        return st.sampled_from([each for each in some if must in each])
    return st.sampled_from([()] * len(some) + some)


HAVE_FUNCTIONS = ("Condition", "Loop", "Router")
DOES = ["works"] * 8 + ["gives nothing", "stops", "fails", "says no"]
FAILS = ["fails 1", "fails 2", "fails", "says no 1", "says no", "works"]
EVALUATORS = [True, False, "yes", "no", "broken"]
LOOP_ENDS = [None, None, 1, 2, True, False]
PICKS = [each for size in range(4) for each in product(range(3), repeat=size)]
BREAKS = ["broken", "broken 1", "broken 2"]


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def turn(number: int) -> Turn:
    """Return the turn of a number, as one draw is cheaper than four."""
    number, pick = divmod(number, 12)
    number, first = divmod(number, 6)
    number, again = divmod(number, 6)
    firsts, agains = ["action", "values", "id"], ["same", "other"]
    return Turn(
        pick,
        firsts[first - 3] if first > 2 else None,
        agains[again - 4] if again > 3 else None,
        "signal" if number else "update",
    )


NUMBERS = st.integers(0, 12 * 6 * 6 * 2 - 1)
TURNS = st.lists(NUMBERS, min_size=1, max_size=2).map(lambda drawn: tuple(map(turn, drawn)))


@cache
@st.composite
def asking(draw: st.DrawFn, kind: str, fatal: bool, must: str | None = None) -> Asks:
    """Draw when a node of this kind asks; half of them do not, unless one `must`."""
    modes = draw(subsets(kind, must))
    if not modes:
        return Asks(fatal=fatal)
    reviewed = "reviews" in modes or "iterations" in modes
    asks = Asks(
        confirms="confirms" in modes,
        form=draw(one_of("required", "optional", "any")) if "form" in modes else None,
        routes="routes" in modes,
        several=kind == "Router" and draw(st.booleans()),
        reviews=draw(one_of("always", "always", "some", "broken")) if "reviews" in modes else None,
        iterations="iterations" in modes,
        on_error="pause" if "errors" in modes else "skip",
        max_error_retries=draw(one_of(None, 1, 0)) if "errors" in modes else None,
        max_retries=draw(st.integers(0, 2)) if "reviews" in modes else 0,
        fatal=fatal,
        flat=draw(st.booleans()),
        turns=draw(TURNS),
    )
    retry = ["retry"] * 3 if reviewed else []
    ends = ["cancel"] if fatal else []
    otherwise = ["else"] * 3 if kind == "Condition" else []
    return replace(
        asks,
        on_reject=draw(one_of("skip", "skip", *ends, *otherwise, *retry)),
        on_timeout=draw(one_of(*[None] * 4, "skip", *ends, *approve(asks))),
    )


def approve(asks: Asks) -> list[str]:
    """Return `approve`, where it makes sense that a deadline approves."""
    nothing_to_take = asks.form == "required" or asks.routes or asks.on_error == "pause"
    return [] if nothing_to_take else ["approve"] * 3


@cache
@st.composite
def leaves(draw: st.DrawFn, fatal: bool, must: str | None) -> Leaf:
    """Draw a step; only a `fatal` one may end the run."""
    asks = draw(asking("Step", fatal, must))
    does = draw(one_of(*(FAILS if asks.on_error == "pause" else DOES)))
    if fatal and asks.on_error == "skip" and must is None and not draw(st.integers(0, 9)):
        does, asks = "fatal", replace(asks, on_error="fail")
    writes = draw(st.none() | st.tuples(st.sampled_from("kl"), one_of(1, 2, None, GONE)))
    return Leaf(does, writes, asks)


@cache
def several(depth: int, fatal: bool) -> st.SearchStrategy[list[Any]]:
    return st.lists(nodes(depth, fatal), min_size=1, max_size=3)


@cache
def nodes(depth: int, fatal: bool = True) -> st.SearchStrategy[Any]:
    """Return trees of at most this depth."""
    kinds = st.sampled_from(KINDS if depth else KINDS[:1])
    return kinds.flatmap(lambda kind: node(kind, depth, fatal))


@cache
def node(
    kind: str, depth: int = 1, fatal: bool = True, must: str | None = None
) -> st.SearchStrategy[Any]:
    """Return trees of at most this depth with a node of this kind on top."""
    return leaves(fatal, must) if kind == "Step" else boxes(kind, depth, fatal, must)


@cache
@st.composite
def boxes(draw: st.DrawFn, kind: str, depth: int, fatal: bool, must: str | None) -> Box:
    below = several(depth - 1, fatal and kind != "Parallel")
    asks = draw(asking(kind, fatal, must))
    # Who asks is told by its name, so it has one of its own.
    named = bool(asks.turns) or draw(st.booleans())
    breaks = BREAKS if asks.on_error == "pause" else []
    if fatal and asks.on_error == "skip" and draw(one_of(*[False] * 5, kind in HAVE_FUNCTIONS)):
        asks = replace(asks, on_error="fail")
    box = Box(kind, tuple(draw(below)), named=named, asks=asks)
    match kind:
        case "Condition":
            other = draw(below) if draw(st.booleans()) else []
            return replace(box, other=tuple(other), says=draw(one_of(*EVALUATORS, *breaks * 2)))
        case "Loop":
            ends = draw(one_of(*LOOP_ENDS, "broken", *breaks * 2))
            return replace(box, says=ends, forwards=draw(st.booleans()))
        case "Router":
            return replace(box, says=draw(one_of(*PICKS, *["broken", *breaks] * 8)))
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


@cache
def pipelines(least: int) -> st.SearchStrategy[Tree]:
    """Return pipelines of at least so many nodes at the top, of any size."""
    return st.lists(nodes(4), min_size=least, max_size=4).map(lambda drawn: renamed(tuple(drawn)))
