"""The draft between a person's choice and the release: made, made again, edited, released.

    profiled = profile("people.csv")
    first = draft(request, profiled, form={"mask": ["name"]})
    second = draft(request, profiled, rejected=first, feedback="remove city too")
    released = release_draft(request, profiled, second)

Nothing that a reviewer edits is believed beyond the columns and the note: the release is made from
the source again, and checked.
"""

from collections.abc import Mapping
from typing import cast

from activities.data_release.choosing import by_edit, by_feedback, by_form
from activities.data_release.records import Draft, Profile, Redaction, Release, Request, Treatment
from activities.data_release.steps import in_words, methods_of, problems, redact, release
from activities.data_release.tables import Table, read_table, spread

SAMPLE = 5
NOT_SHOWN = "(personal, kept, not shown)"


def draft(
    request: Request,
    profiled: Profile,
    form: Mapping[str, object] | None = None,
    *,
    rejected: Draft | None = None,
    feedback: str = "",
    salt: str | None = None,
) -> Draft:
    """Write a draft as the form says, or as one that was rejected with what feedback changes.

    The methods of columns that neither names are those that the profile suggests.
    """
    columns = list(profiled["columns"])
    before = (
        rejected["columns"] if rejected else by_form(profiled["suggested"], columns, form or {})
    )
    asked = by_feedback(feedback, columns)
    redaction = _redacted(request, profiled, {**before, **asked}, salt)
    return Draft(
        path=redaction["path"],
        rows=redaction["rows"],
        columns=redaction["columns"],
        note=rejected["note"] if rejected else "",
        sample=_sample(read_table(redaction["path"]), redaction),
        problems=problems(redaction),
        changes=_changes(before, asked, feedback),
        personal_kept=redaction["personal_kept"],
        singled_out=redaction["singled_out"],
    )


def release_draft(
    request: Request, profiled: Profile, reviewed: object, salt: str | None = None
) -> Release:
    """Release the draft as it was reviewed, edited or not; see `release` for what stops it."""
    given: Mapping[str, object] = (
        cast("Mapping[str, object]", reviewed) if isinstance(reviewed, Mapping) else {}
    )
    columns = by_edit(given.get("columns"), list(profiled["columns"]))
    redaction = _redacted(request, profiled, columns, salt)
    return release(redaction, request["out"], note=str(given.get("note") or ""))


def _redacted(
    request: Request, profiled: Profile, columns: Mapping[str, Treatment], salt: str | None
) -> Redaction:
    return redact(
        request["source"],
        request["draft"],
        methods_of(columns),
        salt=salt,
        sha256=profiled["sha256"],
    )


def _sample(table: Table, redaction: Redaction) -> list[dict[str, str]]:
    hidden = dict.fromkeys(redaction["personal_kept"], NOT_SHOWN)
    rows = [dict(zip(table.columns, row, strict=True)) for row in spread(table, SAMPLE).rows]
    return [{**row, **hidden} for row in rows]


def _changes(
    before: Mapping[str, Treatment], asked: Mapping[str, Treatment], feedback: str
) -> list[str]:
    changed: dict[str, Treatment] = {
        name: each for name, each in asked.items() if before[name] != each
    }
    kept = [name for name, each in changed.items() if each == "keep"]
    said = [in_words(methods_of(changed))] if methods_of(changed) else []
    said += [f"keep {', '.join(kept)}"] if kept else []
    if feedback and not said:
        return [f"nothing: {'it is so already' if asked else 'the feedback names no column'}"]
    return said
