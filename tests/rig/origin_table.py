"""What GUIs see of an engine: the origin engine's behaviour, row by row, and where mpengine's differs on purpose.

Each row is a script that plays a GUI against a recogniser. It was run with the origin engine's class; what that did is
in `origin`. `ours` has what mpengine does instead, and `why`. Keys that are not in `ours` are to be equal.
"""

import concurrent.futures
import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.rig.configs import byok, managed
from tests.rig.deepgram import FakeDeepgram
from tests.rig.gui import Gui
from tests.rig.proxy import FakeProxy
from tests.rig.server import Server, reserve_port
from tests.rig.waiting import scaled, wait_until

EngineClass = Callable[..., Any]
Seen = dict[str, Any]
SECRETS_AND_PORTS = re.compile(r":\d{5}|, \d{5}")


@dataclass(frozen=True)
class Row:
    """`script(engine_class)` tells what it has seen."""

    name: str
    script: Callable[[EngineClass], Seen]
    origin: Seen
    ours: Seen = field(default_factory=dict)
    why: str = ""


def _managed(server: FakeProxy, **remote: Any) -> Any:
    # Without times, a stop waits so long for last words.
    return managed(server, hold_s=0.2, **remote)


def _say(server: Server, text: str, *, final: bool = True, n: int = 1) -> None:
    """A result for what was sent last."""
    connection = server.current
    end = connection.samples
    for _ in range(n):
        connection.send(connection.transcript(text, max(0, end - 800), end, final=final))


def _told(text: str) -> str:
    return SECRETS_AND_PORTS.sub(":PORT", text)


def _errors(gui: Gui) -> list[str]:
    return [_told(call[1]) for call in gui.of_kind("error")]


def _last_error(gui: Gui) -> str:
    return _told(getattr(gui.engine, "_last_error", "(none)"))


# Connecting


def connects(engine_class: EngineClass) -> Seen:
    with FakeDeepgram() as server, Gui(engine_class, byok(server)) as gui:
        engine = gui.engine
        engine.language = "de"
        steps = [(engine.is_ready(), engine.is_recording_active())]
        answers = [engine.initialize(), engine.start_recording()]
        steps.append((engine.is_ready(), engine.is_recording_active()))
        answers += [engine.initialize(), engine.start_recording()]
        results = _results(gui, server)
        answers.append(engine.stop_recording())
        steps.append((engine.is_ready(), engine.is_recording_active()))
        answers.append(engine.stop())
        steps.append((engine.is_ready(), engine.is_recording_active()))
        connection = server.connections[0]
        query = {key: values[0] for key, values in sorted(connection.query.items())}
        seen = {"steps": steps, "answers": answers, "query": query, "authorization": connection.authorization}
        return seen | results | {"connections": len(server.connections)}


def needs_initialize(engine_class: EngineClass) -> Seen:
    with FakeDeepgram() as server, Gui(engine_class, byok(server)) as gui:
        before = gui.engine.start_recording()
        gui.engine.stop_recording()
        gui.engine.initialize()
        gui.engine.stop()
        return {"before": before, "after stop": gui.engine.start_recording(), "attempts": len(server.attempts)}


def refuses_configurations(engine_class: EngineClass) -> Seen:
    url, token = {"server_url": "proxy.example"}, {"auth_token": "a-token"}
    tables = {
        "default": {},
        "managed without URL": {"mode": "managed", **token},
        "managed without token": {"mode": "managed", **url},
        "managed": {**url, **token},
        "byok without key": {"mode": "byok", "byok_api_key": ""},
        "byok": {"mode": "byok", "byok_api_key": "a-key"},
        "unknown mode": {"mode": "magic"},
        "null": {"mode": "byok", "byok_api_key": None},
    }
    return {name: Gui(engine_class, {"remote": remote}).engine.initialize() for name, remote in tables.items()}


def has_attributes(engine_class: EngineClass) -> Seen:
    engine = engine_class({"remote.mode": "byok", "remote.byok_api_key": "a-key"}, input_device_index=3)
    names = "user_name input_device_index mode server_url auth_token byok_api_key deepgram_model language"
    names += " sample_rate channels blocksize realtime_callback final_callback"
    return {name: getattr(engine, name) for name in names.split()} | {"key in repr": "a-key" in repr(engine)}


