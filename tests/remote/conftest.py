"""A cache of remote stores for each test, and no token of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("urllib3")
    monkeypatch.setenv("PI_REMOTE_CACHE", str(tmp_path / "remote cache"))
    monkeypatch.setenv("PI_CACHE_TOKEN_FILE", str(tmp_path / "tokens"))
    for name in ("PI_CACHE_TOKEN", "PI_CACHE_INSECURE", "PI_REMOTE_CACHE_SIZE", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
