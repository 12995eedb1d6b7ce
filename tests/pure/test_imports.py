"""Who may import whom: read from the source, and tried in fresh interpreters."""

import ast
import graphlib
from pathlib import Path

import pytest

import mpengine
from tests.pure.support import in_fresh_interpreter

ROOT = Path(mpengine.__file__).parent

PURE = [
    *(f"mpengine.capture.{name}" for name in ("devices", "level", "losses", "sample_clock", "source")),
    *(
        f"mpengine.streaming.{name}"
        for name in (
            "actions",
            "answer_watch",
            "causes",
            "connection_events",
            "deepgram",
            "dialect",
            "finishing",
            "hearing",
            "managed",
            "outage",
            "outgoing",
            "pacer",
            "secrecy",
            "session",
            "timeline",
            "untimed",
            "upkeep",
            "vendor_json",
        )
    ),
    *(
        f"mpengine.supervisor.{name}"
        for name in (
            "actions",
            "care",
            "coordinator",
            "ends",
            "history",
            "journal_records",
            "ledger",
            "life",
            "picture",
            "reports",
            "results",
            "told_gaps",
            "utc",
        )
    ),
    *(f"mpengine.client.{name}" for name in ("catching_up", "following", "known", "patience", "received")),
    "mpengine.embedded.story",
    *(
        f"mpengine.cli.{name}"
        for name in ("cues", "lines", "positions", "subtitle_ends", "subtitles", "text", "tokens")
    ),
    *(f"mpengine.shared.{name}" for name in ("backoff", "control", "decoding", "errors", "forks", "frames")),
    *(f"mpengine.shared.{name}" for name in ("messages", "repeats")),
]
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
PACKAGES = ("capture", "streaming", "supervisor", "recogniser")


def _module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_for_type_checkers(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _import_statements(node):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif not _is_for_type_checkers(child):
            yield from _import_statements(child)


def _imported(tree):
    """The full names of the modules that `tree` imports; `from package import module` counts as the module."""
    names = set()
    for statement in _import_statements(tree):
        if isinstance(statement, ast.Import):
            names.update(alias.name for alias in statement.names)
        else:
            assert statement.level == 0, "relative import"
            whole = {f"{statement.module}.{alias.name}" for alias in statement.names}
            modules = whole & MODULES.keys()
            names |= modules
            if whole - modules:
                names.add(statement.module)
    return names


MODULES = {_module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
IMPORTS = {name: _imported(tree) for name, tree in MODULES.items()}


def _package(name):
    return name.split(".")[1] if name.startswith("mpengine.") else None


def _reachable(start):
    """All modules, ours and others', that the modules in `start` import, directly or not."""
    seen, waiting = set(), set(start)
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= IMPORTS.get(name, set()) - seen
    return {name.split(".")[0] if not name.startswith("mpengine") else name for name in seen}


def _modules_of(package):
    return {name for name in MODULES if _package(name) == package}


def test_the_list_of_pure_modules_names_modules_that_exist():
    assert set(PURE) <= MODULES.keys()


def test_no_module_imports_itself_over_others():
    ours = {name: found & MODULES.keys() for name, found in IMPORTS.items()}
    graphlib.TopologicalSorter(ours).prepare()  # raises CycleError


@pytest.mark.parametrize("package", PACKAGES)
def test_a_process_imports_nothing_of_another_process(package):
    found = {other for name in _modules_of(package) for other in IMPORTS[name]}
    others = set(PACKAGES) - {package}
    assert not {name for name in found if _package(name) in others}


def test_the_zygote_imports_only_what_is_shared():
    assert {_package(name) for name in IMPORTS["mpengine.zygote"] if name.startswith("mpengine.")} == {"shared"}


def test_shared_imports_only_shared():
    found = {other for name in _modules_of("shared") for other in IMPORTS[name] if other.startswith("mpengine")}
    assert {_package(name) for name in found} <= {"shared"}


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("sounddevice", {"mpengine.capture.microphone"}),
        ("tomllib", {"mpengine.shared.config_file"}),
        ("numpy", set()),
    ],
)
def test_a_library_is_known_to_one_module(library, homes):
    assert {name for name, found in IMPORTS.items() if library in {other.split(".")[0] for other in found}} == homes


@pytest.mark.parametrize("library", ["websocket", "ssl"])
def test_websocket_and_tls_are_known_to_streaming_alone(library):
    users = {name for name, found in IMPORTS.items() if library in {other.split(".")[0] for other in found}}
    assert users
    assert {_package(name) for name in users} == {"streaming"}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("supervisor", {"sounddevice", "numpy", "websocket", "ssl"}),
        ("capture", {"websocket", "ssl", "numpy"}),
        ("streaming", {"sounddevice", "numpy"}),
    ],
)
def test_a_process_imports_no_library_of_another_even_over_others(package, forbidden):
    assert not _reachable(_modules_of(package)) & forbidden


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_knows_no_world(name):
    allowed = {"signal"} if name == "mpengine.supervisor.life" else set()  # the names of signals, not their handlers
    assert not {other.split(".")[0] for other in IMPORTS[name]} & (WORLD - allowed)


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_opens_prints_and_asks_nothing(name):
    called = {
        node.func.id
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
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
        ("mpengine.embedded.engine", {"numpy", "sounddevice", "websocket", "ssl", "asyncio"}),
    ],
    ids=["package", "pure modules", "supervisor", "capture", "streaming", "subscriber", "engine in a program"],
)
def test_a_fresh_interpreter_loads_only_what_the_process_needs(modules, forbidden):
    assert not set(in_fresh_interpreter(_LOADED, modules).split()) & forbidden


@pytest.mark.parametrize("name", ["Config", "Engine", "Hole", "Subscriber", "Supervisor", "TranscriptionResult"])
def test_the_package_gives_its_public_names_on_use(name):
    assert getattr(mpengine, name).__name__ == name


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Engineer'"):
        mpengine.Engineer  # noqa: B018
