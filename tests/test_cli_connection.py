"""`temporal-hitl` reaches Temporal as the `temporal` command does."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import PayloadCodec
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Step, Workflow
from temporal_hitl.cli._connection import Connection
from temporal_hitl.cli._exits import Exit
from temporal_hitl.local import DEFAULT_DB_FILE, found, serve
from tests.shell import Shell, bare_environment, typed
from tests.stage import paused, serving, temporal_binary, until


class Coded(PayloadCodec):
    """Makes payloads unreadable without it."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        metadata = {"encoding": b"binary/encrypted"}
        return [
            Payload(metadata=metadata, data=_turned(each.SerializeToString())) for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(_turned(each.data)) for each in payloads]


def _turned(data: bytes) -> bytes:
    return bytes(byte ^ 0x55 for byte in data)


CONVERTER = dataclasses.replace(pydantic_data_converter, payload_codec=Coded())
TEXT = "no converter"


def secret() -> str:
    return "the secret"


FILE = """
[profile.default]
address = "from.file:1"
namespace = "of-file"

[profile.prod]
address = "prod:7233"
api_key = "secret"

[profile.prod.tls]
server_name = "temporal.prod"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with profiles, and nothing else configured."""
    for name in bare_environment():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "temporal.toml").write_text(FILE)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "temporal.toml"))
    return tmp_path / "temporal.toml"


def test_an_option_counts_before_a_variable_and_that_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each setting comes from the option, else the variable, else the profile in the file."""
    from_file = Connection().configured()
    monkeypatch.setenv("TEMPORAL_ADDRESS", "from.variable:2")
    from_variable = Connection().configured()
    from_option = Connection(address="from.option:3").configured()
    without_variables = Connection(disable_config_env=True, config_file=str(file)).configured()
    without_file = Connection(disable_config_file=True, namespace="n").configured()

    assert ("from.file:1", "of-file") == (from_file["target_host"], from_file["namespace"])
    assert "from.variable:2" == from_variable["target_host"]
    assert "from.option:3" == from_option["target_host"]
    assert "from.file:1" == without_variables["target_host"]
    assert {"target_host": "from.variable:2", "namespace": "n"} == without_file


def test_tls_keys_and_headers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates, keys and headers are given as with the `temporal` command; a path that is typed
    takes the place of data in a variable.
    """
    (file.parent / "cert.pem").write_bytes(b"mine")
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_CERT_DATA", "theirs")
    said = Connection(
        profile="prod",
        tls_cert_path=str(file.parent / "cert.pem"),
        tls_key_data="key",
        grpc_meta=["x-team=blue"],
    )
    config = said.configured()
    plain = Connection(profile="prod", tls=False).configured()

    tls: Any = config["tls"]
    assert ("prod:7233", "secret") == (config["target_host"], config["api_key"])
    assert (b"mine", b"key") == (tls.client_cert, tls.client_private_key)
    assert "temporal.prod" == tls.domain
    assert {"x-team": "blue"} == config["rpc_metadata"]
    assert plain["tls"] is False


