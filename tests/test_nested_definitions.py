"""Definitions in definitions: what authors may write, and which of them a process serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from temporalio.common import RetryPolicy

from temporal_hitl import (
    DefinitionError,
    HitlPlugin,
    SqliteDb,
    Step,
    Workflow,
)
from tests.nested import child, fetch, gated


async def test_redefined_in_one_process(embedded: SqliteDb) -> None:
    """A child that is defined again runs as its parent now holds it; a run that waits goes on."""

    def version(text: str) -> Workflow:
        def executor() -> str:
            return text

        inner = Workflow("versioned", [gated("ask"), Step("tell", executor)])
        return Workflow("redefined", [inner], db=embedded)

    first, second = version("first"), version("second")
    waiting = await first.arun("data")
    later = await second.arun("data")
    outputs = []
    for definition, output in (
        (second, later),
        (second, waiting),
        (first, await first.arun("data")),
    ):
        output.steps_requiring_confirmation[0].confirm()
        outputs.append((await definition.acontinue_run(output)).content)

    assert ["second", "second", "first"] == outputs


async def test_a_session_holds_no_children(embedded: SqliteDb) -> None:
    """A session lists the runs that somebody started, and not those that these started."""
    parent = Workflow("session", [Workflow("in_session", [fetch])], db=embedded)
    for _ in range(2):
        await parent.arun("data")
    listed = (await parent.aget_session()).runs

    assert ["session", "session"] == [each.workflow_name for each in listed]


def test_one_definition_twice() -> None:
    """A definition may be nested in several others, and be served on its own as well."""
    one = child()
    nested = Workflow("nested", [Step("a", workflow=one), Step("b", workflow=one)])
    plugin = HitlPlugin(workflows=[Workflow("outer", [nested]), one, nested])

    assert {"outer", "nested", "child"} == set(plugin.registry.names)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "two of a name": (
        lambda: Workflow("outer", [Step("a", workflow=child()), Step("b", workflow=child())]),
        "two pipelines are called 'child'",
    ),
    "two of a name, one deeper": (
        lambda: Workflow("outer", [child(), Workflow("middle", [child()])]),
        "two pipelines are called 'child'",
    ),
    "its own name": (lambda: Workflow("child", [child()]), "two pipelines are called 'child'"),
    "two of a name on a worker": (
        lambda: HitlPlugin(workflows=[Workflow("outer", [child()]), child()]),
        "two pipelines are called 'child'",
    ),
    "twice without names": (lambda: Workflow("outer", [one := child(), one]), "stands twice"),
    "an executor too": (lambda: Step("a", fetch, workflow=child()), "Step 'a'.*exactly one"),
    "no workflow": (lambda: Step("a", workflow=fetch), "Step 'a'.*is no Workflow"),  # type: ignore[arg-type]
    "retries": (lambda: Step("a", workflow=child(), max_retries=1), "'a': max_retries means noth"),
    "a policy": (
        lambda: Step("a", workflow=child(), retry_policy=RetryPolicy()),
        "'a': retry_policy means nothing",
    ),
    "a timeout": (
        lambda: Step("a", workflow=child(), start_to_close_timeout=5),
        "'a': start_to_close_timeout means nothing",
    ),
    "a heartbeat": (
        lambda: Step(workflow=child(), heartbeat_timeout=5),
        "'child': heartbeat_timeout means nothing",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_authors_write_wrongly(wrong: str) -> None:
    """What means nothing is refused where it is written, and named."""
    write, told = WRONG[wrong]
    with pytest.raises(DefinitionError, match=told):
        write()
