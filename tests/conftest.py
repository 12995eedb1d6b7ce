"""Fixtures of all tests: the virtual microphone, engines as real processes, and that nothing stays behind."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from mpengine.shared import deciding
from tests.rig.engine import RUNNING, EngineProcess
from tests.rig.microphone import VirtualMicrophone
from tests.rig.processes import heed_signals
from tests.rig.scratch import Scratch, end_with_parent
from tests.rig.small_disk import SmallDisk
from tests.rig.sound_card import SoundCards
from tests.rig.waiting import rig_threads, wait_until

SCRATCH = pytest.StashKey[Scratch]()


deciding.STRICT = True  # a step that no table of states allows fails the test


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """The same surroundings for every run, whoever starts it, and nothing that stays behind."""
    heed_signals()
    if hasattr(config, "workerinput"):
        end_with_parent()
        return
    config.stash[SCRATCH] = Scratch()
    if config.option.basetemp is None:
        config.option.basetemp = str(config.stash[SCRATCH].directory / "p")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Any:
    """Thousands of tests come, and none goes: to look for garbage among them was two fifths of the time."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Only the process that made it removes it."""
    if SCRATCH in config.stash:
        config.stash[SCRATCH].end()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whoever uses the microphone or pretended cards is a device test; whoever starts an engine or a command, a system
    test."""
    for item in items:
        if item.path.parent.name == "system":
            item.add_marker("system")
        fixtures = getattr(item, "fixturenames", ())
        for fixture, marker in (("microphone", "device"), ("cards", "device"), ("engine", "system")):
            if fixture in fixtures:
                item.add_marker(marker)
    if not os.environ.get("MPENGINE_LONG_TESTS"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    if hasattr(config, "workerinput"):  # one of several at once: long ones first, so that all are done at one time
        items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("slow", "system")])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failure shows the logs of the engines that were up."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {engine!r}", engine.log_tail()) for engine in RUNNING]
    return report


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """No thread of the rig and no engine outlives its test."""
    yield
    wait_until(lambda: not rig_threads(), 2, f"the end of the rig's threads: {rig_threads()}")
    left, RUNNING[:] = list(RUNNING), []
    for engine in left:
        engine.close()
    assert not left, f"not closed: {left}"


@pytest.fixture(scope="session")
def _microphone() -> Iterator[VirtualMicrophone]:
    with VirtualMicrophone() as microphone:
        yield microphone


@pytest.fixture
def microphone(_microphone: VirtualMicrophone) -> Iterator[VirtualMicrophone]:
    """The session's virtual microphone: alive and plugged in before the test, alive and free after it."""
    _microphone.check()
    yield _microphone
    _microphone.check()
    _microphone.stop_playing()
    _microphone.wait_for_recording(0)
    if not _microphone.plugged:
        _microphone.plug()


@pytest.fixture
def cards() -> Iterator[SoundCards]:
    """Pretended sound cards: none at first, the test adds its devices."""
    with SoundCards() as cards:
        yield cards


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of 64 KiB."""
    if not SmallDisk.is_possible():
        pytest.skip("no file system can be mounted here, not even in a namespace")
    where = tmp_path / "small"
    where.mkdir()
    with SmallDisk(where) as directory:
        yield directory


class Peer(Protocol):
    """What an engine must be told about: the microphone, a server with its own certificate authority."""

    @property
    def environment(self) -> dict[str, str]: ...


class StartEngine(Protocol):
    """`engine(config, microphone, server, name=..., arguments=...)` starts an engine and returns it."""

    def __call__(self, config: dict[str, dict[str, Any]], *peers: Peer, **options: Any) -> EngineProcess: ...


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[StartEngine]:
    """Starts engines (see EngineProcess); every process of theirs is gone after the test."""
    # An engine must end before the microphone is asked whether it is free, and before its cards have gone.
    for device in {"microphone", "cards"} & set(request.fixturenames):
        request.getfixturevalue(device)
    engines: list[EngineProcess] = []

    def start(config: dict[str, dict[str, Any]], *peers: Peer, **options: Any) -> EngineProcess:
        environment = {name: value for peer in peers for name, value in peer.environment.items()}
        environment |= options.pop("environment", {})
        engines.append(EngineProcess(config, environment=environment, **options))
        return engines[-1].start()

    yield start
    for each in reversed(engines):
        each.close()
