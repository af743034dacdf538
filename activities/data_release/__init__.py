"""Release a dataset that holds personal data: load, profile, redact, release.

The steps between which a person decides. Each takes and returns what fits in a message (paths,
counts, digests); the rows stay in files. Each may be executed again after a crash: it writes
whole files and, for the same input, the same bytes.

    dataset = load("people.csv")
    profiled = profile(dataset["path"])                        # a person looks at this
    redaction = redact(profiled["path"], "out/draft/people.csv", sha256=profiled["sha256"])
    released = release(redaction, "out")                       # out/people.csv, out/report.json
"""

from activities.data_release.profiling import ColumnProfile
from activities.data_release.records import (
    Dataset,
    Profile,
    Redaction,
    Release,
    Report,
    Request,
)
from activities.data_release.redaction import METHODS, Method
from activities.data_release.steps import load, profile, read_request, redact, release

__all__ = [
    "METHODS",
    "ColumnProfile",
    "Dataset",
    "Method",
    "Profile",
    "Redaction",
    "Release",
    "Report",
    "Request",
    "load",
    "profile",
    "read_request",
    "redact",
    "release",
]
