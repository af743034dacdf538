"""What the steps hand to each other: an article is small enough to travel in a message."""

from typing import TypedDict

from activities.article_refinement.measuring import Measures
from activities.article_refinement.wishes import Wishes


class Request(TypedDict):
    """Which text a run is about, and where the result goes."""

    source: str
    out: str


class Article(TypedDict):
    """A text as it was read, and how hard it is to read."""

    name: str
    sha256: str
    text: str
    measures: Measures


class Round(TypedDict):
    """What one round was told, what it did, and what it could not do."""

    feedback: str
    wanted: list[str]
    done: list[str]
    left: list[str]
    measures: Measures


class Revision(TypedDict):
    """A text after a round; a reviewer may change `text`. `rounds` are all so far, in order."""

    text: str
    measures: Measures
    wishes: Wishes
    rounds: list[Round]


class Report(TypedDict):
    """The content of `report.json`; `accepted` is False where the text is as it was."""

    source: str
    source_sha256: str
    sha256: str
    accepted: bool
    edited: bool
    before: Measures
    after: Measures
    rounds: list[Round]


class Written(TypedDict):
    """Where the article and its report lie, and what the report says."""

    path: str
    report_path: str
    report: Report
