"""What README and docs show is what the library does: every block is run, every link leads
somewhere.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from importlib import reload
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
from fastapi import FastAPI
from standardwebhooks.webhooks import Webhook
from temporalio.testing import WorkflowEnvironment
from typer.main import get_command

from temporal_hitl import HitlClient
from temporal_hitl.agents import use_model
from temporal_hitl.cli._app import app
from temporal_hitl.cli._modules import Contents
from temporal_hitl.http import Inbox, hitl_application
from tests.doc_model import model_of_docs
from tests.documents import FILES, PAGES, ROOT, Block, Said, Start, as_module, blocks, commands_of
from tests.reader import Reader
from tests.stage import serving
from tests.web import listening

COMMANDS: Any = get_command(app)


def name_of(file: Path) -> str:
    """Return what a page is called."""
    return str(file.relative_to(ROOT))


BESIDE = [
    each
    for each in FILES
    if each not in PAGES and any(commands_of(block) for block in blocks(each))
]
"""What has commands beside the guide."""
SERVES = {"dev", "worker", "api"}
"""Commands of ours that end when they are stopped: parsed here; tests/test_cli_serving.py and
tests/test_cli_web.py run them."""
RUN = {"temporal", "temporal-hitl", "curl", "sleep", "export"}
"""Commands that are run here."""
NOT_RUN = {
    "make ": "it runs these tests; tests/test_readme.py looks for the targets",
    "pip install ": "it downloads; tests/test_packaging.py has the extras",
    "docker ": "there is no Docker here; tests/test_deployment.py runs the services' commands",
    "cp .env.example ": "of Docker's deployment",
    "python -c ": "makes a secret; tests/test_signed_answers.py has keys",
    "HITL_SIGNING_KEYS=": "sets it for what follows; tests/test_signed_at_the_edges.py",
    "HITL_NOTIFY_": "sets it for what follows; tests/test_notifications.py",
    'temporal workflow list --query "WorkflowType': "tests/test_notifications.py has such runs",
    "temporal workflow describe --workflow-id RUN": "tests/test_notifications.py has such runs",
    "temporal workflow result --workflow-id RUN": "tests/test_notifications.py has such runs",
    "touch tokens.toml": "of Docker's deployment",
    "curl --fail http://127.0.0.1:8000/": "of Docker's; tests/test_deployment.py asks it",
    "tcld ": "Temporal Cloud's",
    "temporal-hitl approvals": "reads a file; tests/test_approvals_at_the_edges.py",
    "temporal-hitl doctor": "looks at what other tests have left, too; tests/test_cli_doctor.py",
    "temporal workflow reset ": "by events of one history; tests/test_reset.py",
    "temporal workflow update-options ": "of Worker Versioning; tests/test_worker_versioning.py",
    "temporal worker deployment ": "changes the server for all; tests/test_worker_versioning.py",
    "temporal operator search-attribute ": "the server has them; tests/test_deployment.py",
}
"""What commands begin with that are not run here, and why."""
RUN_ELSEWHERE = {
    ("README.md", "from temporal_hitl import OnReject, Step"): "tests/test_readme.py",
    ("README.md", "from temporalio.client import Client"): "tests/test_readme.py",
    ("README.md", "from temporal_hitl import Confirm, HitlClient"): "tests/test_readme.py",
    ("README.md", "from datetime import timedelta"): "tests/test_readme.py",
    (
        "docs/approvals.md",
        "from temporal_hitl import Agent",
    ): "tests/test_approvals_at_the_edges.py",
    (
        "docs/approvals.md",
        "for requirement in output",
    ): "tests/test_approvals_at_the_edges.py",
    ("README.md", "from temporal_hitl.agents import Agent"): "tests/test_readme.py",
    ("docs/http.md", "from collections.abc import AsyncGenerator"): "tests/test_http_docs.py",
    ("docs/inbox.md", "from fastapi import FastAPI"): "tests/test_inbox_runs.py",
    (
        "docs/notifications.md",
        "from temporal_hitl import HumanReview",
    ): "tests/test_notifications.py",
    ("docs/notifications.md", "{"): "what tests/test_notifications.py receives",
    ("docs/notifications.md", "from standardwebhooks"): "below",
    ("docs/operations.md", "worker = Worker("): "a fragment; tests/test_worker_versioning.py",
    ("docs/operations.md", "converter = dataclasses.replace("): "a fragment; tests/test_sizes.py",
    ("docs/operations.md", "import base64"): "tests/test_codec.py",
    ("docs/architecture.md", "errors          who must act"): "a drawing",
}
"""Blocks of anything else than commands that are not run here: file and beginning, and where they
are run, or why not."""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, ModuleType]]:
    """What the author of each page writes, as a module, in the current folder."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "draft.txt").write_text("Dear all")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        use_model(model_of_docs())
        yield {each: as_module(folder, each) for each in [ROOT / "README.md", *PAGES]}
        use_model(None)


Reads: TypeAlias = Callable[[Path, bool], Coroutine[None, None, int]]
IN_BASH = pytest.mark.parametrize(
    "in_bash",
    [pytest.param(False, id="here"), pytest.param(True, id="bash", marks=pytest.mark.slow)],
)


