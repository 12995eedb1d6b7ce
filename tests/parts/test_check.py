"""`mpengine check` as a command, and its parts that look at this machine, on pretended sound cards and real servers."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from mpengine.cli import parser_for
from mpengine.cli.check import machine, microphone, systemd
from mpengine.cli.check.deadline import within
from mpengine.cli.check.sequence import checks
from mpengine.cli.check.verdicts import MICROPHONE, NETWORK, Engine, Unit
from mpengine.shared.clocks import Clocks
from mpengine.shared.config import Config
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ExitCode
from mpengine.shared.runtime import RuntimeDir
from tests.rig.deepgram import FakeDeepgram
from tests.rig.fake_engine import FakeEngine
from tests.rig.processes import all_processes, descendants, spawned
from tests.rig.small_disk import fill
from tests.rig.sound_card import Card
from tests.rig.terminal import Terminal
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

USB = Card(1, "Device", "USB PnP Sound Device", "Audio")
NAME = "USB PnP Sound Device: Audio"
CHECK = [sys.executable, "-m", "mpengine", "check"]
MACHINE = ["room", "descriptors", "unit", "versions"]
ALL = ["configuration", "runtime_directory", "engine", *MICROPHONE, "clock", *NETWORK, *MACHINE]
KEY = "k3y-that-nobody-may-see"


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """The base of the runtime directories, for this process and those that it starts."""
    base = tmp_path / "run"
    base.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    return base


@pytest.fixture
def configured(tmp_path):
    """Writes a configuration with a key in a file of its own; returns the path."""

    def write(server, *, audio="", more=""):
        (tmp_path / "key").write_text(f"{KEY}\n")
        (tmp_path / "key").chmod(0o600)
        authority = f'ca_file = "{server.ca_file}"\n' if server.tls else ""
        remote = f'[remote]\nmode = "byok"\nbyok_url = "{server.url}"\nbyok_api_key_file = "key"\n{authority}'
        file = tmp_path / "mic.toml"
        file.write_text(f"{remote}[audio]\n{audio}\n{more}")
        return str(file)

    return write


@pytest.fixture
def checked(cards, runtime):
    """`checked(...)` runs the command on the cards, and returns its exit code, its output and its errors."""

    def run(*arguments, **environment):
        variables = os.environ | cards.environment | environment
        words = [*CHECK, *arguments]
        ended = subprocess.run(words, env=variables, capture_output=True, timeout=scaled(90), check=False)
        return ended.returncode, ended.stdout.decode(), ended.stderr.decode()

    return run


# The command


@pytest.mark.slow
def test_where_nothing_stands_in_the_way_each_check_has_a_line_and_the_code_is_0(cards, checked, configured):
    cards.add("usb", rates_hz=[48000], channels=[2], card=USB)
    with FakeDeepgram(tls=True, api_key=KEY) as server:
        file = configured(server, audio='device = "pnp"')
        code, output, errors = checked("--config", file, "--seconds", "0.5")
        assert (code, errors) == (0, "")
        lines = output.splitlines()
        assert [line[:2] for line in lines[:-1]].count("✗ ") == 0
        assert lines[-1] == "nothing stands in the way"
        assert [line[2:21].strip().lower().replace(" ", "_") for line in lines[:-1]] == ALL
        assert "\x1b" not in output
        assert KEY not in output
        assert any(line.startswith("✓ device") and NAME in line for line in lines)
        assert any("converted from 48000 Hz" in line for line in lines)
        assert any(line.startswith("✓ key") and "/key" in line for line in lines)
        assert server.violations == []


@pytest.mark.slow
def test_programs_get_a_list_and_the_code_of_the_first_failure(cards, checked, configured):
    cards.add("usb", card=USB).set(signal="zeros")
    with FakeDeepgram(api_key="another") as server:
        code, output, errors = checked("--config", configured(server), "--seconds", "0.5", "--json")
    entries = json.loads(output)
    assert [entry["check"] for entry in entries] == ALL
    assert all(set(entry) == {"check", "result", "text", "mend"} for entry in entries)
    assert [entry["check"] for entry in entries if entry["result"] == "failed"] == ["device", "key"]
    assert all(entry["mend"] for entry in entries if entry["result"] == "failed")
    assert (code, errors) == (3, "")
    assert KEY not in output


@pytest.mark.slow
def test_a_wrong_configuration_has_the_code_of_a_run_and_what_does_not_need_it_is_checked(cards, checked, tmp_path):
    cards.add("usb", card=USB)
    file = tmp_path / "mic.toml"
    file.write_text(f"[audio]\ndevice = '{NAME}'\n")
    code, output, _ = checked("--config", str(file), "--no-level", "--json", DEEPGRAM_API_KEY=KEY)
    results = {entry["check"]: entry["result"] for entry in json.loads(output)}
    assert code == 2
    assert {check for check, result in results.items() if result == "failed"} == {"configuration"}
    assert {check for check, result in results.items() if result == "ok"} >= {"device", "format", "descriptors"}
    assert results["key"] == results["room"] == results["level"] == "skipped"


@pytest.fixture
def configuration(tmp_path, monkeypatch):
    """The line of the configuration, for these words of the command."""
    for variable, value in {"XDG_CONFIG_HOME": str(tmp_path), "DEEPGRAM_API_KEY": ""}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("mpengine.cli.chosen.usual_file", lambda *_, **__: str(tmp_path / "mic.toml"))

    def line(*words):
        with contextlib.closing(checks(parser_for("check").parse_args(["check", *words]), print)) as found:
            return next(found)

    return line


def test_the_configuration_is_the_one_that_a_run_would_take(configuration, tmp_path, monkeypatch):
    line = configuration()
    assert (line.exit_code, line.text) == (2, "no configuration, and nothing says which recogniser to use")
    assert "mpengine init" in line.mend
    assert configuration("--local").text == 'without a file: engine "default", mode "local"'
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    line = configuration("--name", "desk")
    assert line.text.startswith('without a file: engine "desk", mode "byok" (DEEPGRAM_API_KEY is set')
    (tmp_path / "mic.toml").write_text('[remote]\nmode = "local"\n')
    assert configuration().text.startswith(f'{tmp_path}/mic.toml: engine "default", mode "local"')
    (tmp_path / "mic.toml").write_text('[remote]\nmode = "local"\n[audio]\ndevise = 1\n')
    line = configuration()
    assert (line.exit_code, line.text.startswith(f"{tmp_path}/mic.toml:4: audio.devise: unknown key")) == (2, True)


@pytest.mark.slow
def test_where_output_has_no_such_signs_there_are_plain_ones(checked):
    code, output, _ = checked("--set", "audio.device=3", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert code == 2
    assert output.isascii()
    assert output.startswith("x configuration")


# At a terminal


@pytest.mark.slow
@pytest.mark.parametrize("columns", [50, 120])
def test_a_terminal_shows_bars_while_it_listens(cards, runtime, configured, columns):
    cards.default = "plughw:1"
    cards.add("usb", card=USB)
    with FakeDeepgram() as server:
        words = [*CHECK, "--config", configured(server), "--seconds", "600"]
        with contextlib.closing(Terminal(words, rows=60, columns=columns, **cards.environment)) as terminal:
            terminal.wait_for(lambda lines: lines and "speak" in lines[-1])
            assert "██" in terminal.lines[-1]
            assert "dBFS" in terminal.lines[-1]
            assert len(terminal.lines[-1]) < columns
            assert b"\x1b[32m" in terminal.written
            terminal.press(b"\x03")
            assert terminal.wait_for_end() == 1
            assert not any("speak" in line for line in terminal.lines)


def test_without_colours_a_terminal_shows_none(runtime, tmp_path):
    words = [*CHECK, "--config", str(tmp_path / "none.toml")]
    with contextlib.closing(Terminal(words, rows=60, columns=80, NO_COLOR="1")) as terminal:
        assert terminal.wait_for_end() == 2
        assert any(line.startswith("✗ configuration") for line in terminal.lines)
        assert b"\x1b[3" not in terminal.written


@pytest.mark.slow
def test_a_check_that_is_killed_leaves_no_process(cards, runtime, configured):
    cards.default = "plughw:1"
    cards.add("usb", card=USB)
    with FakeDeepgram() as server:
        words = [*CHECK, "--config", configured(server), "--seconds", "600"]
        with spawned(words, env=os.environ | cards.environment, stdout=subprocess.PIPE) as check:
            cards.devices["usb"].wait_for("start")
            trial = descendants([check.pid], all_processes()) - {check.pid}
            assert trial
            check.send_signal(signal.SIGKILL)
            check.wait(scaled(PATIENCE_S))
            gone = lambda: not trial & {each.pid for each in all_processes() if each.running}  # noqa: E731
            wait_until(gone, PATIENCE_S, "the end of the trial")


# The microphone


@pytest.fixture
def lines_of(cards, monkeypatch):
    """The lines of a source, tried by a process that sees the cards."""
    for name, value in cards.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(microphone, "_STEP_LIMIT_S", scaled(60))

    def lines(*, seconds=0.0, engine=None, **audio):
        heard = []
        found = microphone.microphone(
            AudioConfig(**audio),
            seconds=seconds,
            engine=engine,
            on_level=lambda level, _: heard.append(level),
            libraries=heard,
        )
        lines.heard = heard
        return {line.check: line for line in found}

    return lines


def results(lines):
    return [line.result.value for line in lines.values()]


def test_a_device_without_the_right_to_open_it_fails_at_the_permission(cards, lines_of):
    cards.default = "plughw:1"
    cards.add("usb", card=USB).set(open="EACCES")
    lines = lines_of()
    assert list(lines) == list(MICROPHONE)
    assert results(lines) == ["failed", "skipped", "skipped", "skipped"]
    assert "usermod -aG" in lines["permission"].mend


@pytest.mark.slow
def test_a_device_is_heard_and_its_level_told(cards, lines_of):
    cards.add("desk")
    lines = lines_of(device="desk", seconds=0.5)
    assert results(lines) == ["skipped", "ok", "ok", "ok"]
    assert "dBFS" in lines["level"].text
    version, *levels = lines_of.heard
    assert version.startswith("PortAudio")
    assert len(levels) >= 4


@pytest.mark.slow
def test_a_device_that_gives_zeros_fails_at_its_level(cards, lines_of):
    cards.add("desk").set(signal="zeros")
    lines = lines_of(device="desk", seconds=0.5)
    assert results(lines) == ["skipped", "ok", "ok", "failed"]
    assert lines["level"].text.startswith("digital silence")


@pytest.mark.slow
def test_a_device_that_gives_nothing_fails_at_its_level(cards, lines_of):
    cards.add("desk").set(run="stall")
    lines = lines_of(device="desk", seconds=0.5)
    assert results(lines) == ["skipped", "ok", "ok", "failed"]
    assert "has delivered nothing for 3 s" in lines["level"].text


@pytest.mark.slow
def test_a_device_that_hangs_is_given_up(cards, lines_of, monkeypatch):
    cards.add("desk").set(open="HANG")
    monkeypatch.setattr(microphone, "_STEP_LIMIT_S", 1.0)
    lines = lines_of(device="desk")
    assert results(lines) == ["skipped", "failed", "skipped", "skipped"]
    assert "has not come back" in lines["device"].text
    assert lines["device"].exit_code is ExitCode.DEVICE


@pytest.mark.slow
def test_a_device_that_another_program_has_is_told_with_it(cards, lines_of, tmp_path):
    cards.add("usb", card=USB)
    recorder = "import sounddevice, sys; s = sounddevice.RawInputStream(16000, device=sys.argv[1], channels=1, "
    recorder += "dtype='int16'); s.start(); print('recording', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", recorder, NAME]
    with spawned(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"recording\n"
        lines = lines_of(device="pnp")
        assert results(lines) == ["ok", "failed", "skipped", "skipped"]
        assert lines["device"].mend.startswith("end ")
        assert f"(PID {process.pid})" in lines["device"].mend
        lines = lines_of(device="pnp", engine=Engine("default", "1", process.pid))
        assert results(lines) == ["ok", "skipped", "skipped", "skipped"]


@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        ({"source": "-"}, ["skipped"] * 4),
        ({"source": "fifo:/run/audio"}, ["skipped"] * 4),
        ({"command": ["sh", "-c", "echo no such device >&2; exit 3"]}, ["skipped", "failed", "skipped", "skipped"]),
        ({"command": ["cat", "/dev/urandom"]}, ["skipped", "ok", "ok", "ok"]),
        ({"source": "/nowhere/x.wav"}, ["skipped", "failed", "skipped", "skipped"]),
        ({"source": "tests/data/speech.wav"}, ["skipped", "ok", "ok", "skipped"]),
    ],
)
def test_other_sources_are_tried_as_far_as_that_takes_nothing_away(lines_of, audio, expected):
    lines = lines_of(seconds=0.5, **audio)
    assert list(lines) == list(MICROPHONE)
    assert results(lines) == expected
    if audio.get("command", [""])[0] == "sh":
        assert "no such device" in lines["device"].text


# The machine


def config(**tables):
    return Config.parse({"remote": {"mode": "local"}} | tables)


def test_a_directory_that_nobody_holds_is_free(runtime):
    line, directory = machine.runtime_directory(config())
    assert (line.result.value, line.text) == ("ok", f"{runtime}/mpengine/default")
    line, engine = machine.engine(config(), directory)
    assert (line.result.value, engine) == ("skipped", None)


def test_an_engine_that_runs_is_told_with_its_state(runtime, tmp_path):
    holder = RuntimeDir("default")
    holder.lock()
    with FakeEngine(tmp_path) as fake:
        children = {"capture": {"state": "RUNNING", "pid": 7}}
        fake.status |= {"state": "degraded", "reason": "no route", "children": children}
        settings = config(bus={"query": fake.query})
        line, engine = machine.engine(settings, machine.runtime_directory(settings)[1])
    holder.unlock()
    assert line.result.value == "ok"
    assert line.text.startswith(f'"default" runs already (pid {os.getpid()}), degraded: no route')
    assert engine == Engine("default", str(os.getpid()), 7)


@pytest.mark.slow
def test_an_engine_that_does_not_answer_is_in_the_way(runtime):
    holder = RuntimeDir("default")
    holder.lock()
    line, engine = machine.engine(config(), machine.runtime_directory(config())[1])
    holder.unlock()
    assert (line.result.value, engine) == ("failed", Engine("default", str(os.getpid())))
    assert "mpengine stop" in line.mend


def test_a_runtime_directory_that_cannot_be_made_is_in_the_way(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{tmp_path}/{'x' * 100}")
    line, directory = machine.runtime_directory(config())
    assert (line.result.value, directory) == ("failed", None)
    assert "XDG_RUNTIME_DIR" in line.mend


def test_a_full_disk_has_no_room_for_the_window(runtime, small_disk):
    fill(small_disk)
    settings = config(buffer={"directory": str(small_disk)})
    line = machine.room(settings, RuntimeDir("default"))
    assert (line.result.value, line.exit_code) == ("failed", ExitCode.CONFIG)
    assert machine.room(config(), RuntimeDir("default")).result.value == "ok"


def test_a_directory_that_has_gone_has_no_room(runtime, tmp_path):
    (tmp_path / "buffer").mkdir()
    settings = config(buffer={"directory": str(tmp_path / "buffer")})
    (tmp_path / "buffer").rmdir()
    line = machine.room(settings, RuntimeDir("default"))
    assert (line.result.value, line.text) == ("failed", f"{tmp_path}/buffer: No such file or directory")


def test_the_clock_of_this_machine_can_be():
    assert machine.clock().result.value == "ok"


def test_descriptors_and_versions_of_this_machine_are_told():
    assert machine.descriptors(None).result.value == "ok"
    text = machine.versions(["PortAudio 19", ""]).text
    assert all(name in text for name in ("mpengine ", "Python 3", "pyzmq ", "msgspec ", "ZeroMQ ", "PortAudio 19"))


# systemd


SHOWN = """\
Id=mpengine.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
ExecStart={ path=/usr/bin/python3 ; argv[]=/usr/bin/python3 -P -m mpengine run --wait --config "/etc/my mic.toml" ; x }

