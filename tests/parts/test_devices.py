"""`mpengine devices` on pretended sound cards."""

import contextlib
import grp
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios

import pytest

from tests.rig.processes import spawn
from tests.rig.sound_card import Card
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

USB = Card(1, "Device", "USB PnP Sound Device", "Audio")
NAME = "USB PnP Sound Device: Audio"
RECORDER = """
import sys, sounddevice
with sounddevice.RawInputStream(samplerate=16000, channels=1, dtype="int16", device=sys.argv[1]):
    print("recording", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def listed(cards):
    """`listed(...)` runs the command, and returns its exit code, its output and its errors."""

    def run(*arguments, **environment):
        words = [sys.executable, "-m", "mpengine", "devices", *arguments]
        variables = os.environ | cards.environment | environment
        ended = subprocess.run(words, env=variables, capture_output=True, timeout=scaled(60), check=False)
        return ended.returncode, ended.stdout.decode(), ended.stderr.decode()

    return run


def entries(listed):
    """What --json says, by name."""
    return {entry["name"]: entry for entry in json.loads(listed("--json")[1])}


def test_each_microphone_has_a_line_with_the_rate_at_which_it_would_be_opened(cards, listed):
    cards.default = "plughw:1"
    cards.add("usb", rates_hz=[44100, 48000], channels=[2], card=USB)
    cards.add("beam", channels=[6])
    code, output, errors = listed()
    assert (code, errors) == (0, "")
    assert [" ".join(line.split()) for line in output.splitlines()[:4]] == [
        "NAME CH RATE STATE WHAT IT IS",
        f"{NAME} 2 16000 from 48000 free hw:CARD=Device,DEV=0",
        "beam 6 16000 free ALSA",
        "* default - 16000 free ALSA",
    ]
    assert output.splitlines()[-1] == "* is used when audio.device is not set"


def test_the_one_that_a_configuration_means_is_marked(cards, listed, tmp_path):
    cards.add("usb", card=USB)
    cards.add("desk")
    file = tmp_path / "mic.toml"
    file.write_text('[remote]\nmode = "managed"\n[audio]\ndevice = ["Jabra", "pnp"]\n')
    code, output, _ = listed("--config", str(file))
    assert code == 0
    assert [line for line in output.splitlines() if line[0] == "*"] == [
        next(line for line in output.splitlines() if NAME in line),
        "* is what audio.device means now",
    ]
    (tmp_path / "mpengine").mkdir()
    (tmp_path / "mpengine" / "mic.toml").write_text(file.read_text())
    assert listed(XDG_CONFIG_HOME=str(tmp_path)) == (0, output, "")
    file.write_text('[audio]\ndevice = "Jabra"\n')
    code, output, _ = listed("--config", str(file))
    assert code == 0
    assert output.splitlines()[-2].startswith(f"the sound server at PULSE_SERVER=unix:{cards.directory}")
    assert output.splitlines()[-1] == "no audio input device 'Jabra'"  # what there is stands in the list
    file.write_text("[audio]\ndevice = 1.5\n")
    code, output, errors = listed("--config", str(file))
    assert (code, output) == (2, "")
    assert errors.startswith(f"mpengine: {file}:2: audio.device: expected text, a whole number, or a list")


def test_equal_names_and_names_of_any_bytes_are_listed_apart(cards, listed):
    cards.add("one", card=Card(1, "Device", "Größe".encode()[:5], "Audio"))
    cards.add("two", card=Card(2, "Device_1", "USB", "Audio", socket="2"))
    cards.add("three", card=Card(3, "Device_2", "USB", "Audio", socket="3.1"))
    assert list(entries(listed)) == [
        r"Grö\xc3: Audio",
        "USB: Audio [usb-0000:00:14.0-2]",
        "USB: Audio [usb-0000:00:14.0-3.1]",
    ]


def test_a_microphone_that_cannot_be_opened_is_listed_with_the_reason(cards, listed):
    cards.add("usb", card=USB)
    cards.add("camera", card=Card(2, "C920", "HD Pro Webcam C920", socket="2")).set(open="EACCES")
    cards.add("desk")
    words = [sys.executable, "-c", RECORDER, NAME]
    recorder = spawn(words, env=os.environ | cards.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert recorder.stdout.readline() == b"recording\n"
    _, output, _ = listed()
    assert f"busy: PID {recorder.pid} (" in output
    found = entries(listed)
    recorder.communicate()
    assert found[NAME]["holder"]["pid"] == recorder.pid
    assert (found[NAME]["number"], found[NAME]["alsa_name"]) == (None, "hw:CARD=Device,DEV=0")
    group = grp.getgrgid(os.getgid()).gr_name
    assert found["HD Pro Webcam C920: USB Audio"]["state"] == f"no permission (group {group})"
    assert found["desk"]["state"] == entries(listed)[NAME]["state"] == "free"


def test_without_anything_that_may_be_opened_the_list_says_what_gives_access(cards, listed):
    cards.add("usb", card=USB).set(open="EACCES")
    code, output, _ = listed()
    assert code == 3
    assert f"usermod -aG {grp.getgrgid(os.getgid()).gr_name} USER" in output.splitlines()[-1]


def test_without_a_default_the_line_to_write_is_told(cards, listed):
    cards.add("usb", card=USB)
    _, output, _ = listed()
    assert output.splitlines()[-1].endswith(f"; write under [audio]: device = '{NAME}'")


@pytest.mark.parametrize(("columns", "lines_before"), [(120, 3), (80, 4), (50, 8)])
def test_a_list_that_is_wider_than_the_terminal_has_names_on_lines_of_their_own(cards, columns, lines_before):
    cards.default = "plughw:1"
    cards.add("usb", card=USB._replace(name="USB PnP Sound Device of a maker"))
    cards.add("twin", card=Card(2, "Device_1", "USB PnP Sound Device of a maker", "Audio", socket="2"))
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, columns))
    words = [sys.executable, "-m", "mpengine", "devices"]
    process = spawn(words, env=os.environ | cards.environment, stdin=inner, stdout=inner)
    os.close(inner)
    shown = drain(outer)
    assert process.wait(scaled(PATIENCE_S)) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    first = next(place for place, line in enumerate(lines) if "default" in line)
    assert first == lines_before
    assert "*" in lines[first]
    assert all(len(line) < columns for line in lines)
    letters = "".join("".join(lines).split())
    for word in ("USBPnPSoundDeviceofamaker", "hw:CARD=Device,DEV=0", "hw:CARD=Device_1,DEV=0", "free"):
        assert word in letters


def drain(outer):
    """All that a process writes to its terminal, until it has closed that."""
    shown = bytearray()
    with contextlib.suppress(OSError):  # EIO: nobody has it open any more
        while piece := os.read(outer, 65536):
            shown.extend(piece)
    os.close(outer)
    return bytes(shown)


def test_without_anything_to_open_the_exit_code_is_3(cards, listed):
    code, output, errors = listed()
    assert (code, errors) == (3, "")
    assert output.splitlines() == [
        "no audio input device: plug in a microphone (in a container, pass in /dev/snd)",
        f"the sound server at PULSE_SERVER=unix:{cards.directory}/no-server cannot be reached",
    ]


@pytest.mark.parametrize("content", ["", "pcm.only { type null hint { show on } }\n", None])
def test_an_alsa_without_configuration_is_told_in_a_line(listed, tmp_path, content):
    file = tmp_path / "alsa.conf"
    if content is not None:
        file.write_text(content)
    code, output, errors = listed(ALSA_CONFIG_PATH=str(file), LD_PRELOAD="")
    assert (code, output) == (3, "")
    assert errors.startswith('mpengine: ALSA\'s configuration has no "default" device, and PortAudio cannot start')
    assert errors.count("\n") == 1


def test_levels_of_microphones_that_cannot_be_opened_are_told_as_in_the_list(cards, listed):
    cards.add("usb", card=USB).set(open="EBUSY")
    code, output, errors = listed("--levels")
    assert (code, errors) == (3, "")
    assert output == listed()[1]
    assert "cannot be opened" in output.splitlines()[1]


def shown_levels(cards):
    """The first four lines of `--levels` where there is no terminal."""
    words = [sys.executable, "-m", "mpengine", "devices", "--levels"]
    process = spawn(words, env=os.environ | cards.environment, stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGINT)
    assert process.wait(scaled(PATIENCE_S)) == 0
    process.stdout.close()
    return lines


def test_a_name_of_any_bytes_has_a_rate_and_a_level(cards, listed):
    cards.add("odd", rates_hz=[48000], card=USB._replace(name=b"\xff\x1b[31mred")).set(signal="noise")
    cards.add("busy", card=Card(2, "C920", "Camera", "Audio", socket="2")).set(open="EBUSY")
    assert [entry["opened_at_hz"] for entry in entries(listed).values()] == [48000, None]
    shown = shown_levels(cards)
    assert shown[2].startswith("\\xff\ufffd[31mred: Audio: -")
    assert shown[3] == "Camera: Audio: cannot be opened\n"


def test_levels_are_lines_where_there_is_no_terminal(cards):
    cards.add("desk").set(signal="noise")
    cards.add("dead").set(signal="zeros")
    lines = shown_levels(cards)
    assert lines[2].startswith("desk: -")
    assert " dBFS, peak -" in lines[2]
    assert lines[3] == "dead: digital silence\n"


def test_levels_are_bars_on_a_terminal_which_is_left_as_it_was(cards):
    cards.add("desk").set(signal="noise")
    outer, inner = pty.openpty()
    words = [sys.executable, "-m", "mpengine", "devices", "--levels"]
    environment = os.environ | cards.environment | {"TERM": "xterm", "PYTHONUTF8": "1"}
    before = termios.tcgetattr(inner)
    process = spawn(words, env=environment, stdin=inner, stdout=inner, stderr=inner)
    shown = bytearray()

    def has_a_bar():
        shown.extend(os.read(outer, 65536))
        return "\u2588\u2588".encode() in shown and b"desk" in shown

    wait_until(has_a_bar, PATIENCE_S, "a bar")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: shown.extend(os.read(outer, 65536)) or b"\x1b[?1049l" in shown, PATIENCE_S, "the end")
    assert process.wait(scaled(PATIENCE_S)) == 0
    assert termios.tcgetattr(inner) == before
    os.close(inner)
    os.close(outer)
    assert b"\x1b[?1049h" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