@pytest.fixture(scope="module")
async def reads(env: WorkflowEnvironment, modules: dict[Path, ModuleType]) -> AsyncIterator[Reads]:
    """Has somebody follow a page, before whom a worker and an API serve what all pages define, and
    says how many blocks that were.
    """
    found, screen = Contents(), asyncio.Lock()
    for each in modules.values():
        found.add(each)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_ADDRESS", env.client.service_client.config.target_host)
        patch.setenv("TEMPORAL_CONFIG_FILE", "/nonexistent/temporal.toml")
        async with (
            serving(env, *found.pipelines, workflows=found.workflows, queue="hitl") as client,
            listening(served(client, found)) as http,
        ):

            async def read(file: Path, in_bash: bool) -> int:
                names = {**vars(modules[file]), "hitl": client} if file in modules else {}
                base = str(http.base_url).rstrip("/")
                reader = Reader(env, client, base, found, screen, names, in_bash)
                reader.starts["RUN"] = Start("RUN", "cleanup", "users")
                done = [await reader.follow(each, is_run) for each in blocks(file) if follows(each)]
                await reader.replay()
                if file in modules:
                    reload(modules[file])  # What a page's script has left behind is the page's own.
                return len(done)

            yield read


def served(client: HitlClient, found: Contents) -> FastAPI:
    """Return the application that `temporal-hitl api` serves."""

    async def connect() -> HitlClient:
        return client

    return hitl_application(connect, found.pipelines, inbox=Inbox())


@IN_BASH
async def test_the_guide(reads: Reads, in_bash: bool) -> None:
    """Every command and statement of the guide's pages does what its page says, from a run that
    waits there; what runs replays.
    """
    async with asyncio.TaskGroup() as together:
        read = [together.create_task(reads(page, in_bash)) for page in PAGES]

    assert all(each.result() > 0 for each in read)


@IN_BASH
@pytest.mark.parametrize("file", BESIDE, ids=name_of)
async def test_a_page(reads: Reads, file: Path, in_bash: bool) -> None:
    """Every command of README and docs does what the page says, if it says anything; what runs
    replays.
    """
    assert await reads(file, in_bash) > 0


def follows(block: Block) -> bool:
    """Return whether a block is run here."""
    return not block.defines and key_of(block) not in RUN_ELSEWHERE


def is_run(said: Said) -> bool:
    """Return whether a command is run here; one that serves is parsed at least."""
    first, *words = said.words or [""]
    if first == "temporal-hitl" and words[0] in SERVES:
        COMMANDS.commands[words[0]].make_context(words[0], words[1:], obj=None)
        return False
    return not any(said.text.startswith(each) for each in NOT_RUN)


def key_of(block: Block) -> tuple[str, str]:
    """Return what tells a block from the others, as `RUN_ELSEWHERE` does."""
    name = name_of(block.file)
    found = [key for key in RUN_ELSEWHERE if key[0] == name and block.text.startswith(key[1])]
    return found[0] if found else (name, block.text.partition("\n")[0])


def neither(block: Block) -> list[str]:
    """Return what of a block is neither run nor in the lists."""
    if key_of(block) in RUN_ELSEWHERE:
        return []
    if block.language != "sh":
        is_of_guide = block.file in PAGES and block.language in ("python", "text")
        return [] if is_of_guide else [block.where]
    said = [each for each in block.commands if is_run(each)]
    return [f"{block.where}: {each.text}" for each in said if each.words[0] not in RUN]


def test_every_block_is_run() -> None:
    """Each block of README and docs is run, here or where the lists say; a new one that is neither
    is told, and so is an entry of the lists that no page has any more.
    """
    found = [block for file in FILES for block in blocks(file)]
    said = [each.text for block in found for each in commands_of(block)]
    reasons = " ".join([*NOT_RUN.values(), *RUN_ELSEWHERE.values()])

    assert len(found) > 60
    assert [] == [each for block in found for each in neither(block)]
    assert [] == [each for each in NOT_RUN if not any(text.startswith(each) for text in said)]
    assert {*RUN_ELSEWHERE} <= {key_of(each) for each in found}
    assert [] == [e for e in re.findall(r"tests/\w+\.py", reasons) if not (ROOT / e).exists()]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_links_lead_somewhere(file: Path) -> None:
    """A link to a file of the repository leads to one, and behind a `#` to a heading in it."""
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    broken = [each for each in links if not each.startswith("http") and not leads(file, each)]

    assert [] == broken


def leads(file: Path, link: str) -> bool:
    """Return whether there is what a link names."""
    name, _, anchor = link.partition("#")
    found = (file.parent / name).resolve() if name else file
    if not found.is_file() or not anchor:
        return found.is_file()
    headings = re.findall(r"^#+ (.+)$", found.read_text(), re.M)
    return anchor in [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]


def test_pictures_are_small() -> None:
    """Each picture has less than 100 KB, and each of the guide's is shown in it."""
    text = "".join(each.read_text() for each in FILES)
    shown = {*re.findall(r"images/(guide-[\w-]+\.png)", text)}
    pictures = {each.name: each.stat().st_size for each in (ROOT / "docs/images").iterdir()}

    assert shown == {each for each in pictures if each.startswith("guide-")}
    assert {} == {name: size for name, size in pictures.items() if size >= 100_000}


def test_notifications() -> None:
    """What authors and receivers write of notifications can be written so, and a receiver takes an
    event once.
    """
    said: dict[str, Any] = {}
    for block in blocks(ROOT / "docs/notifications.md"):
        if block.language == "python":
            exec(block.text, said)
    secret = "whsec_" + base64.b64encode(b"a secret of 24 bytes ...").decode()
    body = '{"type": "requirement.opened", "data": {"requirement_id": "refund"}}'
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, body),
    }
    seen: set[str] = set()
    told = [said["received"](body.encode(), headers, secret, seen) for _ in range(2)]

    assert ["requirement.opened: refund", None] == told
    assert [("managers",), ("desk", "managers"), None, ()] == [
        each.review.notify for each in said["workflow"].steps
    ]
