"""What the guide's pages show is what the library does: every block is run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import HitlClient
from temporal_hitl.cli._modules import Contents
from temporal_hitl.http import Inbox, hitl_application
from tests.documents import PAGES, blocks
from tests.reader import Reader
from tests.stage import serving
from tests.web import listening


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, ModuleType]]:
    """What the author of each page writes, as a module."""
    folder = tmp_path_factory.mktemp("guide")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield {each: as_module(folder, each) for each in PAGES}


def as_module(folder: Path, page: Path) -> ModuleType:
    """Write what the author of a page writes, and import it."""
    name = f"guide_{page.stem.lower().replace('-', '_')}"
    written = [each.text for each in blocks(page) if each.defines]
    (folder / f"{name}.py").write_text("\n".join(written))
    return import_module(name)


@pytest.fixture(scope="module")
async def reader(
    env: WorkflowEnvironment, modules: dict[Path, ModuleType]
) -> AsyncIterator[Reader]:
    """Somebody before whom a worker and an API serve what all pages define."""
    found = Contents()
    for each in modules.values():
        found.add(each)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_ADDRESS", env.client.service_client.config.target_host)
        patch.setenv("TEMPORAL_CONFIG_FILE", "/nonexistent/temporal.toml")
        async with serving(
            env, *found.pipelines, workflows=found.workflows, queue="hitl"
        ) as client:

            async def connect() -> HitlClient:
                return client

            app = hitl_application(connect, found.pipelines, inbox=Inbox())
            async with listening(app) as http:
                yield Reader(env, client, str(http.base_url).rstrip("/"))


@pytest.mark.parametrize(
    "in_bash",
    [pytest.param(False, id="here"), pytest.param(True, id="bash", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_a_page(
    reader: Reader, modules: dict[Path, ModuleType], page: Path, in_bash: bool
) -> None:
    """Every command and statement of a page does what the page says, from a run that waits there;
    what runs replays.
    """
    reader.in_bash, reader.run = in_bash, None
    reader.names = {**vars(modules[page]), "hitl": reader.client}
    done = [await reader.follow(each) for each in blocks(page) if not each.defines]
    defined = Contents()
    defined.add(modules[page])
    await reader.replayed(*defined.pipelines, workflows=defined.workflows)

    assert len(done) > 1
