"""The commands that answer a requirement: one for each action."""

from __future__ import annotations

import getpass
import shlex
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from temporal_hitl.cli._command import Session
from temporal_hitl.cli._exits import Usage
from temporal_hitl.cli._ids import (
    no_requirement,
    no_run,
    none_named,
    nothing_named,
    one,
    pasted,
)
from temporal_hitl.cli._prompts import change, choose, fill_in, in_an_editor, say
from temporal_hitl.cli._showing import fields
from temporal_hitl.cli._signing import signed
from temporal_hitl.cli._values import assigned, from_outside, json_object, json_or_text
from temporal_hitl.client import HitlClient
from temporal_hitl.drafts import Drafts, StepRequirement
from temporal_hitl.errors import MalformedResolution, NoWorker, RunNotFound, UnknownRequirement
from temporal_hitl.requirements import AnyRequirement, ToolConfirmation

Run = Annotated[str | None, typer.Argument(help="The run's id.", show_default=False)]
Asked = Annotated[str | None, typer.Argument(help="The requirement's id.", show_default=False)]
Feedback = Annotated[
    str | None, typer.Option("--feedback", "-f", help="What to do better; also @FILE or -.")
]


def _option(name: str, help: str, envvar: str | None = None) -> Any:
    return typer.Option(name, help=help, envvar=envvar, rich_help_panel="On record")


@dataclass(frozen=True)
class Said:
    """What goes on record beside the answer."""

    by: Annotated[
        str | None,
        _option(
            "--by",
            "Who decides: a claim, unless HITL_SIGNING_KEYS is set. Your login name unless said.",
            "TEMPORAL_HITL_USER",
        ),
    ] = None
    role: Annotated[
        list[str] | None,
        _option("--role", "A role of who decides, where that is signed; HITL_ROLES unless said."),
    ] = None
    comment: Annotated[str | None, _option("--comment", "Why.")] = None
    decision_id: Annotated[
        str | None,
        _option("--decision-id", "A key of yours: sent again with it, it is one decision."),
    ] = None
    digest: Annotated[
        str | None,
        _option("--digest", "The digest of what you saw; refused where it has changed."),
    ] = None

    def body(self) -> dict[str, Any]:
        """Return it as fields of a resolution."""
        said = {
            "resolved_by": self.by or login(),
            "comment": self.comment,
            "decision_id": self.decision_id or uuid.uuid4().hex,
            "digest": self.digest,
        }
        return {name: value for name, value in said.items() if value is not None}