Id=mpengine-gone.service
LoadState=not-found
ActiveState=inactive
UnitFileState=
ExecStart=

Id=mpengine-desk.service
LoadState=loaded
ActiveState=failed
UnitFileState=disabled
ExecStart={ path=/bin/x ; argv[]=/bin/x run --config=/etc/desk.toml ; ignore_errors=no ; start_time=[n/a] }
"""


def test_the_units_that_are_loaded_are_read():
    assert systemd.units_in(SHOWN, ("--user",)) == [
        Unit("mpengine.service", "--user ", "active", "enabled", "/etc/my mic.toml"),
        Unit("mpengine-desk.service", "--user ", "failed", "disabled", "/etc/desk.toml"),
    ]
    assert systemd.units_in("", ()) == []


def test_the_clocks_of_the_start_are_read():
    shown = "UserspaceTimestamp=@1800000000\nUserspaceTimestampMonotonic=5000000\n"
    assert systemd.clocks_in(shown) == Clocks(utc_ahead_ns=1_799_999_995_000_000_000)
    assert systemd.clocks_in("UserspaceTimestamp=Sat 2026-11-28 14:00:00 UTC\n") is None
    assert systemd.clocks_in("") is None


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """Puts a program in the place of systemctl."""

    def put(script):
        program = tmp_path / "bin" / "systemctl"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.setattr(systemd, "_RUNS", str(tmp_path))

    return put


def test_the_manager_of_the_machine_is_asked_where_the_user_has_none(systemctl, tmp_path):
    (tmp_path / "shown").write_text(SHOWN)
    systemctl(
        f"""case "$*" in
        *--user*) echo "Failed to connect to bus: No medium found" >&2; exit 1;;
        *show*mpengine@*) exit 1;;
        *show*) cat {tmp_path}/shown;;
        *) echo "mpengine.service enabled enabled"; echo "mpengine@.service disabled -";;
        esac"""
    )
    line = machine.unit("/etc/my mic.toml")
    assert line.text.startswith("mpengine.service: enabled, active with /etc/my mic.toml; mpengine-desk.service: ")
    assert line.result.value == "failed"
    assert "journalctl -u mpengine-desk.service" in line.mend


def test_a_machine_whose_systemd_does_not_answer_is_not_waited_for(systemctl, monkeypatch):
    systemctl("exec sleep 600")
    monkeypatch.setattr(systemd, "_LIMIT_S", 0.2)
    assert machine.unit(None).text == "systemctl has not answered for 0.2 s"
    assert systemd.clocks_at_boot() is None


def test_without_systemd_there_is_no_unit(monkeypatch):
    monkeypatch.setattr(systemd, "_RUNS", "/nowhere")
    assert machine.unit(None).result.value == "skipped"


# The deadline


def test_a_call_gives_its_result_or_its_error_in_time():
    assert within(PATIENCE_S, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(PATIENCE_S, lambda: 1 // 0)
    released = threading.Event()
    with pytest.raises(TimeoutError, match="no answer within"):
        within(0.05, lambda: released.wait(PATIENCE_S))
    released.set()
