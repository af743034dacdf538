"""Release a dataset that holds personal data: load, profile, draft, release.

The steps between which a person decides. Each takes and returns what fits in a message (paths,
counts, digests); the rows stay in files. Each may be executed again after a crash: it writes
whole files and, for the same input, the same bytes.

    request = read_request("people.csv")
    dataset = load(request["source"])
    profiled = profile(dataset["path"], "deep")                # a person looks at this
    drafted = draft(request, profiled, {"mask": ["name"]})     # and at this
    released = release_draft(request, profiled, drafted)       # released/people/people.csv

`redact` and `release` are the two below, for programs without a person.
"""

from activities.data_release.choosing import TREATMENTS, by_edit, by_feedback, by_form
from activities.data_release.drafting import draft, release_draft
from activities.data_release.profiling import ColumnProfile
from activities.data_release.records import (
    Dataset,
    Depth,
    Draft,
    Profile,
    Redaction,
    Release,
    Report,
    Request,
    Treatment,
)
from activities.data_release.redaction import METHODS, Method
from activities.data_release.steps import load, profile, read_request, redact, release

__all__ = [
    "METHODS",
    "TREATMENTS",
    "ColumnProfile",
    "Dataset",
    "Depth",
    "Draft",
    "Method",
    "Profile",
    "Redaction",
    "Release",
    "Report",
    "Request",
    "Treatment",
    "by_edit",
    "by_feedback",
    "by_form",
    "draft",
    "load",
    "profile",
    "read_request",
    "redact",
    "release",
    "release_draft",
]
