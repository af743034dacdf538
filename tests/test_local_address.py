"""Where a server is said to be: by the environment, by a profile file, by an address."""

from pathlib import Path

import pytest

from temporal_hitl.local import Address, connection, ui_url


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide what the machine's own environment and profile file say."""
    for name in ("ADDRESS", "NAMESPACE", "PROFILE", "API_KEY", "TLS"):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "temporal.toml"))


def test_nothing_configured() -> None:
    """With neither environment nor profile nothing is invented: the embedded server is for that."""
    assert connection() is None


def test_an_address_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TEMPORAL_ADDRESS` and `TEMPORAL_NAMESPACE` mean what they mean to every Temporal tool."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "release")
    assert connection() == {"target_host": "temporal.example:7233", "namespace": "release"}


def test_settings_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a namespace alone means the usual local address, not an embedded server."""
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "release")
    assert connection() == {"target_host": "localhost:7233", "namespace": "release"}


def test_a_profile_file(tmp_path: Path) -> None:
    """The default profile of `temporal.toml` is enough to connect."""
    (tmp_path / "temporal.toml").write_text('[profile.default]\naddress = "profile.example:7233"\n')
    assert connection() == {"target_host": "profile.example:7233"}


def test_a_runs_page() -> None:
    """A run's page in the Web UI is addressed by its id, whatever characters that has."""
    address = Address("127.0.0.1:7233", namespace="a b", ui="http://127.0.0.1:8233")
    assert ui_url(address, "order/1 ?") == (
        "http://127.0.0.1:8233/namespaces/a%20b/workflows/order%2F1%20%3F"
    )


def test_no_page_without_a_web_ui() -> None:
    """Where no Web UI is known, no address is invented."""
    assert ui_url(Address("temporal.example:7233"), "order") is None
