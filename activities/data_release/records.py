"""What the steps hand to each other: small, plain and JSON all through."""

from typing import Literal, TypedDict

from activities.data_release.profiling import ColumnProfile
from activities.data_release.redaction import Method
from activities.data_release.verification import SinglingOut

Depth = Literal["quick", "deep"]
Treatment = Literal["keep"] | Method


class Request(TypedDict):
    """Where a run reads, drafts and releases."""

    source: str
    draft: str
    out: str


class Dataset(TypedDict):
    """The facts of a CSV file that can be used."""

    path: str
    rows: int
    columns: list[str]
    sha256: str
    bytes: int


class Profile(TypedDict):
    """What the columns of one version of a file hold; `sha256` says which version.

    `suggested` is the method for each personal column, and `suggestion` says it in words. Only a
    deep profile counts `singled_out`: the rows that still differ from all others after that.
    """

    path: str
    sha256: str
    rows: int
    depth: Depth
    looked_at: int
    columns: dict[str, ColumnProfile]
    suggested: dict[str, Method]
    suggestion: str
    singled_out: SinglingOut | None


class Redaction(TypedDict):
    """A redacted draft and what it was made from; everything that `release` needs."""

    source: str
    source_sha256: str
    path: str
    sha256: str
    bytes: int
    rows: int
    columns: dict[str, Treatment]
    personal_kept: list[str]
    singled_out: SinglingOut


class Draft(TypedDict):
    """A redacted draft as a reviewer sees it.

    What they may change is `columns` and `note`; everything else follows from the columns. `sample`
    holds rows of the draft, without the values of `personal_kept`. `problems` are what would keep
    it from being released, and `changes` are what feedback was taken to ask for.
    """

    path: str
    rows: int
    columns: dict[str, Treatment]
    note: str
    sample: list[dict[str, str]]
    problems: list[str]
    changes: list[str]
    personal_kept: list[str]
    singled_out: SinglingOut


class FileFacts(TypedDict):
    """One file as the report names it: without its folder, so that reports can be compared."""

    name: str
    rows: int
    columns: int
    sha256: str
    bytes: int


class Check(TypedDict):
    """How many telling values were looked for in the released file; none was found."""

    passed: bool
    values_looked_for: int


class Report(TypedDict):
    """The content of `report.json`; `note` is the reviewer's."""

    note: str
    source: FileFacts
    released: FileFacts
    columns: dict[str, Treatment]
    personal_kept: list[str]
    check: Check
    singled_out: SinglingOut


class Release(TypedDict):
    """Where the released file and its report lie, and what the report says."""

    path: str
    report_path: str
    report: Report