def test_the_options_are_those_of_temporal() -> None:
    """Every option of the connection is one of the `temporal` command's, but our converter."""
    theirs = subprocess.run(
        [temporal_binary(), "options"], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    ours = {each.replace("_", "-") for each in Connection.__dataclass_fields__}

    assert {"data-converter"} == {each for each in ours if f"--{each}" not in theirs}
    left_out = set(re.findall(r"--(tls[a-z-]*)", theirs)) - ours
    assert {"tls-disable-host-verification"} == left_out  # The SDK cannot.


async def test_what_is_configured_wrongly(file: Path) -> None:
    """What does not do is told in one line each, with the code for it."""
    cases: list[tuple[list[str], Exit, str]] = [
        (["--profile", "none"], Exit.usage, "Profile 'none' not found"),
        (["--config-file", "/nowhere"], Exit.usage, "there is no file '/nowhere'"),
        (["--tls-cert-path", "/nowhere"], Exit.usage, "/nowhere"),
        (["--grpc-meta", "odd"], Exit.usage, "KEY=VALUE"),
        (["--data-converter", "nowhere:it"], Exit.usage, "nowhere"),
        (["--data-converter", f"{__name__}:TEXT"], Exit.usage, "is no temporalio.converter"),
        (["--address", "127.0.0.1:1"], Exit.unreachable, "answers at 127.0.0.1:1 (Connection refu"),
    ]
    said = [await typed("list", *words, TEMPORAL_CONFIG_FILE=str(file)) for words, _, _ in cases]

    for (words, code, sentence), each in zip(cases, said, strict=True):
        assert (code, "") == (each.code, each.out), words
        assert sentence in each.err, words
        assert 1 == each.err.count("\n"), words


async def test_the_options_may_stand_before_the_command(env: WorkflowEnvironment) -> None:
    """Options of the connection may stand before the command's name or after it, where they count
    first; commands that are told hold them, and no secret.
    """
    address = Shell(env).address
    before = await typed("--address", address, "-n", "default", "runs", "--limit", "1", "--json")
    both = await typed("--address", "127.0.0.1:1", "runs", "--limit", "1", "--address", address)
    told = Connection(address=address, api_key="secret", tls_key_data="secret").repeated()

    assert (0, 0) == (before.code, both.code)
    assert f" --address {address}" == told


async def test_payloads_that_are_encrypted(env: WorkflowEnvironment) -> None:
    """With the workers' data converter a run is started, seen, answered and followed; without it a
    command says that it needs one, and a list of runs has the run still.
    """
    shell, gated = Shell(env), Step("go_on", secret, requires_confirmation=True)
    pipeline, converter = Workflow("cli_coded", [gated]), f"{__name__}:CONVERTER"
    config = env.client.config()
    config["data_converter"] = CONVERTER
    async with serving(env, pipeline, client=Client(**config)) as client:
        coded = ["--data-converter", converter]
        started = await shell("run", "cli_coded", "in", "-t", client.task_queue, *coded)
        run = started.out.strip()
        await paused(client, run)
        said = [await shell("show", run, *coded), await shell("show", run)]
        only = ["--query", f"WorkflowId = '{run}'", "--json"]
        row = await until(lambda: _listed(shell, only))
        said += [await shell("list", *only, *coded), await shell("list", *only)]
        said += [await shell("confirm", run, "go_on", TEMPORAL_HITL_DATA_CONVERTER=converter)]
        said += [await shell("watch", run, *coded)]
        raw = await env.client.get_workflow_handle(run).fetch_history()

    assert [0, Exit.usage, 0, Exit.usage, 0, 0] == [each.code for each in said]
    assert [run] == [each["run_id"] for each in said[2].data]
    for each in (said[1], said[3]):
        assert "--data-converter" in each.err and 1 == each.err.count("\n")
    assert ("PAUSED", None) == (row["status"], row["open"])
    assert "is done" in said[5].out
    assert "the secret" not in str(raw)


async def _listed(shell: Shell, only: list[str]) -> Any:
    rows = (await shell("runs", *only)).data
    return rows[0] if rows and rows[0]["status"] == "PAUSED" else None


async def test_an_unknown_namespace(env: WorkflowEnvironment) -> None:
    """A namespace that is not there is told as such."""
    said = await Shell(env)("list", "--namespace", "nowhere")

    assert (Exit.unreachable, "") == (said.code, said.out)
    assert "nowhere" in said.err and "doctor" in said.err


async def test_the_embedded_server_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no address configured, commands reach the embedded server that runs in this folder; what
    is configured counts before it, and nothing is started or left behind where there is none.
    """
    monkeypatch.chdir(tmp_path)
    before, left_behind = found(DEFAULT_DB_FILE), list(tmp_path.iterdir())
    with serve():
        here = await typed("runs", "--json", "--namespace", "default")
        elsewhere = await typed("runs", TEMPORAL_ADDRESS="127.0.0.1:1")
    after = found(DEFAULT_DB_FILE)

    assert (None, [], None) == (before, left_behind, after)
    assert (0, Exit.unreachable) == (here.code, elsewhere.code)
    assert [] == here.data
