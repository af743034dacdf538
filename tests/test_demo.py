"""`make demo` from the outside: with a person at a terminal, and without one."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pexpect
import pytest

from tests.stage import WAIT, temporal_binary

ROOT = Path(__file__).parent.parent
DATA = ROOT / "activities" / "data"
COMMAND = ["-W", "error", "-m", "workflows.demo"]


def environment() -> dict[str, str]:
    """Return an environment with the checkout importable and no server configured."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")}
    path = f"{Path(temporal_binary()).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PYTHONPATH": str(ROOT), "PATH": path}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder that holds the orders where a refund looks for them."""
    (tmp_path / "activities" / "data").mkdir(parents=True)
    shutil.copy(DATA / "orders.csv", tmp_path / "activities" / "data")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "answers", "result"),
    [
        ([], 5, "released: "),
        (["article_refinement", str(DATA / "tool_library.md")], 3, "written: "),
        (["refund", "1007"], 2, "ledger: "),
        pytest.param(["support_desk"], 4, "the shop: ", marks=pytest.mark.slow),
    ],
    ids=["data_release", "article_refinement", "refund", "support_desk"],
)
def test_without_a_terminal(shop: Path, given: list[str], answers: int, result: str) -> None:
    """A scripted reviewer answers and says so; the result lies where the output says."""
    shutil.copy(DATA / "legislators.csv", shop / "activities" / "data")
    done = subprocess.run(
        [sys.executable, *COMMAND, *given],
        cwd=shop,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * WAIT,
    )

    assert 0 == done.returncode, done.stderr
    assert 1 + answers == done.stdout.count("\nscripted reviewer: ")
    assert answers == done.stdout.count("\nWaits for a person: ")
    found = re.search(rf"{result} *(\S+)", done.stdout)
    assert found is not None
    assert (shop / found[1]).is_file()
    assert re.search(
        r"the run: +http://127\.0\.0\.1:\d+/namespaces/default/workflows/", done.stdout
    )
    assert 1 == done.stderr.count("no Temporal server is configured")


def at_a_terminal(folder: Path, *given: str) -> pexpect.spawn[str]:
    return pexpect.spawn(
        sys.executable,
        [*COMMAND, *given],
        cwd=str(folder),
        env=environment(),  # pyright: ignore[reportArgumentType]
        encoding="utf-8",
        timeout=3 * WAIT,
    )


def converse(demo: pexpect.spawn[str], lines: Sequence[tuple[str, str]]) -> None:
    """Wait for each prompt, and type the answer to it."""
    for prompt, answer in lines:
        demo.expect_exact(prompt)
        demo.sendline(answer)


def ended(demo: pexpect.spawn[str], shown: str) -> int | None:
    """Wait for what is shown in the end, leave, and return the exit code."""
    demo.expect_exact(shown)
    converse(demo, [("press Enter. ", "")])
    demo.expect(pexpect.EOF)
    demo.close()
    return demo.exitstatus


def test_a_release_at_a_terminal(tmp_path: Path) -> None:
    """The person at the terminal mends the source, chooses, fills in, rejects, edits and confirms;
    an answer that is none is asked for again.
    """
    demo = at_a_terminal(tmp_path, "data_release", "people.csv")
    converse(demo, [("Retry or skip? (r/s): ", "perhaps")])
    shutil.copy(DATA / "legislators.csv", tmp_path / "people.csv")
    converse(
        demo,
        [
            ("Retry or skip? (r/s): ", "r"),
            ("Your name: ", "Ana"),
            ("Choose quick, deep, or Enter for none: ", "sideways"),
            ("Choose quick, deep, or Enter for none: ", "quick"),
            ("Fill in the form? (y/n): ", "y"),
            ("remove (", ""),
            ("mask (", "full_name, last_name"),
            ("hash (", ""),
            ("year (", ""),
            ("keep (", ""),
            ("Accept, edit or reject? (a/e/r): ", "r"),
            ("What should be different? ", "remove district and last_name"),
            ("Accept, edit or reject? (a/e/r): ", "e"),
            ("Which part (", "columns.gender"),
            ("New value (", "remove"),
            ("Confirm? (y/n): ", "y"),
        ],
    )

    assert 0 == ended(demo, "publish: Ana decided 'confirm' by update")
    with (tmp_path / "released" / "people" / "people.csv").open(encoding="utf-8") as file:
        released = list(csv.DictReader(file))
    assert ["full_name", "birthday", "type", "state", "party"] == list(released[0])
    assert "S••• B•••" == released[0]["full_name"]


def test_an_article_at_a_terminal(tmp_path: Path) -> None:
    """The person at the terminal starts the loop, asks for another round, and edits that."""
    (tmp_path / "mine.md").write_text("My own words.\n")
    demo = at_a_terminal(tmp_path, "article_refinement", str(DATA / "tool_library.md"))
    converse(
        demo,
        [
            ("Confirm? (y/n): ", "y"),
            ("Your name: ", "Ana"),
            ("Accept, edit or reject? (a/e/r): ", "r"),
            ("What should be different? ", "shorter sentences"),
            ("Accept, edit or reject? (a/e/r): ", "e"),
            ("Which part (", "text"),
            ("New value (", "@mine.md"),
        ],
    )

    assert 0 == ended(demo, "refinement.2: Ana decided 'edit' by update")
    written = tmp_path / "refined" / "tool_library"
    assert "My own words.\n" == (written / "tool_library.md").read_text()
    assert 2 == len(json.loads((written / "report.json").read_text())["rounds"])


@pytest.mark.slow
def test_the_desk_twice(tmp_path: Path) -> None:
    """What one demo has refunded the next one finds refunded, and still runs to its end; where it
    says that approvals are on file, those of both are, signed by who answered.
    """
    for asked, filed in ((4, 3), (2, 5)):
        done = subprocess.run(
            [sys.executable, *COMMAND, "support_desk"],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3 * WAIT,
        )
        assert (0, asked) == (done.returncode, done.stdout.count("\nWaits for a person: "))
        (file,) = re.findall(r"^on file: +(\S+)$", done.stdout, re.MULTILINE)
        records = [json.loads(each) for each in (tmp_path / file).read_text().splitlines()]
        assert filed == len(records)
        assert {("signed", "scripted reviewer", "approver")} == {
            (each["identity"], each["resolved_by"], *each["roles"]) for each in records
        }


@pytest.mark.slow
def test_the_desk_at_a_terminal(tmp_path: Path) -> None:
    """The person at the terminal answers the agent, edits one call, fills in another, and rejects
    the third, which is signed in their name; the agent says what came of each, and that it is a
    script.
    """
    demo = at_a_terminal(tmp_path, "support_desk")
    converse(
        demo,
        [
            ("Fill in the form? (y/n): ", "y"),
            ("How should 419.00 EUR for Lawn mower be paid back? (", "card"),
            ("Your name: ", ""),
            ("Your name: ", "Ana"),
            ("Approve, edit or reject? (a/e/r): ", "e"),
            ("Which argument? ", "cents"),
            ("New value: ", "100"),
            ("Fill in the form? (y/n): ", "y"),
            ("customer (Enter for C-204): ", ""),
            ("cents (Enter for 1000): ", ""),
            ("cost_centre: ", "4711"),
            ("Approve, edit or reject? (a/e/r): ", "r"),
            ("Why not? ", "not yet"),
        ],
    )
    demo.expect_exact("support_desk.2.refund_order: Ana (signed, cli) decided 'edit_arguments'")
    demo.expect_exact("[A script answers, no language model")
    demo.expect_exact("- refund_order: refunded 1.00 EUR for order 1007 to card")
    demo.expect_exact("- delete_account: rejected by Ana: not yet (not done)")

    demo.expect_exact("the shop: ")
    assert 0 == ended(demo, "refund_order, required: approved by Ana (cli)")


def test_a_refund_at_a_terminal(shop: Path) -> None:
    """The person at the terminal says why, and that it is not to be; then nothing is paid."""
    demo = at_a_terminal(shop, "refund", "1002")
    form = "Fill in the form? (y/n): "
    converse(demo, [(form, "y"), ("reason (", "because"), ("note (", "")])
    demo.expect_exact("That does not do: ")
    converse(demo, [(form, "y"), ("reason (", ""), ("note (", "in May")])
    demo.expect_exact("Still missing: reason")
    converse(
        demo,
        [
            (form, "y"),
            ("reason (", "late"),
            ("note (", ""),
            ("Your name: ", "Ana"),
            ("Confirm? (y/n): ", "n"),
            ("Why not? ", "too late"),
        ],
    )

    assert 1 == ended(demo, "kept: 129.00 EUR for order 1002 (Ana decided 'reject' by update")
    assert not (shop / "refunds").exists()
