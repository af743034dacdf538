"""Make an article easier to read, round by round, until a person accepts it (seeds 000 and 001).

A person starts the loop, sees each round's text with what was done and what could not be, and
accepts it, edits it, or rejects it and says what the next round should do. The rules that revise
the text are in `activities.article_refinement`; they give the same text for the same wishes.
"""

from typing import Any

from temporalio.common import RetryPolicy

from activities.article_refinement import (
    Article,
    Revision,
    Written,
    read_request,
    refine,
    write_article,
)
from activities.article_refinement import read_article as read
from temporal_hitl import (
    HumanReview,
    Loop,
    OnError,
    OnReject,
    Step,
    StepInput,
    StepOutput,
    Workflow,
)

__all__ = ["article_refinement"]

RETRIES = RetryPolicy(
    maximum_attempts=4, non_retryable_error_types=["FileNotFoundError", "ValueError"]
)
ROUNDS = 5


def read_text(step_input: StepInput) -> Article:
    """Read the article and measure it."""
    return read(read_request(step_input.input)["source"])


def refine_text(step_input: StepInput) -> Revision:
    """Do one round on the article, or on the round before as the reviewer's feedback says."""
    told: dict[str, Any] = step_input.additional_data
    before: Revision | None = told.get("previous_output")
    text = before["text"] if before else step_input.get_step_content("read")["text"]
    return refine(text, before, told.get("rejection_feedback") or "")


def write_text(step_input: StepInput) -> Written:
    """Write what was accepted; where nothing was, the article as it was."""
    refined = step_input.get_step_output("refinement") or StepOutput()
    return write_article(
        read_request(step_input.input),
        step_input.get_step_content("read"),
        refined.content,
        edited=refined.edited,
    )


article_refinement = Workflow(
    name="article_refinement",
    description="Make an article easier to read",
    steps=[
        Step("read", read_text, on_error=OnError.fail, retry_policy=RETRIES),
        Loop(
            [Step("refine", refine_text, on_error=OnError.fail, retry_policy=RETRIES)],
            name="refinement",
            description="Round by round",
            max_iterations=ROUNDS,
            forward_iteration_output=True,
            human_review=HumanReview(
                requires_confirmation=True,
                confirmation_message=f"Refine {{name}}, in at most {ROUNDS} rounds?",
                requires_iteration_review=True,
                iteration_review_message="Round {iteration}: is the article good now? If not, say"
                " what to do: 'shorter sentences', 'no passive', 'avoid really',"
                " 'say help instead of assistance'.",
                on_reject=OnReject.retry,
            ),
        ),
        Step("write", write_text, on_error=OnError.fail, retry_policy=RETRIES),
    ],
)
