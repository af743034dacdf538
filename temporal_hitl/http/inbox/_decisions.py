"""The page of one requirement: what is asked, and the forms that answer it."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response

from temporal_hitl.http._access import Role
from temporal_hitl.http._problems import FieldProblem, Refused, refused, told
from temporal_hitl.http._requirements import RequirementId, look_up
from temporal_hitl.http._resolutions import decide
from temporal_hitl.http._runs import RunId
from temporal_hitl.http._service import key_of
from temporal_hitl.http.inbox._comparing import Compared, compared
from temporal_hitl.http.inbox._conversation import heard
from temporal_hitl.http.inbox._list import Wanted
from temporal_hitl.http.inbox._pages import Form, Page, PageRoute, Posted, Visit
from temporal_hitl.http.inbox._run import seen
from temporal_hitl.http.inbox._showing import Shown, as_json, shown
from temporal_hitl.http.inbox._widgets import (
    Unreadable,
    Widget,
    anything,
    arguments,
    filled,
    widgets,
)
from temporal_hitl.http.inbox._words import Words
from temporal_hitl.requirements import (
    Answer,
    AnyRequirement,
    Edit,
    EditArguments,
    ErrorDecision,
    IterationReview,
    OutputReview,
    Question,
    Report,
    ResolutionRecord,
    Route,
    ToolConfirmation,
    ToolExecution,
    ToolInput,
    ToolOutcome,
    UserInput,
)

router = APIRouter(route_class=PageRoute)

PATH = "/inbox/runs/{run_id:path}/requirements/{requirement_id}"


@dataclass
class Desk:
    """One open requirement, and what has been written into its forms so far."""

    asked: AnyRequirement
    key: str
    """Makes an answer that is sent twice one decision."""
    action: str | None = None
    """The form that was sent, where one was refused."""
    form: list[Widget] = field(default_factory=list[Widget])
    output: Widget | None = None
    """What an edit, or a report, is written into."""
    written: dict[str, str] = field(default_factory=dict[str, str])
    """What was written beside it: comment, feedback, name."""
    chosen: dict[str, str] = field(default_factory=dict[str, str])
    """Of each choice of a route its position, where it was chosen."""
    notice: str | None = None
    problems: list[str] = field(default_factory=list[str])
    """What is wrong with the answer as a whole."""

    @classmethod
    def of(cls, asked: AnyRequirement, key: str | None = None) -> Desk:
        """Return a desk with fresh forms."""
        desk = cls(asked, key or uuid.uuid4().hex)
        if isinstance(asked, UserInput | ToolInput | Question):
            desk.form = widgets(asked.form, asked.fields)
        if isinstance(asked, OutputReview | IterationReview):
            desk.output = _editor(asked.output)
        if isinstance(asked, ToolConfirmation):
            desk.form = arguments(asked.tool_args, asked.form or None)
        if isinstance(asked, ToolExecution | ToolOutcome):
            desk.output = Widget("result", "lines", Words.tool_result, Words.tool_result_hint)
        return desk

    @property
    def actions(self) -> list[str]:
        """What may be done on this page, in order."""
        spent = isinstance(self.asked, ErrorDecision) and self.asked.is_spent
        names = [name for name in Words.actions if name in self.asked.actions]
        return [name for name in names if not (spent and name == "retry")]

    def take(self, posted: Posted) -> dict[str, Any] | None:
        """Fill the forms with what was sent; return the answer, None where it cannot be read."""
        self.action = posted.text("action")
        if self.action not in self.actions:
            raise refused(422, f"{self.action!r:.80} does not answer this")
        self.written = {name: posted.text(name) for name in ("comment", "feedback", "name")}
        said: dict[str, Any] = {
            "action": self.action,
            "comment": posted.said("comment"),
            "resolved_by": posted.said("name"),
            "digest": posted.said("digest"),
        }
        more = self._more(posted)
        return None if more is None else {**said, **more}

    def _more(self, posted: Posted) -> dict[str, Any] | None:
        match self.action:
            case "reject":
                return {"feedback": posted.said("feedback")}
            case "select":
                return {"choices": self._choose(posted)}
            case "answer":
                values, readable = filled(self.form, posted)
                return {"values": values} if readable else None
            case "edit_arguments":
                values, readable = filled(self.form, posted)
                return {"arguments": values} if readable else None
            case "edit":
                return self._edit(posted)
            case "report":
                return self._report(posted)
            case _:
                return {}

    def _choose(self, posted: Posted) -> list[str]:
        assert isinstance(self.asked, Route), "only a route has choices"
        if not self.asked.allow_multiple:
            self.chosen = dict.fromkeys(posted.all("choice"), "1")
            return list(self.chosen)
        for number, choice in enumerate(self.asked.choices):
            position = posted.said(f"position.{number}")
            if position is not None and position.isdecimal() and len(position) < 4:
                self.chosen[choice] = position
        return sorted(self.chosen, key=lambda choice: int(self.chosen[choice]))

    def _edit(self, posted: Posted) -> dict[str, Any] | None:
        self._written_output(posted)
        assert self.output is not None, "only a review has an output"
        try:
            return {"output": self.output.read()}
        except Unreadable as wrong:
            self.output.problems = [str(wrong)]
            return None

    def _report(self, posted: Posted) -> dict[str, Any]:
        result, error = anything(self._written_output(posted)), posted.said("error")
        self.written["error"] = posted.text("error")
        return {"result": result, "error": error}

    def _written_output(self, posted: Posted) -> str:
        assert self.output is not None, "only reviews and reports are written"
        self.output.written = [posted.text(self.output.field)]
        return self.output.written[0]

    def refuse(self, refusal: Refused) -> None:
        """Put what is wrong beside the fields."""
        sure = refusal.problem.status != 503
        self.notice = Words.wrong if sure else Words.unsure
        fields = {each.name: each for each in self.form}
        for problem in refusal.problem.errors or [_whole(refusal)]:
            widget = _widget_of(problem.field, fields)
            if widget is None:
                self.problems.append(problem.detail)
            else:
                widget.problems.append(problem.detail)


def _whole(refusal: Refused) -> FieldProblem:
    return FieldProblem(field=None, detail=refusal.problem.detail)


def _widget_of(path: str | None, fields: dict[str, Widget]) -> Widget | None:
    name = (path or "").removeprefix("body.values.").removeprefix("body.arguments.")
    while name and name not in fields:
        name = name.rpartition(".")[0]
    return fields.get(name) if name else None


def _editor(output: Any) -> Widget:
    if isinstance(output, str):
        return Widget("output", "lines", Words.new_output, written=[output])
    written = "" if output is None else as_json(output)
    return Widget("output", "json", Words.new_output, Words.as_json_hint, written=[written])


@router.get(PATH)
async def requirement_page(run_id: RunId, requirement_id: RequirementId, page: Visit) -> Response:
    """Show what is asked, or how it was decided."""
    asked = await look_up(page.here, run_id, requirement_id)
    if isinstance(asked, ResolutionRecord):
        return await _closed(page, run_id, asked)
    return await _open(page, run_id, Desk.of(asked))


@router.post(PATH)
async def answer(
    run_id: RunId, requirement_id: RequirementId, page: Visit, posted: Form
) -> Response:
    """Answer it: then the page shows the decision, else what is wrong with the answer."""
    caller = page.who(Role.reviewer)
    asked = await look_up(page.here, run_id, requirement_id)
    key = posted.said("key") or uuid.uuid4().hex
    if isinstance(asked, ResolutionRecord):
        return await _after(page, run_id, asked, key_of(caller, key), posted.text("action"))
    desk = Desk.of(asked, key)
    said = desk.take(posted)
    if said is None:
        desk.notice = Words.wrong
        return await _open(page, run_id, desk, 422)
    try:
        record = await decide(page.here, caller, run_id, requirement_id, said, key)
    except Exception as error:
        refusal = told(error)
        if refusal is None:
            raise
        if refusal.problem.record is not None:
            record = refusal.problem.record
            return await _after(page, run_id, record, key_of(caller, key), str(desk.action))
        desk.refuse(refusal)
        return await _open(page, run_id, desk, refusal.problem.status)
    return page.go(page.requirement(run_id, record.requirement_id))


async def _after(
    page: Page, run_id: str, record: ResolutionRecord, decision_id: str, action: str
) -> Response:
    """Show what was decided to who has sent another answer, or the same once more."""
    is_mine = getattr(record.resolution, "decision_id", None) == decision_id
    if is_mine and record.action == action:
        return page.go(page.requirement(run_id, record.requirement_id))
    notice = Words.you_came_first if is_mine else Words.you_came_second
    return await _closed(page, run_id, record, 409, notice)


async def _open(page: Page, run_id: str, desk: Desk, status: int = 200) -> Response:
    asked = desk.asked
    reviewed = isinstance(asked, OutputReview | IterationReview)
    previous = asked.previous if reviewed else None
    said, earlier = await heard(page.here, run_id, asked)
    return page.render(
        "requirement.html",
        status,
        run_id=run_id,
        desk=desk,
        asked=asked,
        output=shown(asked.output) if reviewed else None,
        previous=previous,
        changes=await _changes(asked) if reviewed else None,
        arguments=shown(getattr(asked, "tool_args", None)),
        said=said,
        earlier=earlier,
        late=asked.deadline is not None and asked.deadline < datetime.now(UTC),
        run=await seen(page.here, run_id),
    )


def _answer(record: ResolutionRecord) -> Shown | None:
    """Return what somebody has written, where that is more than yes or no."""
    match record.resolution:
        case Answer(values=written) | EditArguments(arguments=written):
            return shown(written)
        case Edit(output=written) | Report(result=written):
            return shown(written)
        case _:
            return None


async def _changes(asked: OutputReview | IterationReview) -> Compared | None:
    if asked.previous is None or asked.previous.left_out is not None:
        return None
    return await asyncio.to_thread(compared, asked.previous.output, asked.output)


async def _closed(
    page: Page,
    run_id: str,
    record: ResolutionRecord,
    status: int = 200,
    notice: str | None = None,
) -> Response:
    view = await page.here.snapshot.view()
    following = (row for row in view.deadline.rows if Wanted().holds(row, datetime.now(UTC)))
    return page.render(
        "closed.html",
        status,
        run_id=run_id,
        record=record,
        answer=_answer(record),
        notice=notice,
        following=next(following, None),
        run=await seen(page.here, run_id),
    )
