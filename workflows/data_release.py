"""Release a dataset that holds personal data: load, profile, a person confirms, redact, publish.

Owns the order and the gate; what each step does is in `activities.data_release`. Run it with
`make demo`, or serve it from a worker: `HitlPlugin(workflows=[data_release])`.
"""

from datetime import timedelta

from temporalio.common import RetryPolicy

from activities.data_release import load, profile, read_request, redact, release
from activities.data_release.records import Dataset, Profile, Redaction, Release
from temporal_hitl import OnError, OnReject, OnTimeout, Step, StepInput, Workflow

__all__ = ["data_release"]

RETRIES = RetryPolicy(
    maximum_attempts=4,
    non_retryable_error_types=["FileNotFoundError", "IsADirectoryError", "ValueError"],
)
"""A full disk may have room again; a file that is not there, or not a table, stays so."""


def load_dataset(step_input: StepInput) -> Dataset:
    """Check that the source is a table, and fix which version of it this run is about."""
    return load(read_request(step_input.input)["source"])


def profile_dataset(step_input: StepInput) -> Profile:
    """Say of each column what it holds and whether it is personal."""
    return profile(read_request(step_input.input)["source"])


def redact_dataset(step_input: StepInput) -> Redaction:
    """Write a draft without the personal columns; refuses a source that changed meanwhile."""
    request = read_request(step_input.input)
    confirmed = step_input.get_step_content("profile")
    return redact(request["source"], request["draft"], sha256=confirmed["sha256"])


def publish_dataset(step_input: StepInput) -> Release:
    """Check the draft for leaks by reading it back, then write the release and its report."""
    return release(step_input.previous_step_content, read_request(step_input.input)["out"])


data_release = Workflow(
    name="data_release",
    description="Release a dataset that holds personal data",
    steps=[
        Step(
            "load",
            load_dataset,
            description="Is it a table?",
            on_error=OnError.fail,
            retry_policy=RETRIES,
        ),
        Step(
            "profile",
            profile_dataset,
            description="What is personal?",
            on_error=OnError.fail,
            retry_policy=RETRIES,
        ),
        Step(
            "redact",
            redact_dataset,
            description="Draft without the personal columns",
            on_error=OnError.fail,
            retry_policy=RETRIES,
            requires_confirmation=True,
            confirmation_message="Redact the personal columns and release the rest?",
            on_reject=OnReject.cancel,
            hitl_timeout=timedelta(days=7),
            on_timeout=OnTimeout.cancel,
        ),
        Step(
            "publish",
            publish_dataset,
            description="Check, then write",
            on_error=OnError.fail,
            retry_policy=RETRIES,
        ),
    ],
)