def login() -> str | None:
    """Return the name of who is logged in here, where they have one."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # A container's user may have no name.
        return None


@dataclass(frozen=True)
class Place:
    """The one requirement that a command answers, and how it is typed again."""

    at: Session
    hitl: HitlClient
    run_id: str
    requirement_id: str
    again: Callable[[str, str], str]

    @classmethod
    async def of(
        cls, at: Session, words: list[str], kinds: set[str], run: str | None, asked: str | None
    ) -> Place:
        """Return what was named.

        Raises:
            Usage: it was not named in full, with the commands that do. Never what happens to be
                open: somebody would approve what nobody has read.
        """
        verb, *more = words

        def again(run_id: str, requirement_id: str) -> str:
            return at.command(verb, *map(shlex.quote, [run_id, requirement_id, *more]))

        hitl = await at.client()
        if run is None:
            raise Usage(await nothing_named(hitl, kinds, again))
        run_id = pasted(run)
        if asked is None:
            try:
                raise Usage(await none_named(hitl, run_id, again))
            except RunNotFound:
                raise await no_run(
                    hitl, run_id, lambda each: at.command(verb, shlex.quote(each))
                ) from None
        return cls(at, hitl, run_id, pasted(asked), again)

    async def requirement(self, *actions: str) -> AnyRequirement:
        """Return what is asked, if one of `actions` answers it."""
        try:
            asked = await one(self.hitl, self.run_id, self.requirement_id, self.again)
        except RunNotFound:
            raise await self._no_run() from None
        if not asked.actions & {*actions}:
            raise MalformedResolution(
                f"{asked.id!r} is a {asked.kind}: {actions[0]!r} does not answer it; use"
                f" {', '.join(sorted(asked.actions))}"
            )
        return asked

    async def draft(self, *actions: str) -> StepRequirement:
        """Return a draft of the answer to what is asked, if one of `actions` answers it."""
        draft = Drafts().of(await self.requirement(*actions), self.run_id)
        assert isinstance(draft, StepRequirement), "an error is answered without a draft"
        return draft

    async def send(self, said: Said, **body: Any) -> None:
        """Send the answer, and show its record."""
        answer = {**body, "requirement_id": self.requirement_id, **said.body()}
        sent = signed(answer, self.hitl, self.run_id, said.role or (), self.at.beside)
        try:
            record = await self.hitl.resolve(self.run_id, sent)
        except RunNotFound:
            raise await self._no_run() from None
        except UnknownRequirement:
            raise await no_requirement(
                self.hitl, self.run_id, self.requirement_id, self.again
            ) from None
        except NoWorker as error:
            same = self.again(self.run_id, self.requirement_id)
            raise NoWorker(f"{error}: {same}{_repeated(answer)}") from error
        self.at.terminal.tell(record, f"{record.requirement_id}: {record.told()}")

    async def send_draft(self, draft: StepRequirement, said: Said) -> None:
        """Send what a draft holds; the digest of what was shown goes with it."""
        decided = draft.resolution()
        if decided is None:
            raise MalformedResolution(f"still missing: {', '.join(draft.missing_values)}")
        body = decided.model_dump(mode="json")
        await self.send(said, **{name: body[name] for name in body if body[name] is not None})

    async def _no_run(self) -> Exception:
        return await no_run(
            self.hitl, self.run_id, lambda run_id: self.again(run_id, self.requirement_id)
        )


def _repeated(answer: dict[str, Any]) -> str:
    """Return what makes the same command the same decision."""
    options = {"--decision-id": "decision_id", "--by": "resolved_by", "--comment": "comment"}
    given = {option: answer.get(name) for option, name in options.items()}
    return "".join(f" {option} {shlex.quote(each)}" for option, each in given.items() if each)


_REVIEWS = {"confirmation", "output_review", "iteration_review", "tool_confirmation"}
_FAILED = {"error", "tool_outcome"}
_REJECTED = _REVIEWS | {"user_input", "route", "tool_input", "tool_execution", "question"}


async def confirm(at: Session, said: Said, run: Run = None, requirement: Asked = None) -> None:
    """Say yes: go ahead, keep the output, end the loop."""
    place = await Place.of(at, ["confirm"], _REVIEWS, run, requirement)
    await place.send(said, action="confirm")


async def reject(
    at: Session, said: Said, run: Run = None, requirement: Asked = None, feedback: Feedback = None
) -> None:
    """Say no; what follows is the requirement's on_reject."""
    words = ["reject"] if feedback is None else ["reject", "--feedback", feedback]
    place = await Place.of(at, words, _REJECTED, run, requirement)
    told = None if feedback is None else from_outside(feedback)
    await place.send(said, action="reject", feedback=told)


async def answer(
    at: Session,
    said: Said,
    run: Run = None,
    requirement: Asked = None,
    set: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="NAME=VALUE of one field (VALUE also @FILE)."),
    ] = None,
    values: Annotated[
        str | None, typer.Option("--values", help="All of them as a JSON object, @FILE or -.")
    ] = None,
) -> None:
    """Fill in a form, a tool's or an agent's too; at a terminal, without values, field by field."""
    words = ["answer", *(part for each in set or () for part in ("--set", each))]
    words += [] if values is None else ["--values", values]
    place = await Place.of(at, words, {"user_input", "tool_input", "question"}, run, requirement)
    draft = await place.draft("answer")
    given = {} if values is None else json_object(values, "--values")
    given |= assigned(set or (), dict(draft.form or {}))
    if set or values is not None:
        draft.set_user_input(**given)
    elif at.terminal.asks:
        at.terminal.aside(draft.message)
        fill_in(draft)
    else:
        raise Usage(f"give values with --set NAME=VALUE or --values; {_fields(draft)}")
    await place.send_draft(draft, said)


def _fields(draft: StepRequirement) -> str:
    named = fields(dict(draft.form or {}))
    return f"the form has {', '.join(named)}" if named else "the form takes any"


async def select(
    at: Session,
    said: Said,
    run: Run = None,
    requirement: Asked = None,
    choices: Annotated[
        list[str] | None,
        typer.Argument(help="What to choose, in the order to run in.", show_default=False),
    ] = None,
) -> None:
    """Choose a route, or several where that is allowed; at a terminal, without one, from a list."""
    place = await Place.of(at, ["select", *(choices or [])], {"route"}, run, requirement)
    draft = await place.draft("select")
    if choices:
        draft.select(*choices)
    elif at.terminal.asks:
        at.terminal.aside(draft.message)
        choose(draft)
    else:
        offered = " ".join(map(shlex.quote, draft.available_choices or ()))
        raise Usage(f"name what to choose, of: {offered}")
    await place.send_draft(draft, said)


