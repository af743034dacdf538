"""A person fills in what a step needs (seed 002, "User Input")."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Confirm,
    DefinitionError,
    HitlClient,
    HumanReview,
    Loop,
    Parallel,
    Reject,
    RunOptions,
    RunStatus,
    Step,
    StepInput,
    UserInputField,
    Workflow,
    pause,
)
from temporal_hitl.errors import MalformedResolution
from temporal_hitl.primitives import Node
from tests.modes import AFTER, BEFORE, Case, answer, played, reject
from tests.stage import cli, ended, new_queue, paused, replays, serving, until


def told(step_input: StepInput) -> Any:
    return step_input.additional_data.get("user_input")


def asking(form: Any = None, **options: Any) -> Step:
    return Step("work", told, requires_user_input=True, user_input_schema=form, **options)


class Line(BaseModel):
    amount: int = Field(gt=0)
    text: str = "no text"


class Invoice(BaseModel):
    payee: str
    due: date
    lines: list[Line]
    currency: Literal["EUR", "CHF"] = "EUR"


class Tree(BaseModel):
    name: str
    below: list[Tree] = []
    open: bool = True


FIELDS = [
    UserInputField("text", "str", description="Some text", value="so"),
    UserInputField("count", "int"),
    UserInputField("share", "float"),
    UserInputField("sure", "bool"),
    UserInputField("items", "list"),
    UserInputField("more", "dict"),
    UserInputField("color", allowed_values=("red", "blue")),
    UserInputField("level", "int", required=False, allowed_values=(1, 2), value=2),
    UserInputField("note", required=False),
]
DICTS = [each.model_dump(mode="json") for each in FIELDS]
FILLED: dict[str, Any] = {
    "text": "t", "count": 1, "share": 1, "sure": False, "items": [], "more": {}, "color": "red",
}  # fmt: skip
COMPLETE = {**FILLED, "level": 2, "note": None}
EVENT = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "where": {"$ref": "#/$defs/place"},
        "any": True,
        "several": {"type": ["integer", "null"], "default": None},
    },
    "required": ["day", "where"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"zip": {"pattern": "^[0-9]{5}$"}}}},
}
PAID = {"payee": "ana", "due": "2026-11-20", "lines": [{"amount": 1}]}
HELD = {"day": "2026-11-20", "where": {"zip": "80331"}}


async def test_each_kind_of_form(env: WorkflowEnvironment) -> None:
    """Fields, dicts of them, a Pydantic model, a JSON schema, or none: values that fit, completed
    with the defaults that the form states, reach the step.
    """
    given = {**FILLED, "share": 0.5, "level": 1, "note": ""}
    cases = {
        "fields": (FIELDS, FILLED, COMPLETE),
        "dicts": (DICTS, FILLED, COMPLETE),
        "all_given": (FIELDS, given, given),
        "model": (Invoice, PAID, {**PAID, "currency": "EUR"}),
        "itself": (
            Tree,
            {"name": "a", "below": [{"name": "b"}]},
            {"name": "a", "below": [{"name": "b"}], "open": True},
        ),
        "schema": (EVENT, HELD, {**HELD, "several": None}),
        "schema_all": (EVENT, {**HELD, "any": [1], "several": 3, "at": "2026-11-20T10:00:00Z"}, {
            "day": "2026-11-20", "at": "2026-11-20T10:00:00Z", "where": {"zip": "80331"},
            "any": [1], "several": 3,
        }),
        "none": (None, {"whatever": {"you": ["like"]}}, {"whatever": {"you": ["like"]}}),
        "nothing_to_fill_in": ([UserInputField("a", required=False)], {}, {"a": None}),
    }  # fmt: skip
    runs = await played(
        env,
        {key: Case([asking(form)], [answer(**values)]) for key, (form, values, _) in cases.items()},
    )

    expected = {key: values for key, (_, _, values) in cases.items()}
    assert expected == {key: run.output.content for key, run in runs.items()}
    assert {key: list(values) for key, values in expected.items()} == {
        key: list(run.output.content) for key, run in runs.items()
    }


async def test_what_a_person_sees(env: WorkflowEnvironment) -> None:
    """The requirement shows the form as JSON schema, and as fields where it was written so."""
    review = HumanReview(
        requires_user_input=True, user_input_message="For {input}:", user_input_schema=FIELDS
    )
    runs = await played(
        env,
        {
            "flat": Case([asking(DICTS)], [answer(**FILLED)]),
            "spelled": Case([Step("work", told, human_review=review)], [answer(**FILLED)]),
            "model": Case([asking(Invoice, user_input_message="Pay:")], [answer(**PAID)]),
            "none": Case([asking()], [answer()]),
        },
    )

    flat, spelled, model, none = (run.asked[0] for run in runs.values())
    assert {"user_input"} == {each.kind for each in (flat, spelled, model, none)}
    assert ["Fill in what step 'work' needs:", "For in:", "Pay:"] == [
        each.message for each in (flat, spelled, model)
    ]
    assert tuple(FIELDS) == flat.fields == spelled.fields
    assert flat.form == spelled.form
    text = flat.form["properties"]["text"]
    assert ("Some text", ["so"]) == (text["description"], text["examples"])
    assert ["red", "blue"] == flat.form["properties"]["color"]["enum"]
    assert [name for name in FILLED] == flat.form["required"]
    assert (Invoice.model_json_schema(), ()) == (model.form, model.fields)
    assert {"type": "object"} == none.form


WRONG: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "everything": (
        FIELDS,
        {
            "text": "", "count": "5", "share": "0.5", "sure": 1, "items": {}, "more": [],
            "color": "green", "level": 3, "extra": 1,
        },
        ["text:", "count:", "share:", "sure:", "items:", "more:", "color:", "level:", "extra:"],
    ),
    "nulls": (FIELDS, dict.fromkeys(FILLED), [f"{name}:" for name in FILLED]),
    "missing": (DICTS, {}, [f"{name}: Field required" for name in FILLED]),
    "bool_for_int": (FIELDS, {**FILLED, "count": True, "level": True}, ["count:", "level:"]),
    "model": (
        Invoice,
        {"due": "soon", "lines": [{"amount": 0}, {"amount": "1"}], "currency": "USD"},
        ["'payee' is a required", "due: 'soon'", "lines.0.amount:", "lines.1.amount:", "currency:"],
    ),
    "itself": (
        Tree,
        {"below": [{"name": 1}, {"open": False}]},
        ["'name' is a required", "below.0.name:", "below.1:"],
    ),
    "schema": (
        EVENT,
        {"day": "20.11.", "at": "noon", "where": {"zip": "1"}, "several": "x", "extra": 1},
        ["day:", "at:", "where.zip:", "several:", "'extra' was unexpected"],
    ),
}  # fmt: skip
RIGHT: dict[Any, dict[str, Any]] = {Invoice: PAID, Tree: {"name": "a"}}


def right_for(form: Any) -> dict[str, Any]:
    if isinstance(form, type):
        return RIGHT[form]
    return HELD if form is EVENT else FILLED


async def test_wrong_values(env: WorkflowEnvironment) -> None:
    """All that is wrong is told in one refusal, and nothing is stored: the question stays as it is,
    by update and by signal, and a right answer then counts.
    """

    async def one(client: HitlClient, key: str) -> None:
        form, values, problems = WRONG[key]
        run = await client.start(key)
        before = await paused(client, run)
        events = (await client.handle(run).describe()).history_length
        wrong = Answer(requirement_id="work", values=values)
        with pytest.raises(MalformedResolution) as refused:
            await client.resolve(run, wrong)
        with pytest.raises(MalformedResolution, match="use answer, reject"):
            await client.resolve(run, Confirm(requirement_id="work"))
        same = (await client.handle(run).describe()).history_length
        await client.handle(run).signal("resolve", wrong.model_dump(mode="json"))
        (kept,) = await until(lambda: refusals(client, run))
        still = await client.get(run)
        await client.resolve(run, Answer(requirement_id="work", values=right_for(form)))
        output = await ended(client, run)
        await replays(client.handle(run), definitions[key])

        for each in problems:
            assert each in str(refused.value), key
            assert each in kept.reason, key
        assert events == same
        assert before.requirements == still.requirements
        assert right_for(form).items() <= output.content.items()

    definitions = {key: Workflow(key, [asking(form)]) for key, (form, _, _) in WRONG.items()}
    async with serving(env, *definitions.values()) as client:
        await asyncio.gather(*(one(client, key) for key in WRONG))


async def refusals(client: HitlClient, run: str) -> Any:
    return (await client.get(run)).refused


async def test_at_the_terminal(env: WorkflowEnvironment) -> None:
    """The plain `temporal` command is told everything that is wrong, and a right answer counts."""
    definition = Workflow("terminal", [asking(Invoice)])

    async def answered(client: HitlClient, run: str, values: Any) -> tuple[int, str]:
        told = {"requirement_id": "work", "action": "answer", "values": values}
        args = ["workflow", "update", "execute", "-w", run, "--name", "resolve"]
        code, out, err = await cli(env, *args, "--input", json.dumps(told))
        return code, f"{out}{err}"

    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        refused, said = await answered(client, run, WRONG["model"][1])
        code, _ = await answered(client, run, PAID)
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert (True, 0) == (refused != 0, code)
    assert [] == [each for each in WRONG["model"][2] if each not in said]
    assert {**PAID, "currency": "EUR"} == output.content


async def test_declined(env: WorkflowEnvironment) -> None:
    """Who rejects a form leaves the step out, or cancels the run where its author wrote so."""

    def gated(**options: Any) -> list[Node]:
        return [BEFORE, asking(FIELDS, **options), AFTER]

    reviewed = {"requires_output_review": True, "on_reject": "retry"}
    runs = await played(
        env,
        {
            "default": Case(gated(), [Reject]),
            "skip": Case(gated(on_reject="skip"), [reject("no time")]),
            "cancel": Case(gated(on_reject="cancel"), [reject("no time")]),
            "retry": Case(gated(**reviewed), [Reject]),
        },
    )

    for key in ("default", "skip", "retry"):
        assert (["before"], ["node_skipped work"]) == (runs[key].results["after"], runs[key].events)
        assert "skip" == runs[key].asked[0].on_reject
    assert (RunStatus.cancelled, ["before"]) == (
        runs["cancel"].output.status,
        list(runs["cancel"].results),
    )
    assert "no time" in (runs["cancel"].output.error or "")


def whole(step_input: StepInput) -> dict[str, Any]:
    return step_input.additional_data


@pause(requires_user_input=True, user_input_schema=[{"name": "key"}])
def marked(step_input: StepInput) -> Any:
    return told(step_input)


async def test_values_reach_one_step_alone(env: WorkflowEnvironment) -> None:
    """What is filled in reaches its step beside what the caller gave, in every execution of it, and
    no other step; a pipeline as a step hands it to all of its own.
    """
    key = [{"name": "key"}]
    again = Step(
        "work", whole, requires_user_input=True, user_input_schema=key,
        requires_output_review=True, on_reject="retry",
    )  # fmt: skip
    child = Workflow("child", [Step("one", whole), Step("two", whole)])
    sub = Step("sub", workflow=child, requires_user_input=True, user_input_schema=key)
    team = RunOptions(additional_data={"team": "blue", "user_input": "the caller's"})
    others = [Step("earlier", whole), again, Step("later", whole)]
    runs = await played(
        env,
        {
            "rounds": Case(others, [answer(key="k"), Reject, Confirm], options=team),
            "nested": Case([sub], [answer(key="k")], options=team),
            "marked": Case([Step("work", marked)], [answer(key="k")]),
            "loop": Case(
                [Loop([Step("work", marked)], "again", max_iterations=2)],
                [answer(key="a"), answer(key="b")],
            ),
        },
    )

    given = {"team": "blue", "user_input": "the caller's"}
    filled = {"team": "blue", "user_input": {"key": "k"}}
    assert {"earlier": given, "work": {**filled, "previous_output": filled}, "later": given} == (
        runs["rounds"].results
    )
    assert ["user_input", "output_review", "output_review"] == runs["rounds"].kinds
    assert filled == runs["nested"].output.content
    assert {"key": "k"} == runs["marked"].output.content
    assert ["again.1.work", "again.2.work"] == runs["loop"].ids
    assert {"key": "b"} == runs["loop"].output.content


async def test_several_forms_at_once(env: WorkflowEnvironment) -> None:
    """Branches ask at once, are answered in one call or none, and each has its own values."""
    one, two = (
        Step(name, told, requires_user_input=True, user_input_schema=[{"name": name}])
        for name in ("one", "two")
    )
    definition = Workflow("branches", [Parallel(one, two, name="all")])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await until(lambda: both_ask(client, run))
        right = {"requirement_id": "all.one", "action": "answer", "values": {"one": "1"}}
        wrong = {"requirement_id": "all.two", "action": "answer", "values": {"one": "2"}}
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await client.handle(run).execute_update("resolve", [right, wrong])
        still = await client.get(run)
        fitting = {**wrong, "values": {"two": "2"}}
        await client.handle(run).execute_update("resolve", [fitting, right])
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert isinstance(refused.value.cause, ApplicationError)
    assert "two: Field required" in refused.value.cause.message
    assert 2 == len(still.requirements)
    assert {"one": {"one": "1"}, "two": {"two": "2"}} == output.content


async def both_ask(client: HitlClient, run: str) -> bool:
    return len((await client.get(run)).requirements) == 2


# A run asks by its own form


EDITED = [UserInputField("other")]


async def test_after_a_deploy(env: WorkflowEnvironment) -> None:
    """A run that waits asks what it asked, and checks by it, whatever worker takes it up: the same
    code started anew, or a definition with another form.
    """
    queue = new_queue()
    forms = {key: (form, values) for key, (form, values, _) in WRONG.items()}
    first = {key: Workflow(key, [asking(form)]) for key, (form, _) in forms.items()}
    edited = ("everything", "model", "schema")
    second = {
        key: Workflow(key, [asking(EDITED if key in edited else form)])
        for key, (form, _) in forms.items()
    }
    async with serving(env, *first.values(), queue=queue) as client:
        runs = {key: await client.start(key) for key in forms}
        asked = {key: (await paused(client, run)).requirements for key, run in runs.items()}

    async def one(client: HitlClient, key: str) -> Any:
        form, values = forms[key]
        for each in ({"other": "x"}, values):
            wrong = {"requirement_id": "work", "action": "answer", "values": each}
            with pytest.raises(MalformedResolution):
                await client.resolve(runs[key], wrong)
        still = (await client.get(runs[key])).requirements
        await client.resolve(runs[key], Answer(requirement_id="work", values=right_for(form)))
        output = await ended(client, runs[key])
        await replays(client.handle(runs[key]), second[key])
        assert right_for(form).items() <= output.content.items()
        return still

    async with serving(env, *second.values(), queue=queue) as client:
        still = await asyncio.gather(*(one(client, key) for key in forms))

    assert asked == dict(zip(forms, still, strict=True))


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Yield the address of a server, and a list of those who came."""
    came: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readline())
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/form.json", came


