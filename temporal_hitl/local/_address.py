"""Where a Temporal server is: the embedded one, or the one that the user has configured."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from temporalio.envconfig import ClientConfig, ClientConnectConfig

__all__ = ["Address", "connection", "ui_url"]


@dataclass(frozen=True)
class Address:
    """Says where clients and browsers reach a server."""

    target: str
    """The `host:port` that a client connects to."""

    namespace: str = "default"
    """The namespace that runs live in."""

    ui: str | None = None
    """The Web UI's URL, without a trailing slash, where it is known."""


def connection() -> ClientConnectConfig | None:
    """Return what the environment or a profile file configures, or None if neither does.

    Reads what every Temporal tool reads: `TEMPORAL_ADDRESS`, `TEMPORAL_PROFILE`, `temporal.toml`
    and so on. Settings without an address mean `localhost:7233`, as they do elsewhere.
    """
    config = ClientConfig.load_client_connect_config()
    if not config:
        return None
    config.setdefault("target_host", "localhost:7233")
    return config


def ui_url(address: Address, workflow_id: str) -> str | None:
    """Return the Web UI's page of a run, or None where the Web UI's address is not known."""
    if address.ui is None:
        return None
    namespace, run = (quote(part, safe="") for part in (address.namespace, workflow_id))
    return f"{address.ui}/namespaces/{namespace}/workflows/{run}"
