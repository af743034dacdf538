"""When a node asks a person: both spellings of it, flat keywords and `human_review=`, as one
`HumanReview` that fits the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypedDict

from temporal_hitl._arguments import Seconds
from temporal_hitl._options import ActivityOptions
from temporal_hitl.errors import DefinitionError
from temporal_hitl.review import HumanReview, OnReject, OnTimeout


class ReviewOptions(TypedDict, total=False):
    """When a person is asked about a node, as keywords (seeds 000 and 002)."""

    requires_confirmation: bool | None
    """Ask before running."""
    confirmation_message: str | None
    """The question; one that names the node unless given."""
    on_reject: OnReject | str | None
    """What a rejection does: `skip` unless said otherwise, and `else` for a Condition."""
    hitl_timeout: Seconds | None
    """How long the question is open; for ever unless given."""
    on_timeout: OnTimeout | str | None
    """What the deadline does; `cancel` unless said otherwise."""
    strict_deadline: bool | None
    """Whether an affirmative answer that is read after the deadline is refused."""
    human_review: HumanReview | None
    """All of this as one object instead (seed 001)."""


class NodeOptions(ActivityOptions, ReviewOptions, total=False):
    """What a node takes of both kinds."""


_FLAT = {name: name for name in ReviewOptions.__annotations__ if name != "human_review"}
_FLAT["hitl_timeout"] = "timeout"


def activity_options(options: Mapping[str, Any]) -> ActivityOptions:
    """Return what is left of `options` when those of a review are taken out."""
    left = {
        name: each for name, each in options.items() if name not in ReviewOptions.__annotations__
    }
    return ActivityOptions(**left)  # type: ignore[typeddict-item]


def review_of(
    where: str,
    options: Mapping[str, Any],
    *,
    marks: Mapping[str, Any] = MappingProxyType({}),
    rejected: OnReject = OnReject.skip,
) -> HumanReview:
    """Return when the node `where` asks.

    `marks` are what its function says of itself, which flat keywords override and `human_review`
    replaces; `rejected` is what a rejection does where neither spelling says it.

    Raises:
        DefinitionError: both spellings at once, a value that is none, or a policy that means
            nothing for this node.
    """
    review = options.get("human_review")
    flat = {field: options[name] for name, field in _FLAT.items() if options.get(name) is not None}
    if review is not None and not isinstance(review, HumanReview):
        raise DefinitionError(f"{where}: human_review={review!r} is no HumanReview")
    if review is not None and flat:
        raise DefinitionError(
            f"{where}: {', '.join(flat)} and human_review= say the same thing twice; keep one"
        )
    said = (
        {**marks, **flat}
        if review is None
        else {name: getattr(review, name) for name in review.model_fields_set}
    )
    try:
        fitting = HumanReview(**{"on_reject": rejected, **said})
    except DefinitionError as wrong:
        raise DefinitionError(f"{where}: {wrong}") from None
    _check_reject(where, fitting.on_reject, has_else=rejected is OnReject.else_branch)
    return fitting


def _check_reject(where: str, on_reject: OnReject, *, has_else: bool) -> None:
    if on_reject is OnReject.retry:
        raise DefinitionError(
            f"{where}: on_reject='retry' has nothing to do again before the node has run;"
            " use 'skip' or 'cancel'"
        )
    if on_reject is OnReject.else_branch and not has_else:
        raise DefinitionError(
            f"{where}: on_reject='else' needs an else-branch, which only a Condition has"
        )
