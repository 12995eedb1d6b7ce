"""Hypothesis in these tests: the same examples in every run, and nothing left on disk. And a fixture of several."""

import pytest
from hypothesis import settings

from mpengine.shared.config import secrets

settings.register_profile("pure", derandomize=True, deadline=None, database=None)
settings.load_profile("pure")


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """The working directory; there is neither a configuration nor a secret around."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for variable in secrets().values():
        monkeypatch.delenv(variable, raising=False)