async def test_nothing_is_fetched(env: WorkflowEnvironment) -> None:
    """A schema that refers to the network fetches nothing: it is refused where it is written, and
    one that names a dialect of its own is checked all the same.
    """
    async with listening() as (url, came):
        of_property = {"type": "object", "properties": {"a": {"$ref": url}}}
        of_all = {"type": "object", "allOf": [{"$ref": f"{url}#/$defs/x"}]}
        for form in (of_property, of_all):
            with pytest.raises(DefinitionError, match=url):
                asking(form)
        dialect = {"type": "object", "$schema": url, "properties": {"a": {"type": "string"}}}
        definition = Workflow("dialect", [asking(dialect)])
        async with serving(env, definition) as client:
            run = await client.start(definition)
            await paused(client, run)
            with pytest.raises(MalformedResolution, match="a: 1 is not of type 'string'"):
                await client.resolve(run, Answer(requirement_id="work", values={"a": 1}))
            await client.resolve(run, Answer(requirement_id="work", values={"a": "1"}))
            output = await ended(client, run)
            await replays(client.handle(run), definition)

    assert ([], {"a": "1"}) == (came, output.content)


async def test_confirmed_first(env: WorkflowEnvironment) -> None:
    """A step that is to be confirmed asks for its form after that; rejected, it does not."""
    node = asking([{"name": "key"}], requires_confirmation=True)
    runs = await played(
        env,
        {
            "both": Case([node, AFTER], [Confirm, answer(key="k")]),
            "neither": Case([node, AFTER], [Reject]),
            "no_form": Case([node, AFTER], [Confirm, Reject]),
        },
    )

    assert {
        "both": (["confirmation", "user_input"], ["work", "work~2"], [{"key": "k"}]),
        "neither": (["confirmation"], ["work"], [None]),
        "no_form": (["confirmation", "user_input"], ["work", "work~2"], [None]),
    } == {key: (run.kinds, run.ids, run.results["after"]) for key, run in runs.items()}
