"""`temporal-hitl` with a person at a terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pexpect
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Parallel, Router, Step, StepInput, UserInputField, Workflow
from temporal_hitl.cli._exits import Exit
from tests.shell import Shell, bare_environment
from tests.stage import WAIT, ended, paused, replays, serving

ROOT = Path(__file__).parent.parent
FORM = [
    UserInputField("format", allowed_values=("pdf", "html"), description="of the file"),
    UserInputField("pages", "int"),
    UserInputField("charts", "bool", required=False, value=True),
    UserInputField("tags", "list", required=False),
]


def told(step_input: StepInput) -> Any:
    return step_input.additional_data["user_input"]


def work() -> str:
    return "a draft"


def asking() -> Workflow:
    form = Step("form", told, requires_user_input=True, user_input_schema=FORM)
    choices = [Step("quick", work), Step("deep", work)]
    depth = Router(choices, name="depth", requires_user_input=True, allow_multiple_selections=True)
    text = Step("text", work, requires_output_review=True)
    return Workflow("cli_terminal", [Parallel(form, depth, text, name="all")])


def at_a_terminal(env: WorkflowEnvironment, *words: str, **variables: str) -> pexpect.spawn[str]:
    kept = {name: os.environ[name] for name in os.environ if name not in bare_environment()}
    reach = {"TEMPORAL_ADDRESS": Shell(env).address, "TEMPORAL_CONFIG_FILE": "/nowhere"}
    return pexpect.spawn(
        sys.executable,
        ["-W", "error", "-m", "temporal_hitl.cli", *words],
        cwd=str(ROOT),
        env={**kept, **reach, "COLUMNS": "200", **variables},  # pyright: ignore[reportArgumentType]
        encoding="utf-8",
        timeout=WAIT,
        preexec_fn=heed_ctrl_c,
    )


def heed_ctrl_c() -> None:
    """Undo what a shell does to what it runs in the background: it ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def conversation(shell: pexpect.spawn[str], *lines: tuple[str, str]) -> tuple[int | None, str]:
    """Wait for each prompt, type the answer to it, and return the exit code and what came last."""
    for prompt, answer in lines:
        shell.expect_exact(prompt)
        shell.sendline(answer)
    shell.expect(pexpect.EOF)
    shell.close()
    return shell.exitstatus, shell.before or ""


async def spoken(
    env: WorkflowEnvironment, words: Sequence[str], *lines: tuple[str, str], **variables: str
) -> tuple[int | None, str]:
    """Run a command at a terminal, in a process of its own."""
    return await asyncio.to_thread(conversation, at_a_terminal(env, *words, **variables), *lines)


async def test_everything_is_asked_for(env: WorkflowEnvironment) -> None:
    """A form is asked for field by field, a route from a list, an output in the editor; what does
    not do is asked again, and what the form suggests stands unless it is changed.
    """
    async with serving(env, asking()) as client:
        run = await client.start(asking())
        await paused(client, run)
        form = await spoken(
            env,
            ["answer", run, "all.form", "--by", "ana"],
            ("format (of the file; pdf, html): ", "doc"),
            ("'doc' is not one of", ""),
            ("format (", "html"),
            ("pages (integer): ", "many"),
            ("'many' is not of type 'integer'", "12"),
            ("charts (boolean; Enter for true): ", ""),
            ("tags (array; several with commas; Enter for none): ", "a, b"),
            ("Send this? [Y/n]: ", ""),
        )
        route = await spoken(
            env,
            ["select", run, "all.depth", "--by", "ana"],
            ("Which (several with commas): ", "3"),
            ("'3' is not one of quick, deep", "2, quick"),
        )
        sed = "sed -i s/draft/letter/"
        text = await spoken(env, ["edit", run, "all.text", "--by", "ana"], EDITOR=sed, VISUAL="")
        output = await ended(client, run)

    assert [0, 0, 0] == [code for code, _ in (form, route, text)]
    assert "ana decided 'answer' by update" in form[1]
    records = {each.path: each for each in output.resolutions}
    answer = {"format": "html", "pages": 12, "tags": ["a", "b"]}
    assert answer == {name: records["all.form"].values[name] for name in answer}
    assert ("deep", "quick") == records["all.depth"].choices
    assert "a letter" == records["all.text"].output
    await replays(client.handle(run), asking())


async def test_who_leaves_sends_nothing(env: WorkflowEnvironment) -> None:
    """Ctrl-C, a no, and an editor that changes nothing end the command, and decide nothing."""
    async with serving(env, asking()) as client:
        run = await client.start(asking())
        await paused(client, run)
        interrupted = await spoken(
            env, ["answer", run, "all.form"], ("format (", "pdf"), ("pages (", "\x03")
        )
        no = await spoken(
            env,
            ["answer", run, "all.form"],
            ("format (", "pdf"),
            ("pages (", "1"),
            ("charts (", ""),
            ("tags (", ""),
            ("Send this?", "n"),
        )
        unchanged = await spoken(env, ["edit", run, "all.text"], EDITOR="true", VISUAL="")
        output = await client.get(run)
        await client.cancel(run)

    assert [Exit.interrupted, Exit.usage, Exit.usage] == [
        code for code, _ in (interrupted, no, unchanged)
    ]
    assert "not sent; nothing has changed" in no[1]
    assert "nothing was edited" in unchanged[1]
    assert "Traceback" not in interrupted[1] + no[1] + unchanged[1]
    assert (3, []) == (len(output.requirements), output.resolutions)


async def test_a_run_is_followed_at_a_terminal(env: WorkflowEnvironment) -> None:
    """Whoever follows a run at a terminal sees how far it is, below what has happened, and leaves
    with Ctrl-C, which changes nothing.
    """
    async with serving(env, asking()) as client:
        run = await client.start(asking())
        await paused(client, run)
        last = ("all.text", "\x03")
        code, shown = await spoken(
            env, ["watch", run], (f"answer {run} all.form", ""), ("; waits: ", ""), last
        )
        output = await client.get(run)
        await client.cancel(run)

    assert Exit.interrupted == code
    assert "Traceback" not in shown
    assert shown.rstrip().endswith("\x1b[K")
    assert (3, []) == (len(output.requirements), output.resolutions)


ELSEWHERE = """
import asyncio, signal, sys, threading, time
from temporal_hitl.cli._command import Session, _run
from temporal_hitl.cli._connection import Connection
from temporal_hitl.cli._terminal import Terminal

async def forever():
    def interrupt():
        time.sleep(0.3)  # Until the loop sleeps.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        threading.Event().wait()
    threading.Thread(target=interrupt, daemon=True).start()
    await asyncio.Event().wait()

sys.exit(_run(Session(Terminal(False), Connection()), forever))
"""


def test_ctrl_c_in_another_thread() -> None:
    """A command that waits ends with Ctrl-C, whichever of its threads the signal comes to."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ELSEWHERE],
        cwd=ROOT,
        timeout=WAIT,
        capture_output=True,
        preexec_fn=heed_ctrl_c,
    )

    assert (Exit.interrupted, b"") == (done.returncode, done.stderr)
