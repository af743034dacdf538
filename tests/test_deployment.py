"""docker-compose.yml, Dockerfile and the scripts of deploy/, as far as that goes without Docker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from httpx2 import AsyncClient, ConnectError, Response
from jsonschema import Draft202012Validator
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from api.main import PIPELINES
from temporal_hitl import HitlClient, RunStatus, WorkflowRunOutput
from temporal_hitl.approvals import FILE as APPROVALS
from temporal_hitl.approvals import ApprovalsFile
from temporal_hitl.primitives import Definition
from temporal_hitl.signing import KEYS as SIGNING
from temporal_hitl.signing import SigningKeys
from tests.signatures import KEYS
from tests.stage import WAIT, ended, new_queue, paused, replays, temporal_binary, until
from tests.web import HERE, bearer, free_port, tokens
from workflows.article_refinement import article_refinement
from workflows.support_desk import support_desk

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*)|:\?(?P<needed>[^}]*))?\}")
EXAMPLE_TEXT = (ROOT / ".env.example").read_text()
EXAMPLE = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE_TEXT, re.MULTILINE))
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def compose(**variables: str) -> dict[str, Any]:
    """Return the file as Compose reads it where `.env` holds these variables."""

    def value(found: re.Match[str]) -> str:
        given = variables.get(found["name"])
        assert given or found["needed"] is None, f"{found['name']}: {found['needed']}"
        return given or found["default"] or ""

    return yaml.safe_load(VARIABLE.sub(value, TEXT))


FILE = compose(POSTGRES_PASSWORD="s3cret", HITL_SIGNING_KEYS=KEYS)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
JOBS = ["temporal-schema", "temporal-namespace"]


def test_it_is_a_compose_file() -> None:
    """The file fits the compose specification."""
    schema = get_builtin_schema("vendor.compose-spec")

    assert [] == [each.message for each in Draft202012Validator(schema).iter_errors(FILE)]


def test_every_variable_is_in_the_example() -> None:
    """What the file takes from `.env` is what `.env.example` has; a password must be chosen, which
    is for Temporal and its database alone, and keys made, for worker and API.
    """
    taken = {found["name"] for found in VARIABLE.finditer(TEXT)}
    passed_on = {
        name
        for each in SERVICES.values()
        for name, value in each.get("environment", {}).items()
        if value is None
    }
    defaults = {each["name"]: each["default"] for each in VARIABLE.finditer(TEXT)}
    has_it, has_keys = (
        [name for name, each in SERVICES.items() if secret in json.dumps(each)]
        for secret in ("s3cret", KEYS)
    )

    assert EXAMPLE.keys() == taken | passed_on
    assert [] == [name for name in passed_on if EXAMPLE[name]]
    assert {name: value or "" for name, value in defaults.items()} == {
        name: EXAMPLE[name] for name in defaults
    }
    with pytest.raises(AssertionError, match=r"POSTGRES_PASSWORD: choose one in \.env"):
        compose()
    with pytest.raises(AssertionError, match=r"HITL_SIGNING_KEYS: make some for \.env"):
        compose(POSTGRES_PASSWORD="s3cret")
    assert ["postgresql", "temporal-schema", "temporal"] == has_it
    assert ["worker", "api"] == has_keys


def test_how_to_make_keys() -> None:
    """What `.env.example` says makes keys that one can sign with."""
    (command,) = re.findall(r"^#   python3 (-c .*)$", EXAMPLE_TEXT, re.MULTILINE)
    made = subprocess.run(
        [sys.executable, *shlex.split(command)], capture_output=True, text=True, timeout=WAIT
    )

    token = SigningKeys.parse(made.stdout.strip()).sign({})
    assert {"kid": "2026"}.items() <= jwt.get_unverified_header(token).items()


def test_approvals_are_on_a_volume_of_both() -> None:
    """The worker files approvals on a volume that is its user's to write, and the API, the same
    user, reads them there and can do no more.
    """
    worker, api = (SERVICES[name] for name in ("worker", "api"))
    path = Path(worker["environment"][APPROVALS])

    assert str(path) == api["environment"][APPROVALS]
    assert f"approvals:{path.parent}" in worker["volumes"]
    assert [f"approvals:{path.parent}:ro"] == api["volumes"]
    assert worker["build"] == api["build"] and "user" not in {**worker, **api}
    assert f"--owner hitl /files {path.parent}" in DOCKERFILE


def test_what_starts_after_what() -> None:
    """Each service waits for what it needs: for a server until it is healthy, for a job until it is
    done; a job runs once, and everything else is started again.
    """
    order = list(SERVICES)
    for name, each in SERVICES.items():
        assert ("no" if name in JOBS else "unless-stopped") == each["restart"], name
        for needed, how in each.get("depends_on", {}).items():
            told = "service_completed_successfully" if needed in JOBS else "service_healthy"
            assert {"condition": told} == how, (name, needed)
            assert needed in JOBS or "healthcheck" in SERVICES[needed], needed
            assert order.index(needed) < order.index(name)
    assert {"temporal-namespace"} == SERVICES["worker"]["depends_on"].keys()


def test_what_is_reachable() -> None:
    """No port is open to other machines, and the images that are ours run as nobody in particular,
    without rights and with a file system that they cannot write.
    """
    ports = [each for service in SERVICES.values() for each in service.get("ports", [])]
    ours = [SERVICES[name] for name in ("worker", "api")]

    assert [] == [each for each in ports if not each.startswith("127.0.0.1:")]
    assert 3 == len(ports)
    for each in ours:
        assert (True, ["ALL"]) == (each["read_only"], each["cap_drop"])
    assert "10001" == re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)[-1]


async def test_the_versions(env: WorkflowEnvironment) -> None:
    """Every image is pinned to one version: ours to this one, Temporal's to the server that the
    tests run with.
    """
    told = await env.client.workflow_service.get_system_info(GetSystemInfoRequest())
    images = {each["image"] for each in SERVICES.values()}
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert [] == [each for each in images | {*bases} if not re.search(r":\d+\.\d+[\w.-]*$", each)]
    assert f"temporal-hitl:{PROJECT['version']}" in images
    for name in ("server", "admin-tools"):
        assert f"temporalio/{name}:{told.server_version}" in images
    assert 1 == len({*bases})


def test_every_path_is_there() -> None:
    """What is mounted, copied and run is in the checkout, and what is copied is not ignored."""
    mounted = {
        target: ROOT / source
        for each in SERVICES.values()
        for source, target, *_ in (volume.split(":") for volume in each.get("volumes", []))
        if source.startswith(".")
    }
    named = {
        volume.partition(":")[0]
        for each in SERVICES.values()
        for volume in each.get("volumes", [])
        if not volume.startswith(".")
    }
    used = re.findall(r"/deploy/[\w.]+", TEXT)
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    kept = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert {"/deploy": ROOT / "deploy"} == mounted
    assert FILE["volumes"].keys() == named
    assert 3 == len(used)
    assert [] == [each for each in used if not (ROOT / each[1:]).is_file()]
    assert [] == [each for each in copied if not (ROOT / each).exists() or each not in kept]
    assert {"api", "workflows", "activities", "temporal_hitl"} <= {*copied}
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {".env", FILE["secrets"]["tokens"]["file"].removeprefix(".")} <= {*ignored}


def test_what_the_commands_name() -> None:
    """The commands of worker and API name modules that the image has, which serve the API's
    pipelines; the image installs extras that there are.
    """
    worker, api = (SERVICES[name]["command"] for name in ("worker", "api"))
    (extras,) = re.findall(r"'\.\[(.*)\]'", DOCKERFILE)

    assert (["temporal-hitl", "worker"], ["python", "-m", "api"]) == (worker[:2], api)
    assert [f"workflows.{each.name}" for each in PIPELINES] == worker[2:]
    assert all(find_spec(each) for each in [*worker[2:], "api.__main__"])
    assert PROJECT["optional-dependencies"].keys() >= {*extras.split(",")}
    assert "temporal-hitl" in PROJECT["scripts"]


def test_the_schema_job(tmp_path: Path) -> None:
    """The job makes and updates both databases, in order, and fails where a call does."""
    tool = tmp_path / "temporal-sql-tool"  # Stands in for Temporal's own, which no wheel has.
    tool.write_text('#!/bin/sh\necho "$@" >> "$CALLS"\n[ "$*" != "$BREAKS_AT" ]\n')
    tool.chmod(0o755)
    calls = tmp_path / "calls"
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    codes = [
        subprocess.run(
            ["/bin/sh", ROOT / "deploy" / "schema.sh"],
            env={"PATH": path, "CALLS": str(calls), "BREAKS_AT": breaks_at},
            stdout=subprocess.DEVNULL,
            timeout=WAIT,
        ).returncode
        for breaks_at in ("", "--db temporal setup-schema -v 0.0")
    ]
    versioned = "/etc/temporal/schema/postgresql/v12/{}/versioned"
    whole = [
        line
        for database, kind in (("temporal", "temporal"), ("temporal_visibility", "visibility"))
        for line in (
            f"--db {database} create",
            f"--db {database} setup-schema -v 0.0",
            f"--db {database} update-schema -d {versioned.format(kind)}",
        )
    ]

    assert [0, 1] == codes
    assert [*whole, *whole[:2]] == calls.read_text().splitlines()


@dataclass(frozen=True)
class Here:
    """Where a service runs without a container: the same command and variables, other places."""

    target: str
    namespace: str
    port: str
    tokens: Path

    @property
    def folder(self) -> Path:
        """Where files are."""
        return self.tokens.parent

    def words(self, service: dict[str, Any]) -> list[str]:
        """Return the command of a service."""
        places = {
            "temporal-hitl": [sys.executable, "-m", "temporal_hitl.cli"],
            "python": [sys.executable],
        }
        given = [*service.get("entrypoint", []), *service["command"]]
        words = [part for each in given for part in places.get(each, [each])]
        deploy = re.compile(r"^/deploy/")
        return [
            deploy.sub(f"{ROOT}/deploy/", each.replace(":8000/", f":{self.port}/"))
            for each in words
        ]

    def environment(self, service: dict[str, Any]) -> dict[str, str]:
        """Return the variables of a service."""
        elsewhere: dict[str, str] = {
            "TEMPORAL_ADDRESS": self.target,
            "TEMPORAL_NAMESPACE": self.namespace,
            "HITL_API_PORT": self.port,
            "HITL_API_TOKENS_FILE": str(self.tokens),
            "SUPPORT_DESK_DB": str(self.folder / "shop.db"),
            APPROVALS: str(self.folder / "approvals.jsonl"),
        }
        given: dict[str, str | None] = service["environment"]
        told = {name: value for name, value in given.items() if value is not None}
        return {
            "PATH": f"{Path(temporal_binary()).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            **{name: elsewhere.get(name, value) for name, value in told.items()},
        }

    async def started(self, service: dict[str, Any]) -> asyncio.subprocess.Process:
        """Start a service, or its check."""
        return await asyncio.create_subprocess_exec(
            *self.words(service),
            cwd=ROOT,
            env=self.environment(service),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def ran(self, service: dict[str, Any]) -> int:
        """Run a job to its end, and return its exit code."""
        process = await self.started(service)
        await asyncio.wait_for(process.communicate(), 3 * WAIT)
        return process.returncode or 0

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a service for the length of the block."""
        process = await self.started(SERVICES[name])
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await asyncio.wait_for(process.communicate(), WAIT)

    async def client(self) -> HitlClient:
        """Return a client of the namespace."""
        return HitlClient(
            await Client.connect(
                self.target, namespace=self.namespace, data_converter=pydantic_data_converter
            )
        )


