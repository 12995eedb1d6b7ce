"""Who may import whom: read from the source, and tried in fresh interpreters."""

import ast

import pytest

import mpengine
from mpengine.shared import messages
from tests.pure.support import in_fresh_interpreter
from tests.rig import structure
from tests.rig.structure import IMPORTS, PATHS, TREES, modules_of, room

PURE = [name for name in PATHS if structure.is_pure(name)]
WORLD = {
    "asyncio",
    "datetime",
    "fcntl",
    "io",
    "multiprocessing",
    "os",
    "queue",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "uuid",
    "websocket",
    "sounddevice",
    "zmq",
}


def _reachable(start):
    """All modules, ours and others', that the modules in `start` import, directly or not."""
    seen, waiting = set(), set(start)
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= IMPORTS.get(name, set()) - seen
    return {name.split(".")[0] if not name.startswith("mpengine") else name for name in seen}


def test_nothing_imports_what_stands_above_it_or_beside_it():
    assert structure.upward_arrows() == []


def test_no_module_imports_itself_over_others():
    assert structure.circle() == []


def test_every_room_has_its_floor():
    assert {room(name) for name in PATHS} == set().union(*structure.FLOORS)


@pytest.mark.parametrize("ordered", structure.FLOORS_INSIDE)
def test_every_folder_of_a_room_that_is_ordered_has_its_floor(ordered):
    folders = {path.parent.name for path in (structure.ROOT / ordered).glob("*/__init__.py")}
    assert folders | {""} == set().union(*structure.FLOORS_INSIDE[ordered])


@pytest.mark.parametrize("folder", ["dialects", "supervisor/decide"])
def test_a_folder_of_decisions_is_pure_as_a_whole(folder):
    inside = {name for name, path in PATHS.items() if path.parent == structure.ROOT / folder}
    assert len(inside) > 1
    assert inside <= set(PURE)


@pytest.mark.parametrize("room_of_a_process", ["capture", "streaming", "supervisor", "recogniser"])
def test_a_process_has_decisions_that_are_pure(room_of_a_process):
    assert modules_of(room_of_a_process) & set(PURE)


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("sounddevice", {"mpengine.capture.portaudio"}),
        ("tomllib", {"mpengine.shared.config.file"}),
        ("numpy", {"mpengine.capture.polyphase"}),
        ("rich", {"mpengine.cli.terminal.drawing", "mpengine.cli.status_table"}),
    ],
)
def test_a_library_is_known_to_one_module(library, homes):
    assert {name for name, found in IMPORTS.items() if library in {other.split(".")[0] for other in found}} == homes


def test_private_modules_of_websocket_client_are_known_to_one_module():
    users = {name for name, found in IMPORTS.items() if any(other.startswith("websocket._") for other in found)}
    assert users == {"mpengine.streaming.websocket.library"}


@pytest.mark.parametrize("library", ["websocket", "ssl"])
def test_websocket_and_tls_are_known_to_streaming_alone_and_tls_to_the_relay(library):
    users = {name for name, found in IMPORTS.items() if library in {other.split(".")[0] for other in found}}
    to_brokers = modules_of("relay") | {"mpengine.cli.relay"} if library == "ssl" else set()
    assert {room(name) for name in users - to_brokers} == {"streaming"}


@pytest.mark.parametrize(
    ("process", "forbidden"),
    [
        ("supervisor", {"sounddevice", "numpy", "websocket", "ssl"}),
        ("capture", {"websocket", "ssl"}),
        ("streaming", {"sounddevice", "numpy"}),
    ],
)
def test_a_process_imports_no_library_of_another_even_over_others(process, forbidden):
    assert not _reachable(modules_of(process)) & forbidden


def test_the_web_server_is_a_client_like_any_other():
    ours = {room(other) for name in modules_of("web") for other in IMPORTS[name] if other in PATHS}
    assert ours == {"web", "client", "formats", "shared"}


@pytest.mark.parametrize("library", ["uvicorn", "prometheus_client"])
def test_libraries_of_the_web_server_are_known_to_it_alone(library):
    users = {name for name, found in IMPORTS.items() if library in {other.split(".")[0] for other in found}}
    assert {room(name) for name in users} == {"web"}


def test_the_relay_is_a_client_like_any_other():
    ours = {room(other) for name in modules_of("relay") for other in IMPORTS[name] if other in PATHS}
    assert ours == {"relay", "client", "shared"}


@pytest.mark.parametrize(("library", "home"), [("nats", "mpengine.relay.jetstream"), ("paho", "mpengine.relay.mqtt")])
def test_the_library_for_a_broker_is_known_to_one_module(library, home):
    assert {name for name, found in IMPORTS.items() if library in {other.split(".")[0] for other in found}} == {home}


def test_the_recorder_is_a_client_and_soundfile_is_known_to_one_module_of_it():
    ours = {room(other) for name in modules_of("recorder") for other in IMPORTS[name] if other in PATHS}
    assert ours == {"recorder", "client", "shared"}
    assert {name for name, found in IMPORTS.items() if "soundfile" in found} == {"mpengine.recorder.flac"}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_knows_no_world(name):
    # This one knows the names of signals, not their handlers.
    allowed = {"signal"} if name == "mpengine.shared.signal_names" else set()
    assert not {other.split(".")[0] for other in IMPORTS[name]} & (WORLD - allowed)


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_opens_prints_and_asks_nothing(name):
    called = {
        node.func.id for node in ast.walk(TREES[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"open", "print", "input", "exec", "eval", "__import__"}


def test_the_window_knows_files_but_no_socket_clock_or_thread():
    found = {other.split(".")[0] for other in IMPORTS["mpengine.capture.window"]}
    assert not found & (WORLD - {"os", "fcntl"})


_LOADED = """
import importlib, sys
for name in sys.argv[1].split(","):
    importlib.import_module(name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        ("mpengine", {"zmq", "msgspec", "sounddevice", "websocket", "ssl", "numpy"}),
        (",".join(PURE), {"zmq", "socket", "ssl", "asyncio", "subprocess", "sounddevice", "websocket", "numpy"}),
        ("mpengine.supervisor.process", {"numpy", "sounddevice", "websocket", "ssl"}),
        ("mpengine.capture.process,mpengine.capture.microphone,mpengine.capture.wav", {"numpy", "websocket", "ssl"}),
        ("mpengine.streaming.process", {"numpy", "sounddevice"}),
        ("mpengine.client.subscriber", {"numpy", "sounddevice", "websocket", "ssl", "asyncio"}),
        ("mpengine.embedded.engine", {"numpy", "sounddevice", "websocket", "ssl", "asyncio", "rich"}),
        ("mpengine.cli.run,mpengine.cli.listen,mpengine.cli.status,mpengine.cli.engines", {"rich"}),
    ],
    ids=[
        "package",
        "pure modules",
        "supervisor",
        "capture",
        "streaming",
        "subscriber",
        "engine in a program",
        "commands that draw nothing",
    ],
)
def test_a_fresh_interpreter_loads_only_what_the_process_needs(modules, forbidden):
    assert not set(in_fresh_interpreter(_LOADED, modules).split()) & forbidden


@pytest.mark.parametrize("name", mpengine.__all__)
def test_the_package_gives_its_public_names_on_use(name):
    assert getattr(mpengine, name).__name__ == name if name != "Message" else mpengine.Message == messages.Published


def test_each_type_of_published_messages_is_a_public_name():
    assert {kind.__name__ for kind in messages.Published.__args__} <= set(mpengine.__all__)


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Engineer'"):
        mpengine.Engineer  # noqa: B018