def wrong_key(engine_class: EngineClass) -> Seen:
    with FakeDeepgram(api_key="another") as server, Gui(engine_class, byok(server)) as gui:
        return _failing_start(gui)


def refused_token(engine_class: EngineClass) -> Seen:
    with FakeProxy(auth_answer=FakeProxy.error("token expired")) as server, Gui(engine_class, _managed(server)) as gui:
        return _failing_start(gui)


def server_away_or_silent(engine_class: EngineClass) -> Seen:
    """Two starts at once: each waits for its limit."""
    away = {"remote": {"mode": "byok", "byok_api_key": "k", "byok_url": f"ws://127.0.0.1:{reserve_port()}"}}
    with FakeDeepgram(upgrade_delay_s=60) as server:
        guis = {"away": Gui(engine_class, away), "silent": Gui(engine_class, byok(server))}
        with concurrent.futures.ThreadPoolExecutor() as pool:
            seen = dict(zip(guis, pool.map(_failing_start, guis.values()), strict=True))
        server.stop()
        return seen


def server_late(engine_class: EngineClass) -> Seen:
    with FakeProxy(auth_delay_s=1) as server, Gui(engine_class, _managed(server)) as gui:
        began = time.monotonic()
        started = gui.start(server)
        return {"started": started, "waited": time.monotonic() - began > 1, "calls": gui.calls}


def _failing_start(gui: Gui) -> Seen:
    limit_s = getattr(gui.engine, "_connect_limit_s", 15.0)
    began = time.monotonic()
    started = gui.start()
    waited = time.monotonic() - began >= limit_s
    seen = {"started": started, "waited to the limit": waited, "active": gui.engine.is_recording_active()}
    wait_until(lambda: gui.engine.stop() or True, 30, "the end of what was begun")
    return seen | {"ready": gui.engine.is_ready(), "errors": _errors(gui), "reason": _last_error(gui)}


def missing_device(engine_class: EngineClass) -> Seen:
    with FakeDeepgram() as server, Gui(engine_class, byok(server), device=99) as gui:
        seen = _failing_start(gui)
        return seen | {"reason": seen["reason"].partition(":")[0]}


# Results


def results(engine_class: EngineClass) -> Seen:
    with FakeProxy() as server, Gui(engine_class, _managed(server)) as gui:
        gui.start(server)
        return _results(gui, server) | {"auths": server.auths}


def _results(gui: Gui, server: Server) -> Seen:
    server.wait_for_audio(3200)
    for text, final in (("guten", False), ("", False), ("  ", False), ("Guten Tag.", True), ("", True), ("ü 🎤", True)):
        server.wait_for_audio(server.current.audio_bytes + 3200)  # each of its own
        _say(server, text, final=final)
    gui.wait_for(("final", "ü 🎤", "Ann"))
    return {"calls": list(gui.calls), "threads": len(gui.threads)}


def notes(engine_class: EngineClass) -> Seen:
    """What a proxy says besides results, and what it should not say."""
    with FakeProxy() as server, Gui(engine_class, _managed(server)) as gui:
        gui.start(server)
        for message in ("no JSON", b"binary", '{"type":"news"}', '{"type":"ready"}', {"type": "transcript"}):
            server.push(message)
        server.push({"type": "session_end", "seconds_used": 12})
        server.push({"type": "credits_low", "seconds_remaining": 120.7})
        server.push({"type": "credits_low"})
        for error in (FakeProxy.error("slow", "upstream"), FakeProxy.error("no code"), {"type": "error"}):
            server.push(error)
        _say(server, "on", final=False)
        gui.wait_for(("interim", "on", "Ann"))
        seen = {"calls": list(gui.calls), "active": gui.engine.is_recording_active()}
        server.push({"type": "error"})
        _say(server, "and on", final=False)
        gui.wait_for(("interim", "and on", "Ann"))
        return seen | {"again": gui.calls[len(seen["calls"]) :]}


