"""When a node asks a person: both spellings of it, flat keywords and `human_review=`, as one
`HumanReview` that fits the node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypedDict

from temporal_hitl._arguments import Seconds
from temporal_hitl._forms import Form, FormLike
from temporal_hitl._options import ActivityOptions
from temporal_hitl.errors import DefinitionError
from temporal_hitl.review import (
    FORM_WITHOUT_ASKING,
    HumanReview,
    OnError,
    OnReject,
    OnTimeout,
)


class ReviewOptions(TypedDict, total=False):
    """When a person is asked about a node, as keywords (seeds 000 and 002).

    What each means, and which primitive supports it, is told at `HumanReview`.
    """

    requires_confirmation: bool | None
    confirmation_message: str | None
    requires_user_input: bool | None
    user_input_message: str | None
    user_input_schema: FormLike | None
    allow_multiple_selections: bool | None
    requires_output_review: bool | Callable[..., Any] | None
    output_review_message: str | None
    requires_iteration_review: bool | None
    iteration_review_message: str | None
    on_reject: OnReject | str | None
    """What a rejection does: `skip` unless said otherwise, and `else` for a Condition."""
    on_error: OnError | str | None
    hitl_max_retries: int | None
    """`HumanReview.max_retries`: how often an output is made again because it was rejected."""
    max_error_retries: int | None
    hitl_timeout: Seconds | None
    """`HumanReview.timeout`: how long each question is open; for ever unless given."""
    on_timeout: OnTimeout | str | None
    strict_deadline: bool | None
    roles: Sequence[str] | None
    """Who may answer, where not everybody may; only answers that are signed count then."""
    notify: Sequence[str] | None
    """Who is told: names of subscribers. The pipeline's unless given, nobody with an empty list."""
    notify_before: Seconds | None
    human_review: HumanReview | None
    """All of this as one object instead (seed 001)."""


class NodeOptions(ActivityOptions, ReviewOptions, total=False):
    """What a node takes of both kinds."""


_RENAMED = {"hitl_timeout": "timeout", "hitl_max_retries": "max_retries"}
_FLAT = {
    name: _RENAMED.get(name, name)
    for name in ReviewOptions.__annotations__
    if name != "human_review"
}
_SPELLED_FLAT = {field: flat for flat, field in _FLAT.items()}

EVERYWHERE = frozenset(
    {
        "requires_confirmation",
        "confirmation_message",
        "on_reject",
        "timeout",
        "on_timeout",
        "strict_deadline",
        "roles",
        "notify",
        "notify_before",
    }
)
"""What every primitive supports; the sets below say what else some do."""
FORM = frozenset({"requires_user_input", "user_input_message", "user_input_schema"})
ROUTE = frozenset({"requires_user_input", "user_input_message", "allow_multiple_selections"})
OUTPUT = frozenset({"requires_output_review", "output_review_message", "max_retries"})
ITERATION = frozenset({"requires_iteration_review", "iteration_review_message"})
FAILURE = frozenset({"on_error", "max_error_retries"})


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
    supports: Collection[str],
    marks: Mapping[str, Any] = MappingProxyType({}),
    rejected: OnReject = OnReject.skip,
) -> HumanReview:
    """Return when the node `where` asks, which supports `supports` beside `EVERYWHERE`.

    `marks` are what its function says of itself, which flat keywords override and `human_review`
    replaces; `rejected` is what a rejection does where neither spelling says it.

    Raises:
        DefinitionError: both spellings at once, a value that is none, or what means nothing for
            this node.
    """
    review = options.get("human_review")
    flat = {field: options[name] for name, field in _FLAT.items() if options.get(name) is not None}
    said = {**marks, **flat} if review is None else {**_said(where, review, flat), **flat}
    try:
        fitting = HumanReview(**{"on_reject": rejected, **said})
    except DefinitionError as wrong:
        raise DefinitionError(f"{where}: {_as_spelled(str(wrong), flat)}") from None
    _check_support(where, fitting, supports, flat)
    if fitting.user_input_schema is not None and "requires_user_input" not in said:
        raise DefinitionError(f"{where}: {FORM_WITHOUT_ASKING}")
    _check_failure(where, fitting)
    _check_roles(where, fitting)
    _check_reject(where, fitting, has_else=rejected is OnReject.else_branch)
    _check_approve(where, fitting, supports)
    return fitting


def _said(where: str, review: Any, flat: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(review, HumanReview):
        raise DefinitionError(f"{where}: human_review={review!r} is no HumanReview")
    # What follows a failure is not only a review's business, so it may stand beside one.
    twice = [field for field in flat if field not in FAILURE or field in review.model_fields_set]
    if twice:
        raise DefinitionError(
            f"{where}: {', '.join(_SPELLED_FLAT[field] for field in twice)} and human_review= say"
            " the same thing twice; keep one"
        )
    return {name: getattr(review, name) for name in review.model_fields_set}


def _as_spelled(told: str, flat: Mapping[str, Any]) -> str:
    for field in flat:
        told = told.replace(f"HumanReview({field}=...)", f"{_SPELLED_FLAT[field]}=...")
    return told


def _check_support(
    where: str, review: HumanReview, supports: Collection[str], flat: Mapping[str, Any]
) -> None:
    known = EVERYWHERE.union(supports)
    for name, field in HumanReview.model_fields.items():
        if name in known or getattr(review, name) == field.default:
            continue
        spelled = f"{_SPELLED_FLAT[name]}=..." if name in flat else f"HumanReview({name}=...)"
        there = ", ".join(each for each in HumanReview.model_fields if each in known)
        raise DefinitionError(
            f"{where}: {spelled} is not supported on {where.split()[0]}. Supported: {there}"
        )


def _check_failure(where: str, review: HumanReview) -> None:
    if review.max_error_retries is not None and review.on_error is not OnError.pause:
        raise DefinitionError(
            f"{where}: max_error_retries is how often a person may try again, which needs"
            " on_error='pause'"
        )


def _check_roles(where: str, review: HumanReview) -> None:
    asks = review.requires_confirmation or review.requires_user_input or review.reviews
    if review.roles and not asks and review.on_error is not OnError.pause:
        raise DefinitionError(
            f"{where}: roles={list(review.roles)!r} say who answers, and nobody is asked anything"
        )


def _check_reject(where: str, review: HumanReview, *, has_else: bool) -> None:
    if review.on_reject is OnReject.retry and not review.reviews:
        raise DefinitionError(
            f"{where}: on_reject='retry' has nothing to do again before the node has run;"
            " use 'skip' or 'cancel', or have its output reviewed"
        )
    if review.on_reject is OnReject.else_branch and not has_else:
        raise DefinitionError(
            f"{where}: on_reject='else' needs an else-branch, which only a Condition has"
        )


def _check_approve(where: str, review: HumanReview, supports: Collection[str]) -> None:
    if review.on_timeout is not OnTimeout.approve:
        return
    cannot = None
    if review.on_error is OnError.pause:
        cannot = "decide about an error"
    elif review.requires_user_input and "allow_multiple_selections" in supports:
        cannot = "choose a route"
    elif review.requires_user_input and (needed := Form.of(review.user_input_schema, "").required):
        cannot = f"fill in {', '.join(needed)}"
    if cannot is not None:
        raise DefinitionError(
            f"{where}: on_timeout='approve' cannot {cannot}; use 'skip' or 'cancel'"
        )
