"""How the inbox shows what was produced: as a tree that folds, and against the round before."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, Loop, Parallel, Reject, Step, StepInput, Workflow
from temporal_hitl.http.inbox._comparing import LINES, SIZE, Line, compared
from temporal_hitl.http.inbox._showing import shown
from temporal_hitl.http.inbox._tree import DEEP, LONG, NODES, WIDE, Node, tree
from tests.pages import Element, read
from tests.stage import ended, replays, serving, until
from tests.test_inbox import HOSTILE, all_open, every, inbox, path

# A tree


def all_of(node: Node) -> list[Node]:
    """Return all nodes below one."""
    return [each for below in node.items for each in (below, *all_of(below))]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"k": value}
    return value


def test_a_tree_has_limits() -> None:
    """What is deep, wide, long or much is shown so far, and the rest is counted; what stands above
    comes before what is below it.
    """
    wide = tree(list(range(WIDE + 7)))
    far = all_of(tree(deep(DEEP + 5)))
    long = tree({"k": "x" * (LONG + 3)}).items[0]
    much = tree([[list(range(50)) for _ in range(50)] for _ in range(50)])

    assert (WIDE, 7, "1") == (len(wide.items), wide.left, wide.items[0].label)
    assert (DEEP, 1) == (len(far), far[-1].left)
    assert [True, False] == [each.is_open for each in far[:2]]
    assert (LONG, 3) == (len(long.text), long.cut)
    assert NODES == len(all_of(much))
    assert [0, 0, 50] == [each.left for each in (much, much.items[0], much.items[-1])]


def test_what_is_too_deep() -> None:
    """Even what no JSON writer takes has a tree."""
    bottomless = shown(deep(100_000))

    assert bottomless.tree is not None
    assert DEEP == len(all_of(bottomless.tree))
    assert "too deep" in bottomless.source


# A comparison

CHANGED: list[tuple[Any, Any, list[str]]] = [
    ("a\nb\nc", "a\nx\nc", [" a", "-b", "+x", " c"]),
    ("one two three", "one 2 three", ["-one [two] three", "+one [2] three"]),
    ("a", "a\n", [" a", "+"]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ({"a": 1}, {"a": "1"}, [" {", '-  "a": 1', '+  "a": ["]1["]', " }"]),
    ("5", 5, ['-["]5["]', "+5"]),
    (None, "x", ["-null", '+"x"']),
    ([], "", ["-[]", '+""']),
    ("same", "same", []),
    (
        "\n".join(map(str, range(20))),
        "\n".join(map(str, range(19))),
        ["~16", " 16", " 17", " 18", "-19"],
    ),
]


@pytest.mark.parametrize("before, after, expected", CHANGED)
def test_what_has_changed(before: Any, after: Any, expected: list[str]) -> None:
    """Text is compared by line, and JSON as it is written, whatever the order of its keys; within
    a line that has changed, by word.
    """
    told = compared(before, after)

    assert told is not None
    signs = {"same": " ", "gone": "-", "new": "+", "skipped": "~"}
    lines = [
        signs[line.mark]
        + (str(line.count) if line.count else "")
        + "".join(
            f"[{text}]" if differs and line.parts[1:] else text for differs, text in line.parts
        )
        for line in told.lines
    ]
    assert expected == lines
    assert (not expected) == told.is_same


def words(line: Line) -> str:
    """Return the text of a line, with brackets around the words that have changed in it."""
    marks = len(line.parts) > 1
    return "".join(f"[{text}]" if differs and marks else text for differs, text in line.parts)


@pytest.mark.parametrize("large", ["x" * (SIZE + 1), "\n" * LINES])
def test_too_large_to_be_compared(large: str) -> None:
    """What is too large, or has too many lines, is not compared, on either side."""
    assert [None, None] == [compared(large, "x"), compared("x", large)]


# On the page


def makes(step_input: StepInput) -> Any:
    said = step_input.additional_data
    return {"by": HOSTILE, "round": said.get("rejection_feedback", "first"), "more": [{"n": [1]}]}


def same(step_input: StepInput) -> str:
    return f"x{HOSTILE}"


def large() -> str:
    return "y" * 40_000


AGAIN: dict[str, Any] = {"requires_output_review": True, "on_reject": "retry"}
rounds = Workflow(
    "rounds",
    [
        Parallel(
            Step("made", makes, **AGAIN),
            Step("same", same, **AGAIN),
            Step("large", large, **AGAIN),
            Loop(
                [Step("turn", makes)],
                name="turns",
                requires_iteration_review=True,
                on_reject="retry",
                max_iterations=5,
            ),
            name="p",
        )
    ],
)
FIRST = ["p.made", "p.same", "p.large", "p.turns.1"]
SECOND = ["p.made~2", "p.same~2", "p.large~2", "p.turns.2"]


async def test_against_the_round_before(env: WorkflowEnvironment) -> None:
    """Who reviews what was made again sees what has changed, in words and signs, and what was asked
    for; nothing of a first round, and hostile content stays text.
    """
    async with serving(env, rounds) as client, inbox(client, rounds) as http:
        run = await client.start(rounds)
        await until(lambda: all_open(client, run, len(FIRST)))
        first = [read(await http.get(path(run, each))) for each in FIRST]
        for each in FIRST:
            await client.resolve(run, Reject(requirement_id=each, feedback="<b>second"))
        await until(lambda: is_open(client, run, SECOND))
        second = [read(await http.get(path(run, each))) for each in SECOND]
        for each in SECOND:
            await client.resolve(run, Confirm(requirement_id=each))
        await ended(client, run)
        await replays(client.handle(run), rounds)

    assert [[]] * 4 == [page.all("section", aria_labelledby="changes") for page in first]
    made, kept, heavy, turned = [page.one("section", aria_labelledby="changes") for page in second]
    for each in (made, turned):
        assert "Asked for in the round before: <b>second" in each.text
        assert "lines added 1, lines removed 1" in each.text
        assert ['-   "round": "first"'] == [line.raw for line in each.all("del")]
        assert ['+   "round": "<b>second"'] == [line.raw for line in each.all("ins")]
    assert "Nothing: it is the same as in the round before." in kept.text
    assert "too large to be compared: 40002 bytes" in heavy.text
    for page in second:
        assert not [each for each in every(page) if each.tag in ("b", "img")]
        assert 1 == len(page.all("script"))
    assert [HOSTILE, "<b>second", "1"] == leaves(second[0])


async def is_open(client: Any, run: str, ids: list[str]) -> bool:
    """Return whether exactly `ids` are open."""
    return sorted(ids) == sorted(each.id for each in (await client.requirements(run)).open)


def leaves(page: Element) -> list[str]:
    """Return what stands at the ends of the tree of a page."""
    spans = page.one("ul", class_="tree").all("span")
    return [each.raw for each in spans if each.attributes["class"] in ("text", "number")]
