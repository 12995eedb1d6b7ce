"""Fixtures of several of these tests."""

import threading

import pytest

from tests.parts.peers import SOON, Authority
from tests.rig.live_bus import LiveBus


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["ws", "wss"])
def tls(request):
    """The authority of a connection under TLS, None for a plain one."""
    return request.getfixturevalue("authority") if request.param == "wss" else None


@pytest.fixture
def usual_place(tmp_path, monkeypatch):
    """The runtime directory of the engine called "default": programs that the test starts look there for it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = tmp_path / "mpengine" / "default"
    place.mkdir(parents=True, mode=0o700)
    return place


@pytest.fixture
def desk(tmp_path):
    """The bus of an engine called "desk", below the test's directory."""
    with LiveBus(tmp_path, "desk") as bus:
        yield bus


@pytest.fixture
def no_thread_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(SOON)
        assert not thread.is_alive(), thread


@pytest.fixture
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