_EDITED = {"output_review", "iteration_review", "tool_confirmation"}


async def edit(
    at: Session,
    said: Said,
    run: Run = None,
    requirement: Asked = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="What to go on with: JSON, text, @FILE, -.")
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="NAME=VALUE of a tool's argument (VALUE also @FILE)."),
    ] = None,
    arguments: Annotated[
        str | None, typer.Option("--arguments", help="All of them as a JSON object, @FILE or -.")
    ] = None,
) -> None:
    """Say yes to another output than the one under review, or to a tool's call with other
    arguments; at a terminal, in $EDITOR, or argument by argument.
    """
    words = ["edit"] if output is None else ["edit", "--output", output]
    words += [part for each in set or () for part in ("--set", each)]
    words += [] if arguments is None else ["--arguments", arguments]
    place = await Place.of(at, words, _EDITED, run, requirement)
    draft = await place.draft("edit", "edit_arguments")
    asked = draft.requirement
    if isinstance(asked, ToolConfirmation):
        if output is not None:
            raise Usage(f"{asked.id!r} is a tool's call: give --set NAME=VALUE or --arguments")
        changed = _arguments(at, asked, set or (), arguments)
        body = {"arguments": changed, "digest": said.digest or asked.digest}
        await place.send(replace(said, digest=None), action="edit_arguments", **body)
        return
    if set or arguments is not None:
        raise Usage(f"{asked.id!r} is no tool's call: give the new output with --output")
    _edit_output(at, draft, output)
    await place.send_draft(draft, said)


def _edit_output(at: Session, draft: StepRequirement, output: str | None) -> None:
    if output is not None:
        draft.edit(json_or_text(output))
    elif at.terminal.asks:
        draft.edit(in_an_editor(draft.requirement.model_dump(mode="json")["output"]))
    else:
        raise Usage("give the new output with --output: JSON, text, @FILE or -")


def _arguments(
    at: Session, asked: ToolConfirmation, set: Sequence[str], arguments: str | None
) -> dict[str, Any]:
    before = dict(asked.tool_args) if arguments is None else json_object(arguments, "--arguments")
    if set or arguments is not None:
        return before | assigned(set, asked.form)
    if at.terminal.asks:
        at.terminal.aside(asked.message)
        return change(before, dict(asked.form), asked.tool_name)
    named = ", ".join(fields(dict(asked.form))) or "any"
    raise Usage(f"give arguments with --set NAME=VALUE or --arguments; the tool takes {named}")


async def report(
    at: Session,
    said: Said,
    run: Run = None,
    requirement: Asked = None,
    result: Annotated[
        str | None, typer.Option("--result", "-r", help="What it gave: JSON, text, @FILE, -.")
    ] = None,
    error: Annotated[
        str | None, typer.Option("--error", help="What went wrong; also @FILE or -.")
    ] = None,
) -> None:
    """Tell the result of a tool that ran outside, or of one of which nobody knew whether it ran."""
    given = {"--result": result, "--error": error}
    words = ["report", *(part for name, each in given.items() if each for part in (name, each))]
    place = await Place.of(at, words, {"tool_execution", "tool_outcome"}, run, requirement)
    if result is not None and error is not None:
        raise Usage("it has a result or an error, not both")
    draft = await place.draft("report")
    if error is not None:
        draft.report(error=from_outside(error))
    elif result is not None:
        draft.report(json_or_text(result))
    elif at.terminal.asks:
        at.terminal.aside(draft.message)
        draft.report(json_or_text(say("Its result (JSON, text or @FILE)")))
    else:
        raise Usage("give what it gave with --result (JSON, text, @FILE, -), or --error")
    await place.send_draft(draft, said)


async def retry(at: Session, said: Said, run: Run = None, requirement: Asked = None) -> None:
    """Have a step that failed tried again, or a tool's call that has not happened."""
    place = await Place.of(at, ["retry"], _FAILED, run, requirement)
    await place.send(said, action="retry")


async def skip(at: Session, said: Said, run: Run = None, requirement: Asked = None) -> None:
    """Leave a step that failed out, or give a tool's call up of which nobody knows."""
    place = await Place.of(at, ["skip"], _FAILED, run, requirement)
    await place.send(said, action="skip")
