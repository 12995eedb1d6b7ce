"""The test rig: real peers with fault knobs instead of mocks.

A microphone without hardware, recognisers that speak the real protocols and misbehave on request, and the
engine as the processes its users start. Nothing in here imports mpengine, but for the children that misbehave
(`bad_child`, `bad_engine`) and a GUI's stand-in.
"""

from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import EngineProcess
from tests.rig.listener import Listener
from tests.rig.microphone import VirtualMicrophone
from tests.rig.proxy import FakeProxy
from tests.rig.server import Server, reserve_port
from tests.rig.waiting import MS, scaled, wait_until

__all__ = [
    "MS",
    "EngineProcess",
    "FakeDeepgram",
    "FakeProxy",
    "Listener",
    "Server",
    "VirtualMicrophone",
    "reserve_port",
    "scaled",
    "wait_until",
]