def changes(engine_class: EngineClass) -> Seen:
    """Another name, other callbacks, in a recording that was started by a thread that has ended."""
    with FakeProxy() as server, Gui(engine_class, _managed(server)) as gui:
        thread = threading.Thread(target=gui.start)
        thread.start()
        thread.join(scaled(30))
        server.wait_for_audio(32000)
        _say(server, "one", final=False)
        gui.wait_for(("interim", "one", "Ann"))
        gui.engine.set_user_name("Bob")
        _say(server, "two", final=False)
        gui.wait_for(("interim", "two", "Bob"))
        gui.engine.user_name = "Eve"
        _say(server, "three", final=False)
        gui.wait_for(("interim", "three", "Eve"))
        gui.engine.set_callbacks()
        gui.engine.set_error_callback(None)
        gui.engine.set_credits_low_callback(None)
        server.push({"type": "credits_low", "seconds_remaining": 1})
        server.push(FakeProxy.error("no code"))
        _say(server, "unheard")
        final_callback = threading.Event()
        gui.engine.final_callback = lambda _result: final_callback.set()
        _say(server, "heard")
        return {"calls": gui.calls, "callback set as an attribute": final_callback.wait(scaled(5))}


# What callbacks may do


def callback_raises(engine_class: EngineClass) -> Seen:
    with FakeProxy() as server, Gui(engine_class, _managed(server)) as gui:

        def fail(call: Any) -> None:
            if call[0] == "interim":
                raise ValueError("boom")

        gui.on_call = fail
        gui.start(server)
        connection = server.current
        _say(server, "one", final=False)
        gui.wait_for(("interim", "one", "Ann"))
        wait_until(lambda: gui.of_kind("error"), 30, "the report of the exception")
        goes_on = _still_hears(server, gui)
        return {"errors": _errors(gui), "goes on": goes_on, "connection": connection.closed_at is None}


def stops_from_callback(engine_class: EngineClass) -> Seen:
    with FakeProxy() as server, Gui(engine_class, _managed(server)) as gui:
        done = threading.Event()

        def stop(call: Any) -> None:
            if call[0] == "interim":
                gui.engine.stop_recording()
                done.set()

        gui.on_call = stop
        gui.start(server)
        _say(server, "stop", final=False)
        came_back = done.wait(scaled(8))
        return {"came back": came_back, "active": gui.engine.is_recording_active(), "errors": _errors(gui)}


# Ends and beginnings


def restarts(engine_class: EngineClass) -> Seen:
    with FakeProxy() as server, Gui(engine_class, _managed(server)) as gui:
        started = [gui.start(server)]
        gui.engine.stop_recording()
        started.append(gui.engine.start_recording())
        server.wait_for_connection(2)
        server.wait_for_audio(3200, connection=server.connections[1])
        gui.engine.stop()
        started += [gui.engine.start_recording(), gui.start(server)]
        _say(server, "again")
        gui.wait_for(("final", "again", "Ann"))
        return {"started": started, "connections": len(server.connections), "calls": gui.calls}


def two_engines(engine_class: EngineClass) -> Seen:
    with (
        FakeProxy() as one,
        FakeProxy() as two,
        Gui(engine_class, _managed(one)) as ann,
        Gui(engine_class, _managed(two), user_name="Bob") as bob,
    ):
        started = [ann.start(one), bob.start(two)]
        _say(one, "from one")
        _say(two, "from two")
        ann.wait_for(("final", "from one", "Ann"))
        bob.wait_for(("final", "from two", "Bob"))
        ann.engine.stop_recording()
        return {"started": started, "bob": _still_hears(two, bob), "calls": ann.calls}


