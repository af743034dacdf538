"""An article is made easier to read round by round, as a reviewer wishes (seeds 000 and 001)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.article_refinement import measure, read_article, refine, wishes_after
from activities.article_refinement.rewriting import in_the_active, split, with_words, without_filler
from activities.article_refinement.wishes import NO_WISHES
from activities.article_refinement.words import PHRASES, WORDS
from temporal_hitl import Confirm, Edit, Reject, RunStatus
from temporal_hitl.requirements import AnyResolution
from tests.stage import ended, paused, replays, serving
from workflows.article_refinement import ROUNDS, article_refinement

SOURCE = Path(__file__).parent.parent / "activities" / "data" / "tool_library.md"

# The rules


def test_the_shipped_article_has_something_to_do() -> None:
    """The measures of the shipped article are those that its sentences have."""
    measures = read_article(str(SOURCE))["measures"]

    assert (13, 55, 16) == (
        measures["sentences"],
        measures["longest_sentence"],
        measures["passives"],
    )
    assert 61.9 == measures["reading_ease"]


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        (without_filler, "It is really very late. Actually, we go.", "It is late. We go."),
        (
            lambda text: with_words(text, {**PHRASES, **WORDS}),
            "Prior to noon an additional drill was utilized in order to help.",
            "Before noon an extra drill was used to help.",
        ),
        (
            lambda text: split(text, 8),
            "The fee is small; it is paid at the desk, but nobody ever asks for it.",
            "The fee is small. It is paid at the desk. But nobody ever asks for it.",
        ),
        (lambda text: split(text, 8), "A word and another word and another word and so on.", None),
        (
            in_the_active,
            "The first shelf was quickly built by two volunteers in May.",
            "Two volunteers quickly built the first shelf in May.",
        ),
        (in_the_active, "The fee was charged. It is made by hand.", None),
        (in_the_active, "The idea was had by a man who was liked by all.", None),
    ],
)
def test_the_rules(rule: Any, before: str, after: str | None) -> None:
    """Each rule does what it is for, leaves alone what it cannot do well, and says which it was."""
    text, said = rule(before)

    assert (after or before) == text.strip()
    assert bool(after) == bool(said)


def test_headings_and_paragraphs_stay() -> None:
    """What is no prose is left as it is, and paragraphs stay apart."""
    text = "# Really very utilized\n\nIt was utilized.\nReally.\n\nHe is Dr. Ada, e.g. here.\n"

    revised = refine(text)["text"]

    prose = "It was used.\n\nHe is Dr. Ada, e.g. here.\n"
    assert f"# Really very utilized\n\n{prose}" == revised


@pytest.mark.parametrize(
    ("feedback", "wanted"),
    [
        ("shorter sentences", ["sentences of at most 18 words"]),
        ("No more than 12 words, please", ["sentences of at most 12 words"]),
        ("no passive!", ["no passive"]),
        ("Avoid currently and the word 'really'", ["without 'currently'", "without 'really'"]),
        ("say help instead of assistance", ["'help' instead of 'assistance'"]),
        ("replace drill with machine.", ["'machine' instead of 'drill'"]),
        ("", ["sentences of at most 18 words"]),
    ],
)
def test_feedback_is_understood(feedback: str, wanted: list[str]) -> None:
    """What feedback asks for is understood from plain speech, and told back."""
    wishes, told = wishes_after(NO_WISHES, feedback)

    assert wanted == told
    assert wishes != NO_WISHES


def test_feedback_that_is_not_understood_is_told_so() -> None:
    """Feedback in which nothing is understood changes nothing, and says what would be."""
    wishes, told = wishes_after(NO_WISHES, "I do not like it")

    assert NO_WISHES == wishes
    assert ["nothing in the feedback is understood"] == [each[:37] for each in told]


def test_every_round_keeps_the_wishes_before_it() -> None:
    """The same text and the same wishes give the same article; wishes add up over the rounds."""

    def three() -> Any:
        first = refine(read_article(str(SOURCE))["text"])
        second = refine(first["text"], first, "no passive; avoid novel")
        return refine(second["text"], second, "shorter sentences")

    third = three()
    assert third == three()
    assert third["wishes"] == {
        "longest_sentence": 18,
        "active": True,
        "avoid": ["novel"],
        "replace": {},
    }
    assert "'novel' is still there: give a word for it" in third["rounds"][2]["left"]
    assert measure(third["text"]) == third["measures"]
    assert 80 < third["measures"]["reading_ease"]


# The pipeline

STARTED = Confirm(requirement_id="refinement")
SHORTER = "shorter sentences, no passive"


@pytest.mark.parametrize(
    ("answers", "rounds", "accepted"),
    [
        (
            [
                STARTED,
                Reject(requirement_id="refinement.1", feedback=SHORTER),
                Reject(requirement_id="refinement.2"),
                Confirm(requirement_id="refinement.3"),
            ],
            3,
            True,
        ),
        ([STARTED, Edit(requirement_id="refinement.1", output="Mine.\n")], 0, True),
        ([Reject(requirement_id="refinement", feedback="it is fine")], 0, False),
        (
            [STARTED, *(Reject(requirement_id=f"refinement.{n + 1}") for n in range(ROUNDS))],
            0,
            False,
        ),
    ],
    ids=["accepted", "edited", "not started", "never good"],
)
async def test_rounds_until_a_person_accepts(
    env: WorkflowEnvironment,
    tmp_path: Path,
    answers: list[AnyResolution],
    rounds: int,
    accepted: bool,
) -> None:
    """What a person accepts or edits is written; where nothing is, the article is as it was."""
    async with serving(env, article_refinement) as client:
        run = await client.start(article_refinement, {"source": str(SOURCE), "out": str(tmp_path)})
        for answer in answers:
            await paused(client, run)
            await client.resolve(run, answer)
        output = await ended(client, run)

    report = json.loads((tmp_path / "report.json").read_text())
    written = (tmp_path / SOURCE.name).read_text()
    assert RunStatus.completed is output.status, output.error
    assert (accepted, rounds) == (report["accepted"], len(report["rounds"]))
    assert accepted is (written != SOURCE.read_text())
    assert report["edited"] is (written == "Mine.\n")
    assert report["after"] == measure(written)
    if rounds:
        assert [SHORTER, ""] == [each["feedback"] for each in report["rounds"][1:]]
        assert report["before"]["reading_ease"] + 20 < report["after"]["reading_ease"]
        assert "Volunteers built the first shelf." in written
    await replays(client.handle(run), article_refinement)


async def test_a_text_that_is_not_there(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """A path that leads nowhere fails the run with a sentence that names it."""
    async with serving(env, article_refinement) as client:
        run = await client.start(article_refinement, str(tmp_path / "nowhere.md"))
        output = await ended(client, run)

    assert RunStatus.error is output.status
    assert "nowhere.md" in (output.error or "")
