"""Release a dataset that holds personal data: load, profile, draft, review, publish.

Owns the order and where a person decides; what each step does is in `activities.data_release`. Run
it with `make demo`, or serve it from a worker: `HitlPlugin(workflows=[data_release])`.

A person chooses how closely the file is looked at, says which columns are redacted how, sees a
sample of the draft (and edits it, or has it made again), and has the last word. Where the source
cannot be read they mend it, and have it tried again.
"""

import os
from datetime import timedelta

from temporalio.common import RetryPolicy

from activities.data_release import draft, load, profile, read_request, release_draft
from activities.data_release.records import Dataset, Draft, Profile, Release
from temporal_hitl import (
    OnError,
    OnReject,
    OnTimeout,
    Router,
    Step,
    StepInput,
    UserInputField,
    Workflow,
)

__all__ = ["FORM", "data_release"]

RETRIES = RetryPolicy(
    maximum_attempts=4,
    non_retryable_error_types=["FileNotFoundError", "IsADirectoryError", "ValueError"],
)
"""A full disk may have room again; a file that is not there, or not a table, stays so."""

FORM = [
    UserInputField("remove", "list", description="columns to leave out", required=False),
    UserInputField("mask", "list", description="columns to shorten to initials", required=False),
    UserInputField(
        "hash",
        "list",
        description="columns to replace by pseudonyms; the worker needs DATA_RELEASE_SALT",
        required=False,
    ),
    UserInputField("year", "list", description="columns of dates to cut", required=False),
    UserInputField("keep", "list", description="columns to release as they are", required=False),
]


def load_dataset(step_input: StepInput) -> Dataset:
    """Check that the source is a table, and tell its columns."""
    return load(read_request(step_input.input)["source"])


def profile_quickly(step_input: StepInput) -> Profile:
    """Say of each column what it holds and whether it is personal, from a hundred rows."""
    return profile(read_request(step_input.input)["source"], "quick")


def profile_deeply(step_input: StepInput) -> Profile:
    """Say the same from all rows, and count those that can still be told apart."""
    return profile(read_request(step_input.input)["source"], "deep")


def redact_dataset(step_input: StepInput) -> Draft:
    """Write a draft as the form and the feedback say; refuses a source that changed meanwhile."""
    told = step_input.additional_data
    return draft(
        read_request(step_input.input),
        step_input.get_step_content("profile"),
        # A draft that could not be made is made again from the suggestion, not from that form.
        {} if "previous_output" in told else told.get("user_input"),
        rejected=told.get("previous_output"),
        feedback=told.get("rejection_feedback") or "",
        salt=salt(),
    )


def publish_dataset(step_input: StepInput) -> Release:
    """Make the reviewed draft again, check it for leaks, then write the release and its report."""
    drafted = step_input.get_step_output("redact")
    if drafted is None or drafted.content is None:
        failed = None if drafted is None else drafted.error
        raise ValueError(f"there is no draft to publish: {failed or 'it was left out'}")
    request, profiled = (
        read_request(step_input.input),
        step_input.get_step_content("profile"),
    )
    return release_draft(request, profiled, drafted.content, salt=salt())


def salt() -> str | None:
    """Return the worker's secret for pseudonyms: it must not be in the run, whose history stays."""
    return os.environ.get("DATA_RELEASE_SALT")


data_release = Workflow(
    name="data_release",
    description="Release a dataset that holds personal data",
    steps=[
        Step(
            "load",
            load_dataset,
            description="Is it a table?",
            retry_policy=RETRIES,
            on_error=OnError.pause,
            max_error_retries=5,
        ),
        Router(
            [
                Step("quick", profile_quickly, on_error=OnError.fail, retry_policy=RETRIES),
                Step("deep", profile_deeply, on_error=OnError.fail, retry_policy=RETRIES),
            ],
            name="profile",
            description="What is personal?",
            requires_user_input=True,
            user_input_message="{rows} rows: profile them quickly (a hundred) or deeply (all)?",
            on_reject=OnReject.cancel,
        ),
        Step(
            "redact",
            redact_dataset,
            description="Draft without what is personal",
            retry_policy=RETRIES,
            requires_user_input=True,
            user_input_message="Which columns to redact, and how? What you name nowhere: "
            "{suggestion}",
            user_input_schema=FORM,
            requires_output_review=True,
            output_review_message="Is the draft as it should be? You may edit its columns and note,"
            " or reject it and say what else to redact.",
            on_reject=OnReject.retry,
            hitl_max_retries=5,
        ),
        Step(
            "publish",
            publish_dataset,
            description="Check, then write",
            on_error=OnError.fail,
            retry_policy=RETRIES,
            requires_confirmation=True,
            confirmation_message="Publish the draft of {rows} rows, if it passes the leak check?",
            on_reject=OnReject.cancel,
            hitl_timeout=timedelta(days=7),
            on_timeout=OnTimeout.cancel,
        ),
    ],
)