def last_words(engine_class: EngineClass) -> Seen:
    """The recogniser has its last final ready only when it is asked to end, as always in the middle of a sentence."""
    with FakeDeepgram(flush_delay_s=0.3) as server, Gui(engine_class, byok(server)) as gui:
        server.responder = lambda connection, samples: (
            [connection.transcript("last words", 0, samples)] if connection.finishing else []
        )
        done = []
        gui.on_call = lambda call: (time.sleep(0.2), done.append(call))  # a callback takes its time
        gui.start(server)
        gui.engine.stop_recording()
        at_return = list(done)
        texts = [text.json["type"] for text in server.connections[0].texts]
        return {"calls": at_return, "active": gui.engine.is_recording_active(), "asked by": texts}


def dropped(engine_class: EngineClass) -> Seen:
    with FakeProxy() as server, Gui(engine_class, _managed(server)) as gui:
        gui.start(server)
        connection = server.current
        connection.drop()
        server.wait_for_end(connection)
        goes_on = _still_hears(server, gui)
        errors = [text.partition(":")[0] for text in _errors(gui)]
        return {"goes on": goes_on, "errors": errors, "active": gui.engine.is_recording_active()}


def refused_later(engine_class: EngineClass) -> Seen:
    """The account runs dry in the middle."""
    with FakeDeepgram() as server, Gui(engine_class, byok(server)) as gui:
        gui.start(server)
        connection = server.current
        connection.close(1008, "insufficient credit")
        server.wait_for_end(connection)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not gui.engine.is_recording_active(), 2, "the end")
        return {"active": gui.engine.is_recording_active(), "errors": _errors(gui)}


def _still_hears(server: Server, gui: Gui) -> bool:
    """Whether audio still goes out, and a result still comes back."""
    limit = time.monotonic() + scaled(3)
    before = sum(connection.audio_bytes for connection in server.connections)
    while time.monotonic() < limit:
        try:
            server.wait_for_audio(before + 3200, timeout=0.5)
            _say(server, "still here")
            gui.wait_for(("final", "still here", gui.engine.user_name), timeout=1)
        except AssertionError:
            continue
        return True
    return False


_AT_ONCE = "what no waiting mends is told at once, with its reason"
_FAILED = {"started": False, "waited to the limit": True, "active": False, "ready": False}
_TIMED_OUT = {"reason": "Timed out connecting to Deepgram"}
_HEARD = [("interim", "guten", "Ann"), ("final", "Guten Tag.", "Ann"), ("final", "ü 🎤", "Ann")]
_AUTH_CONFIG = {"model": "nova-2", "language": "en-US", "sample_rate": 16000, "channels": 1}
_AUTH = {"type": "auth", "token": "a-token", "config": _AUTH_CONFIG | {"encoding": "linear16", "interim_results": True}}

