"""The reviewer at a terminal: one function per kind of question, asked until the answer fits."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from temporal_hitl.drafts import AnyDraft, ErrorRequirement, StepRequirement


class Terminal:
    """Asks whoever sits at the terminal; their name once."""

    def __init__(self) -> None:
        self._name = ""

    def answer(self, draft: AnyDraft) -> None:
        """Fill in one draft."""
        print(f"\nWaits for a person: {draft.message}  [{draft.id}]")
        if draft.timeout_at is not None:
            print(f"({draft.on_timeout} at {draft.timeout_at:%Y-%m-%d %H:%M} UTC)")
        while not draft.is_resolved:
            try:
                KINDS[draft.requirement.kind](draft)
            except ValueError as refused:
                print(f"That does not do: {refused}")
            if draft.missing_values:
                print(f"Still missing: {', '.join(draft.missing_values)}")
        while not self._name:
            self._name = input("Your name: ").strip()
        draft.resolved_by = self._name


def confirmation(draft: StepRequirement) -> None:
    """Yes or no."""
    if _one_of("Confirm? (y/n): ", "yes", "no") == "yes":
        draft.confirm()
    else:
        draft.reject(feedback=_text("Why not? "))


def user_input(draft: StepRequirement) -> None:
    """The fields of the form, one after another; what is left empty is not sent."""
    if _one_of("Fill in the form? (y/n): ", "yes", "no") == "no":
        draft.reject(feedback=_text("Why not? "))
        return
    form = cast("Mapping[str, Any]", draft.form or {})
    required = form.get("required", [])
    values: dict[str, Any] = {}
    for name, field in form.get("properties", {}).items():
        answer = input(f"  {name}{_hint(field, optional=name not in required)}: ").strip()
        if answer:
            values[name] = _value(answer, field)
    draft.set_user_input(**values)


def route(draft: StepRequirement) -> None:
    """One of the choices, or several where that is allowed."""
    choices = ", ".join(draft.available_choices or ())
    several = " (several with commas)" if draft.allow_multiple_selections else ""
    answer = _text(f"Choose {choices}{several}, or Enter for none: ")
    if answer is None:
        draft.reject(feedback=_text("Why none? "))
    else:
        draft.select(*(each.strip() for each in answer.split(",")))


def output_review(draft: StepRequirement) -> None:
    """Accept what was produced, edit it, or reject it and say why."""
    match _one_of("Accept, edit or reject? (a/e/r): ", "accept", "edit", "reject"):
        case "accept":
            draft.confirm()
        case "edit":
            draft.edit(_edited(None if draft.step_output is None else draft.step_output.content))
        case _:
            draft.reject(feedback=_text("What should be different? "))


def iteration_review(draft: StepRequirement) -> None:
    """Accept the iteration, edit it, or have another one made."""
    output_review(draft)


def error(draft: ErrorRequirement) -> None:
    """Try again, or go on without."""
    print(f"{draft.error_type}: {draft.error_message} ({draft.attempts} attempts so far)")
    if _one_of("Retry or skip? (r/s): ", "retry", "skip") == "retry":
        draft.retry()
    else:
        draft.skip()


def tool_confirmation(draft: StepRequirement) -> None:
    """Approve a tool's call, with other arguments perhaps, or reject it and say why."""
    match _one_of("Approve, edit or reject? (a/e/r): ", "approve", "edit", "reject"):
        case "approve":
            draft.confirm()
        case "edit":
            name = _text("Which argument? ")
            draft.edit_arguments(**({name: _json(input("New value: "))} if name else {}))
        case _:
            draft.reject(feedback=_text("Why not? "))


def tool_execution(draft: StepRequirement) -> None:
    """What a tool gave that ran outside."""
    draft.report(_json(input("Its result (text, JSON, or @FILE): ")))


def tool_outcome(draft: StepRequirement) -> None:
    """What became of a call that nobody knows of."""
    match _one_of("Report, retry or skip? (rep/ret/s): ", "report", "retry", "skip"):
        case "report":
            tool_execution(draft)
        case "retry":
            draft.retry()
        case _:
            draft.skip()


KINDS: dict[str, Callable[[Any], None]] = {
    "confirmation": confirmation,
    "user_input": user_input,
    "route": route,
    "output_review": output_review,
    "iteration_review": iteration_review,
    "error": error,
    "tool_confirmation": tool_confirmation,
    "tool_input": user_input,
    "question": user_input,
    "tool_execution": tool_execution,
    "tool_outcome": tool_outcome,
}


def _one_of(question: str, *answers: str) -> str:
    """Ask until the answer is one of `answers`, or the beginning of one."""
    while True:
        given = input(question).strip().lower()
        fitting = [answer for answer in answers if given and answer.startswith(given)]
        if fitting:
            return fitting[0]


def _text(question: str) -> str | None:
    return input(question).strip() or None


def _hint(field: Mapping[str, Any], *, optional: bool) -> str:
    said = [field.get("description"), " or ".join(map(str, _choices(field)))]
    said += ["several with commas" if _kind(field) == "array" else None]
    there = field.get("default")
    said += [f"Enter for {there}" if there is not None else "Enter for none" if optional else None]
    hint = "; ".join(filter(None, said))
    return f" ({hint})" if hint else ""


def _value(answer: str, field: Mapping[str, Any]) -> Any:
    """Return what was typed as what the field holds; text and choices as they are."""
    kind = _kind(field)
    if kind == "array":
        return [each.strip() for each in answer.split(",") if each.strip()]
    return answer if kind in (None, "string") else _json(answer)


def _kind(field: Mapping[str, Any]) -> str | None:
    options: list[Mapping[str, Any]] = [field, *field.get("anyOf", ())]
    kinds = [each["type"] for each in options if each.get("type", "null") != "null"]
    return kinds[0] if kinds else None


def _choices(field: Mapping[str, Any]) -> list[Any]:
    options: list[Mapping[str, Any]] = [field, *field.get("anyOf", ())]
    return [value for each in options for value in each.get("enum", ())]


def _edited(output: Any) -> Any:
    """Return the output with one part of it, or all of it, as it is typed."""
    if not isinstance(output, dict):
        return _json(input("New output: "))
    changed: dict[str, Any] = json.loads(json.dumps(output))
    names = ", ".join(changed)
    place = _text(f"Which part ({names}; a part of a part with a dot; Enter for all)? ")
    new = _json(input("New value (text, JSON, or @FILE): "))
    if place is None:
        return new
    *outer, last = place.split(".")
    target: dict[str, Any] = changed
    for name in outer:
        target = target[name] if isinstance(target.get(name), dict) else {}
    if last not in target:
        raise ValueError(f"there is no part {place!r}; there are {names}")
    target[last] = new
    return changed


def _json(typed: str) -> Any:
    if typed.startswith("@"):
        return Path(typed[1:].strip()).read_text(encoding="utf-8")
    try:
        return json.loads(typed)
    except ValueError:
        return typed
