"""Drafts of decisions: a program fills one in for each question that is open, and `continue_run`
sends what was decided (seed 002).

Owns the words in which the seeds' programs read a question and answer it. A draft holds a
resolution or none, so a later decision leaves nothing of an earlier one; each is checked as the run
will check it, against the question as it was told, and what does not fit is not kept.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from temporal_hitl.drafts._asked import OF_AGENTS
from temporal_hitl.drafts._errors import ErrorRequirement
from temporal_hitl.drafts._steps import StepRequirement
from temporal_hitl.requirements import AnyRequirement, ErrorDecision

__all__ = ["OF_AGENTS", "AnyDraft", "Drafts", "ErrorRequirement", "StepRequirement"]

AnyDraft: TypeAlias = StepRequirement | ErrorRequirement


class Drafts:
    """The drafts for what one run asks: one for each question, the same object each time.

    Equal to any other: what somebody is about to decide is no part of how a run stands.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], AnyDraft] = {}

    def of(self, asked: AnyRequirement, run_id: str) -> AnyDraft:
        """Return the draft of the answer to what the run `run_id` asks."""
        key = asked.id, asked.digest
        if key not in self._made:
            is_error = isinstance(asked, ErrorDecision)
            made = ErrorRequirement(asked, run_id) if is_error else StepRequirement(asked, run_id)
            self._made[key] = made
        return self._made[key]

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Drafts)

    __hash__ = None  # type: ignore[assignment]