TABLE = [
    Row(
        "connects",
        connects,
        {
            "steps": [(False, False), (True, True), (True, False), (False, False)],
            "answers": [True, True, True, True, None, None],
            "query": {
                "channels": "1",
                "encoding": "linear16",
                "interim_results": "true",
                "language": "de",
                "model": "nova-2",
                "punctuate": "true",
                "sample_rate": "16000",
                "smart_format": "true",
            },
            "authorization": "Token a-key",
            "connections": 1,
            "calls": _HEARD,
            "threads": 1,
        },
    ),
    Row("needs initialize", needs_initialize, {"before": False, "after stop": False, "attempts": 0}),
    Row(
        "refuses configurations",
        refuses_configurations,
        {
            "default": False,
            "managed without URL": False,
            "managed without token": False,
            "managed": True,
            "byok without key": False,
            "byok": True,
            "unknown mode": False,
            "null": False,
        },
    ),
    Row(
        "has attributes",
        has_attributes,
        {
            "user_name": "User",
            "input_device_index": 3,
            "mode": "byok",
            "server_url": "",
            "auth_token": "",
            "byok_api_key": "a-key",
            "deepgram_model": "nova-2",
            "language": "en-US",
            "sample_rate": 16000,
            "channels": 1,
            "blocksize": 1024,
            "realtime_callback": None,
            "final_callback": None,
            "key in repr": False,
        },
        {"blocksize": 320},
        "blocks of 20 ms, for earlier results",
    ),
    Row(
        "wrong key",
        wrong_key,
        _FAILED | _TIMED_OUT | {"errors": ["WebSocket error: server rejected WebSocket connection: HTTP 401"]},
        {
            "waited to the limit": False,
            "errors": ["WebSocket error: refused by the service: HTTP 401: INVALID_AUTH: Invalid credentials."],
            "reason": "WebSocket error: refused by the service: HTTP 401: INVALID_AUTH: Invalid credentials.",
        },
        _AT_ONCE,
    ),
    Row(
        "refused token",
        refused_token,
        _FAILED | _TIMED_OUT | {"errors": ["Proxy auth error: token expired"]},
        {"waited to the limit": False, "reason": "Proxy auth error: token expired"},
        _AT_ONCE,
    ),
    Row(
        "server away, server silent",
        server_away_or_silent,
        {
            "away": _FAILED
            | _TIMED_OUT
            | {"errors": ["WebSocket error: [Errno 111] Connect call failed ('127.0.0.1':PORT)"]},
            "silent": _FAILED | _TIMED_OUT | {"errors": ["WebSocket error: timed out during opening handshake"]},
        },
        {
            "away": _FAILED
            | {
                "errors": ["WebSocket error: connection refused by 127.0.0.1"],
                "reason": "Timed out connecting to Deepgram: WebSocket error: connection refused by 127.0.0.1",
            },
            "silent": _FAILED | _TIMED_OUT | {"errors": ["Timed out connecting to Deepgram"]},
        },
        "other words, and the reason names the cause; it is tried again all the while",
    ),
    Row("server late", server_late, {"started": True, "waited": True, "calls": []}),
    Row(
        "missing device",
        missing_device,
        _FAILED | {"waited to the limit": False, "errors": [], "reason": "Audio stream error"},
    ),
    Row("results", results, {"calls": _HEARD, "threads": 1, "auths": [_AUTH]}),
    Row(
        "notes",
        notes,
        {
            "calls": [
                ("credits_low", 120),
                ("credits_low", 0),
                ("error", "[upstream] slow"),
                ("error", "no code"),
                ("error", "Unknown error"),
                ("interim", "on", "Ann"),
            ],
            "active": True,
            "again": [("error", "Unknown error"), ("interim", "and on", "Ann")],
        },
        {"again": [("interim", "and on", "Ann")]},
        "an error that repeats is told once, until there is another connection",
    ),
    Row(
        "changes in the middle",
        changes,
        {
            "calls": [("interim", "one", "Ann"), ("interim", "two", "Bob"), ("interim", "three", "Eve")],
            "callback set as an attribute": True,
        },
    ),
    Row(
        "callback raises",
        callback_raises,
        {"errors": ["WebSocket error: boom"], "goes on": False, "connection": False},
        {"errors": ["Callback error: boom"], "goes on": True, "connection": True},
        "an exception of the GUI's ends nothing",
    ),
    Row(
        "stops from a callback",
        stops_from_callback,
        {"came back": False, "active": False, "errors": ["WebSocket error: cannot join current thread"]},
        {"came back": True, "errors": []},
        "callbacks may call everything",
    ),
    Row(
        "restarts",
        restarts,
        {"started": [True, True, False, True], "connections": 3, "calls": [("final", "again", "Ann")]},
    ),
    Row("two engines", two_engines, {"started": [True, True], "bob": True, "calls": [("final", "from one", "Ann")]}),
    Row(
        "last words",
        last_words,
        {"calls": [], "active": False, "asked by": []},
        {"calls": [("final", "last words", "Ann")], "asked by": ["CloseStream"]},
        "they are asked for, and called back before stop_recording returns",
    ),
    Row(
        "dropped",
        dropped,
        {"goes on": False, "errors": [], "active": True},
        {"goes on": True, "errors": ["WebSocket error"]},
        "a lost connection is told, made again, and what it had not transcribed is sent again",
    ),
    Row(
        "refused later",
        refused_later,
        {"active": True, "errors": []},
        {
            "active": True,
            "errors": [
                "WebSocket error: closed by the recogniser or somebody on the way: 1008 insufficient credit",
            ],
        },
        "it is told, and tried again: somebody on the way may have said it",
    ),
]