async def test_as_plain_processes(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """The namespace job, the worker and the API, run as the file says beside the embedded server:
    the job may run twice, the API is healthy by its own check, answers a run that it started, and
    signs an approval, which it finds on file.
    """
    target = env.client.service_client.config.target_host
    namespace, port = new_queue(), str(await free_port())
    token = one_token(tmp_path / "tokens.toml")
    source = tmp_path / "article.txt"
    source.write_text("It is a fact that the utilisation of long words is not helpful to readers.")
    here = Here(target, namespace, port, tmp_path / "tokens.toml")
    jobs = [await here.ran(SERVICES["temporal-namespace"]) for _ in range(2)]
    async with here.running("worker") as worker, here.running("api") as api:
        assert worker.stdout is not None
        serves = (await asyncio.wait_for(worker.stdout.readline(), WAIT)).decode()
        async with AsyncClient(
            base_url=f"{HERE}:{port}", headers=bearer(token), timeout=WAIT
        ) as http:
            await until(lambda: lives(http), every=0.1)
            healthy = await here.ran({**SERVICES["api"], "command": api_check()})
            client = await here.client()
            input = {"source": str(source), "out": str(tmp_path / "out")}
            answered, output = await answers(http, client, article_refinement, input, "reject")
            wish = "I am C-026: delete my account."
            _, desk = await answers(http, client, support_desk.workflow, wish, "confirm")
            on_file = await http.get("/approvals", params={"run_id": desk.run_id})
        for each in (worker, api):
            each.terminate()
        codes = [await asyncio.wait_for(each.wait(), WAIT) for each in (worker, api)]

    assert [0, 0, 0] == [*jobs, healthy]
    assert serves.startswith(
        "serves data_release, article_refinement, support_desk (task queue 'hitl'"
    )
    assert (200, "ana") == (answered.status_code, answered.json()["resolution"]["resolved_by"])
    assert (RunStatus.completed, "deleted" in str(desk.content)) == (output.status, True)
    assert (0, True) == (codes[0], codes[1] in (0, -15))
    (record,) = ApprovalsFile(here.folder / "approvals.jsonl").records()
    assert [record.model_dump(mode="json")] == on_file.json()["items"]
    assert ("approved", "ana", "signed") == (record.status, record.resolved_by, record.identity)


async def answers(
    http: AsyncClient, client: HitlClient, pipeline: Definition, input: Any, action: str
) -> tuple[Response, WorkflowRunOutput]:
    """Start a run, answer what it asks, and return the answer's answer and how the run ended."""
    body = {"pipeline": pipeline.name, "input": input}
    run = (await http.post("/runs", json=body)).json()["run_id"]
    asked = (await paused(client, run)).requirements[0]
    path = f"/runs/{run}/requirements/{asked.id}/resolution"
    answered = await http.post(path, json={"action": action})
    output = await ended(client, run)
    await replays(client.handle(run), pipeline)
    return answered, output


@pytest.mark.slow
async def test_a_worker_without_keys(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """The worker of the file does not start without keys, or a file for approvals, and says what to
    set.
    """
    target = env.client.service_client.config.target_host
    here = Here(target, "default", "0", tmp_path / "tokens.toml")
    told = dict[str, tuple[int | None, bool]]()
    for name in (SIGNING, APPROVALS):
        worker = SERVICES["worker"]
        environment = {**here.environment(worker), name: ""}
        ran = await asyncio.to_thread(
            subprocess.run,
            here.words(worker),
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=3 * WAIT,
        )
        told[name] = (ran.returncode, f"set {name} " in ran.stderr)

    assert dict.fromkeys((SIGNING, APPROVALS), (6, True)) == told


def one_token(file: Path) -> str:
    """Write a file of tokens that has one, and return it."""
    roles = ["operator", "reviewer", "approver"]
    secrets, (kept,) = tokens(ana=roles)
    file.write_text(f'[[tokens]]\nuser = "ana"\nroles = {roles}\nsha256 = "{kept.sha256}"\n')
    return secrets["ana"]


def api_check() -> list[str]:
    """Return the command by which the engine finds out whether the API is healthy."""
    kind, *command = SERVICES["api"]["healthcheck"]["test"]
    assert "CMD" == kind
    return command


async def lives(http: AsyncClient) -> bool:
    """Return whether the API answers."""
    try:
        return (await http.get("/health/live")).status_code == 200
    except ConnectError:
        return False
