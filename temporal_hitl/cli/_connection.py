"""How a command reaches Temporal: the options, variables and files of the `temporal` command.

Owns the options and the order in which they count: an option, then its variable, then the profile
in the file. With nothing configured at all, the embedded server of this folder where one runs.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfigProfile
from temporalio.service import RPCError

from temporal_hitl.cli._exits import Usage
from temporal_hitl.cli._modules import look_here
from temporal_hitl.errors import ServerError
from temporal_hitl.local import DEFAULT_DB_FILE, Found, found

USUAL = "localhost:7233"


def _option(name: str, help: str, variable: str | None = None, *more: str) -> Any:
    told = help if variable is None else f"{help} [{variable}]"
    return typer.Option(name, *more, help=told, rich_help_panel="Connection")


@dataclass(frozen=True)
class Connection:
    """What was said about the connection; None where nothing was."""

    address: Annotated[
        str | None,
        _option("--address", f"Where Temporal is; {USUAL} unless said.", "TEMPORAL_ADDRESS"),
    ] = None
    namespace: Annotated[
        str | None, _option("--namespace", "The namespace.", "TEMPORAL_NAMESPACE", "-n")
    ] = None
    profile: Annotated[
        str | None, _option("--profile", "The profile in the file.", "TEMPORAL_PROFILE")
    ] = None
    config_file: Annotated[
        str | None, _option("--config-file", "The file (TOML).", "TEMPORAL_CONFIG_FILE")
    ] = None
    disable_config_file: Annotated[
        bool | None, _option("--disable-config-file", "Read no file.")
    ] = None
    disable_config_env: Annotated[
        bool | None, _option("--disable-config-env", "Read no variable.")
    ] = None
    api_key: Annotated[str | None, _option("--api-key", "The API key.", "TEMPORAL_API_KEY")] = None
    tls: Annotated[bool | None, _option("--tls/--no-tls", "Use TLS.", "TEMPORAL_TLS")] = None
    tls_server_name: Annotated[
        str | None,
        _option("--tls-server-name", "The server's name in TLS.", "TEMPORAL_TLS_SERVER_NAME"),
    ] = None
    tls_ca_path: Annotated[
        str | None,
        _option("--tls-ca-path", "The server's CA.", "TEMPORAL_TLS_SERVER_CA_CERT_PATH"),
    ] = None
    tls_ca_data: Annotated[
        str | None,
        _option("--tls-ca-data", "The CA itself.", "TEMPORAL_TLS_SERVER_CA_CERT_DATA"),
    ] = None
    tls_cert_path: Annotated[
        str | None,
        _option("--tls-cert-path", "Your certificate.", "TEMPORAL_TLS_CLIENT_CERT_PATH"),
    ] = None
    tls_cert_data: Annotated[
        str | None,
        _option("--tls-cert-data", "The certificate itself.", "TEMPORAL_TLS_CLIENT_CERT_DATA"),
    ] = None
    tls_key_path: Annotated[
        str | None, _option("--tls-key-path", "Your key.", "TEMPORAL_TLS_CLIENT_KEY_PATH")
    ] = None
    tls_key_data: Annotated[
        str | None, _option("--tls-key-data", "The key itself.", "TEMPORAL_TLS_CLIENT_KEY_DATA")
    ] = None
    grpc_meta: Annotated[
        list[str] | None, _option("--grpc-meta", "KEY=VALUE for each call; may be repeated.")
    ] = None
    data_converter: Annotated[
        str | None,
        _option(
            "--data-converter",
            "MODULE:NAME of a DataConverter of yours, where payloads are encrypted or stored.",
            "TEMPORAL_HITL_DATA_CONVERTER",
        ),
    ] = None

    def over(self, other: Connection) -> Connection:
        """Return what is said here, and what `other` says where nothing is."""
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        return Connection(
            **{
                name: getattr(other, name) if value in (None, []) else value
                for name, value in said.items()
            }
        )

    def repeated(self) -> str:
        """Return the options as they belong into a command that is to be pasted; no secrets."""
        parts = list[str]()
        for each in ("address", "namespace", "profile", "config_file", "data_converter"):
            if (value := getattr(self, each)) is not None:
                parts += [f"--{each.replace('_', '-')}", value]
        return "".join(f" {shlex.quote(each)}" for each in parts)

    def configured(self) -> dict[str, Any]:
        """Return what `Client.connect` takes, wherever it was said; empty where nothing was.

        Raises:
            Usage: a profile, a file or an option that does not do.
        """
        if self.config_file and not Path(self.config_file).is_file():
            raise Usage(f"--config-file: there is no file {self.config_file!r}")
        base = {} if self.disable_config_env else dict(os.environ)
        try:
            profile = ClientConfigProfile.load(
                self.profile,
                config_source=Path(self.config_file) if self.config_file else None,
                disable_file=bool(self.disable_config_file),
                override_env_vars=self._variables(base),
            )
            return dict(profile.to_client_connect_config())
        except Exception as error:  # The SDK's own class for it is private.
            raise Usage(f"the connection is not well configured: {error}") from error

    def _variables(self, base: Mapping[str, str]) -> dict[str, str]:
        # The SDK knows the order of file and variables; so what was typed takes a variable's place.
        variables = dict(base)
        for name, variable in _VARIABLES.items():
            value = getattr(self, name)
            if value is None:
                continue
            for twin in (variable.replace("_PATH", "_DATA"), variable.replace("_DATA", "_PATH")):
                variables.pop(twin, None)
            variables[variable] = str(value).lower() if isinstance(value, bool) else value
        for each in self.grpc_meta or ():
            key, sign, value = each.partition("=")
            if not sign:
                raise Usage(f"--grpc-meta takes KEY=VALUE, not {each!r}")
            variables[f"TEMPORAL_GRPC_META_{key.upper().replace('-', '_')}"] = value
        return variables

    def embedded(self) -> Found | None:
        """Return the embedded server of this folder, where one runs and nothing is configured.

        Raises:
            Usage: a profile, a file or an option that does not do.
        """
        # A namespace alone says nothing of where.
        return None if self.configured().keys() - {"namespace"} else found(DEFAULT_DB_FILE)

    async def connect(self) -> Client:
        """Return a client.

        Raises:
            Usage: a profile, a file or an option that does not do.
            ServerError: nobody answers there.
        """
        config = self.configured()
        embedded = self.embedded()
        converter = self._converter()
        if embedded is not None:
            config["target_host"] = embedded.address.target
            converter = converter or embedded.data_converter
        config.setdefault("target_host", USUAL)
        try:
            return await Client.connect(
                **config, data_converter=converter or pydantic_data_converter
            )
        except (RuntimeError, ValueError, RPCError) as error:
            raise ServerError(
                f"no Temporal server answers at {config['target_host']} ({_why(error)}); name"
                " another with --address or TEMPORAL_ADDRESS, or start one: temporal-hitl dev"
            ) from error

    def _converter(self) -> DataConverter | None:
        given = self.data_converter or os.environ.get("TEMPORAL_HITL_DATA_CONVERTER")
        if not given:
            return None
        module, _, name = given.partition(":")
        look_here()
        try:
            converter = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise Usage(f"--data-converter {given!r} is no MODULE:NAME: {error}") from error
        if not isinstance(converter, DataConverter):
            raise Usage(f"--data-converter {given!r} is no temporalio.converter.DataConverter")
        return converter


def _why(error: Exception) -> str:
    # The SDK tells the whole chain as Rust prints it; the innermost message says it.
    said = re.findall(r'(?:message|error): "([^"]+)"', str(error))
    return said[-1] if said else str(error)[:200]


_VARIABLES = {
    "address": "TEMPORAL_ADDRESS",
    "namespace": "TEMPORAL_NAMESPACE",
    "api_key": "TEMPORAL_API_KEY",
    "tls": "TEMPORAL_TLS",
    "tls_server_name": "TEMPORAL_TLS_SERVER_NAME",
    "tls_ca_path": "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    "tls_ca_data": "TEMPORAL_TLS_SERVER_CA_CERT_DATA",
    "tls_cert_path": "TEMPORAL_TLS_CLIENT_CERT_PATH",
    "tls_cert_data": "TEMPORAL_TLS_CLIENT_CERT_DATA",
    "tls_key_path": "TEMPORAL_TLS_CLIENT_KEY_PATH",
    "tls_key_data": "TEMPORAL_TLS_CLIENT_KEY_DATA",
}
