"""`temporal-hitl` answers what agents ask, and shows what they have said before."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import RunStatus, Workflow
from temporal_hitl.cli._exits import Exit
from tests.agent_questions import CALLS, asking
from tests.shell import Shell
from tests.stage import cli, details, ended, paused, replays, serving
from tests.test_cli_prompts import spoken

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202ereversed\r  digest 0000"


async def test_every_kind_is_answered(env: WorkflowEnvironment) -> None:
    """Each thing that an agent asks has its command; what a person edited, filled in, reported and
    chose is what counts.
    """
    pipeline, shell = asking("cli_agents", *CALLS.values()), Shell(env)
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "Go")
        await paused(client, run)
        answers = [
            ["edit", "refund", "--set", "cents=500"],
            ["answer", "send", "--set", "to=ana"],
            ["report", "ship", "--result", '{"at": "dock"}'],
            ["answer", "ask_user", "--set", "How?=cash"],
        ]
        said = [await shell(verb, run, f"desk.1.{key}", *rest) for verb, key, *rest in answers]
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert [(0, "")] * 4 == [(each.code, each.err) for each in said]
    assert RunStatus.completed is output.status, output.error
    assert {
        "refund": "500 for 1007",
        "send": "Sorry to ana",
        "ship": {"at": "dock"},
        "ask_user": {"How?": "cash"},
    } == json.loads(output.content)


@pytest.mark.slow
async def test_a_lost_call_is_cleared_up(env: WorkflowEnvironment) -> None:
    """A call of which nobody knows the end is reported, made again or given up by command."""
    said = [["report", "--result", "paid"], ["retry"], ["skip"]]
    lost = [asking(f"cli_lost_{n}", ("charge", {"card": f"cli {n}"})) for n in range(3)]
    shell = Shell(env)
    async with serving(env, *lost) as client:
        runs = [await client.start(each, "Go") for each in lost]
        for run, (verb, *rest) in zip(runs, said, strict=True):
            await paused(client, run)
            assert 0 == (await shell(verb, run, "desk.1.charge", *rest)).code
        outputs = [await ended(client, run) for run in runs]
        for run, each in zip(runs, lost, strict=True):
            await replays(client.handle(run), each)

    reported, again, given_up = [json.loads(each.content)["charge"] for each in outputs]
    assert ("paid", "charged") == (reported, again)
    assert "nobody could tell" in given_up


async def test_what_does_not_fit_is_refused(env: WorkflowEnvironment) -> None:
    """An answer that does not fit is refused with what would, before anything has changed; an error
    that is reported, and a rejection, reach the agent.
    """
    pipeline, shell = asking("cli_agents_no", CALLS["refund"], CALLS["ship"]), Shell(env)
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "Go")
        await paused(client, run)
        refused = [
            await shell(verb, run, f"desk.1.{key}", *rest)
            for verb, key, *rest in (
                ["edit", "refund"],
                ["edit", "refund", "--output", "x"],
                ["edit", "refund", "--set", "cents=many"],
                ["edit", "refund", "--arguments", '{"order": "1007"}'],
                ["report", "refund", "--result", "x"],
                ["report", "ship"],
                ["report", "ship", "--result", "x", "--error", "y"],
                ["retry", "ship"],
            )
        ]
        named = [await shell(each) for each in ("edit", "report")]
        still = (await client.requirements(run)).open
        await shell("report", run, "desk.1.ship", "--error", "no van")
        await shell("reject", run, "desk.1.refund", "--feedback", "too late")
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    usage, no = Exit.usage, Exit.refused
    assert [usage, usage, no, no, no, usage, usage, no] == [each.code for each in refused]
    assert "order (string), cents (integer)" in refused[0].err
    assert "'many' is not of type 'integer'" in refused[2].err
    assert "'cents' is a required property" in refused[3].err
    assert f"temporal-hitl edit {run} desk.1.refund" in named[0].err
    assert f"temporal-hitl report {run} desk.1.ship" in named[1].err
    assert 2 == len(still)
    came = json.loads(output.content)
    assert "no van" in came["ship"]
    assert "too late" in came["refund"]


async def test_what_was_said_is_shown(env: WorkflowEnvironment) -> None:
    """Who looks at a call sees what was said before it, instructions only when asked for, and
    nothing of it steers the terminal or passes for a line of ours; the command there can be pasted.
    """
    call = "refund", {"order": HOSTILE, "cents": 1}
    pipeline, shell = asking("cli_agents_say", call, saying=HOSTILE), Shell(env)
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, f"Refund it. {HOSTILE}")
        await paused(client, run)
        shown = await shell("show", run, "desk.1.refund")
        whole = await shell("show", run, "desk.1.refund", "--all", "--messages", "1")
        none = await shell("show", run, "desk.1.refund", "--messages", "0")
        data = await shell("show", run, "desk.1.refund", "--json")
        (edit,) = re.findall(r"^ *(temporal-hitl edit .*)$", shown.out, re.M)
        said = await shell.pasted(edit)
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert 0 == shown.code, shown.err
    assert ["user:", "agent:", "agent calls refund:"] == re.findall(
        r"^    (\S.*:)$", shown.out, re.M
    )
    assert "\\x1b[2J" in shown.out
    assert not {"\x1b", "\x07", "\u202e", "\r"} & {*shown.out}
    assert 1 == len(re.findall(r"^  digest ", shown.out, re.M))
    assert "Be good." not in shown.out
    assert "the last 1)" in whole.out
    assert "said so far" not in none.out
    assert "desk.1.refund" == data.data["id"]
    assert (0, "edit_arguments") == (said.code, output.resolutions[0].action)
    assert {"refund": f"1 for {HOSTILE}"} == json.loads(output.content)


@pytest.mark.slow
async def test_at_a_terminal(env: WorkflowEnvironment) -> None:
    """A call's arguments are asked for one by one, the agent's own at hand, and a result in a
    line; what does not do is asked again, and who changes nothing is told how to approve.
    """
    pipeline = asking("cli_agents_terminal", CALLS["refund"], CALLS["ship"])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "Go")
        await paused(client, run)
        edit = ["edit", run, "desk.1.refund", "--by", "ana"]
        as_it_is, edited, reported = await asyncio.gather(
            spoken(env, edit, ("Enter for 1007): ", ""), ("Enter for 900): ", "")),
            spoken(
                env,
                edit,
                ("order (string; Enter for 1007): ", "1008"),
                ("cents (integer; Enter for 900): ", "many"),
                ("'many' is not of type 'integer'", "10"),
                ("Call refund so? [Y/n]: ", ""),
            ),
            spoken(env, ["report", run, "desk.1.ship"], ("Its result", "by van")),
        )
        output = await ended(client, run)

    assert [Exit.usage, 0, 0] == [code for code, _ in (as_it_is, edited, reported)]
    assert "`temporal-hitl confirm` approves the call as it is" in as_it_is[1]
    assert {"refund": "10 for 1008", "ship": "by van"} == json.loads(output.content)
    await replays(client.handle(run), pipeline)


PASTED: dict[str, list[tuple[str, Any]]] = {
    "refund": [("confirm", "900 for 1007"), ("reject", "rejected by a person: why")],
    "send": [("answer", "Sorry to ..."), ("reject", "rejected by a person: why")],
    "ship": [("report", "..."), ("reject", "rejected by a person: why")],
    "ask_user": [("answer", {"How?": "card"}), ("reject", "rejected by a person: why")],
    "charge": [("report", "..."), ("retry", "charged"), ("skip", "nobody could tell")],
}
"""What each command in the details of a run does, and what the agent is told then."""


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(set(CALLS), id="asked", marks=pytest.mark.slow),
        pytest.param({"charge"}, id="lost", marks=pytest.mark.slow),
    ],
)
async def test_the_commands_of_the_details_can_be_pasted(
    env: WorkflowEnvironment, keys: set[str]
) -> None:
    """Each command that an operator is shown works in the plain `temporal` command as it stands,
    and the arguments of a call are a command away, not in the details.
    """
    pastes = [(key, n) for key in sorted(keys) for n in range(len(PASTED[key]))]
    # That they reject is one sentence, whatever the kind.
    pastes = [(k, n) for k, n in pastes if PASTED[k][n][0] != "reject" or k == "ship"]
    definitions: dict[tuple[str, int], Workflow] = {
        (key, n): asking(
            f"paste_{key}_{n}",
            ("charge", {"card": f"pasted {n}"}) if key == "charge" else CALLS[key],
        )
        for key, n in pastes
    }

    async def one(client: Any, key: str, index: int) -> None:
        definition, (action, came) = definitions[key, index], PASTED[key][index]
        run = await client.start(definition)
        await paused(client, run)
        shown = await details(client.handle(run))
        commands = re.findall(r"^temporal .*$", shown, re.MULTILINE)
        code, out, err = await cli(env, *_words(commands[index]))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

        assert len(PASTED[key]) == len(commands), shown
        assert (0, "") == (code, err), (commands[index], out)
        assert action == output.resolutions[0].action
        told = json.loads(output.content)[key]
        assert came in told if isinstance(came, str) else came == told
        assert (key != "ask_user") is ("What it is called with: `temporal" in shown)

    async with serving(env, *definitions.values()) as client:
        await asyncio.gather(*(one(client, *each) for each in pastes))


def _words(command: str) -> list[str]:
    return shlex.split(command)[1:]
