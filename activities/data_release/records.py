"""What the steps hand to each other: small, plain and JSON all through."""

from typing import Literal, TypedDict

from activities.data_release.profiling import ColumnProfile
from activities.data_release.redaction import Method
from activities.data_release.verification import SinglingOut


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
    """What the columns of one version of a file hold; `sha256` says which version."""

    path: str
    sha256: str
    rows: int
    columns: dict[str, ColumnProfile]


class Redaction(TypedDict):
    """A redacted draft and what it was made from; everything that `release` needs."""

    source: str
    source_sha256: str
    path: str
    sha256: str
    bytes: int
    rows: int
    columns: dict[str, Literal["keep"] | Method]
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
    """The content of `report.json`."""

    source: FileFacts
    released: FileFacts
    columns: dict[str, Literal["keep"] | Method]
    personal_kept: list[str]
    check: Check
    singled_out: SinglingOut


class Release(TypedDict):
    """Where the released file and its report lie, and what the report says."""

    path: str
    report_path: str
    report: Report
