"""Each process holds only what it needs: the modules that the real processes had loaded when they ended."""

import pytest

from tests.rig import wav_files
from tests.rig.configs import byok, noise
from tests.rig.deepgram import FakeDeepgram

# Runs in every Python process of the engine (the site module imports it): a list of modules at its end.
SITECUSTOMIZE = """
import atexit, os, sys
def write():
    with open("/proc/self/comm") as file:  # all children are forked from one command
        name = " ".join([file.read().strip(), *sys.orig_argv])
    with open(os.path.join({directory!r}, f"modules.{{os.getpid()}}"), "w") as file:
        file.write("\\n".join([name, *sys.modules]))
atexit.register(write)
"""
# Libraries load `inspect` (and `ast` and `dis` with it), and `typing_extensions` where it is installed. To keep them
# out would save a megabyte in all, and take a stand-in for a module of somebody else.
HEAVY = {"numpy", "asyncio", "pathlib", "subprocess", "tempfile", "rich"}
NEVER = {
    "mpe-capture": HEAVY | {"websocket", "ssl", "mpengine.streaming", "mpengine.supervisor"},
    "mpe-streaming": HEAVY | {"sounddevice", "mpengine.capture", "mpengine.supervisor"},
    "mpengine run": HEAVY
    | {"sounddevice", "websocket", "ssl", "urllib.parse", "mpengine.capture", "mpengine.streaming"},
}


@pytest.fixture
def site(tmp_path):
    """The environment of an engine whose processes write down their modules."""
    directory, out = tmp_path / "site", tmp_path / "out"
    directory.mkdir()
    out.mkdir()
    (directory / "sitecustomize.py").write_text(SITECUSTOMIZE.format(directory=str(out)))
    return {"PYTHONPATH": str(directory)}


def loaded(tmp_path):
    """The modules of each process that has ended."""
    found = {}
    for file in (tmp_path / "out").iterdir():
        command, *modules = file.read_text().splitlines()
        found[next(name for name in NEVER if name in command)] = set(modules)
    assert set(found) == set(NEVER)
    return found


def test_each_process_loads_only_what_it_needs(microphone, engine, tmp_path, site):
    with FakeDeepgram(echoing=True, tls=True) as server:
        running = engine(byok(server), microphone, environment=site)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        assert running.stop() == 0
    found = loaded(tmp_path)
    assert {name: sorted(modules & NEVER[name]) for name, modules in found.items()} == {name: [] for name in NEVER}
    # And the list is not empty by mistake.
    assert {"sounddevice", "zmq"} <= found["mpe-capture"]
    assert {"websocket", "ssl", "zmq"} <= found["mpe-streaming"]


@pytest.mark.parametrize(("rate_hz", "loads"), [(16000, False), (48000, True)])
def test_numpy_is_loaded_by_capture_alone_and_only_to_convert(engine, tmp_path, site, rate_hz, loads):
    source = wav_files.write(tmp_path / "noise.wav", wav_files.wav(noise(3), rate_hz=rate_hz))
    with FakeDeepgram(echoing=True, tls=True) as server:
        running = engine(byok(server) | {"audio": {"source": source, "paced": False}}, environment=site)
        assert running.wait() == 0
    found = loaded(tmp_path)
    assert {name for name, modules in found.items() if "numpy" in modules} == ({"mpe-capture"} if loads else set())
    assert not found["mpe-capture"] & {"sounddevice", "websocket", "ssl"}
