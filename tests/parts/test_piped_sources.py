"""Standard input, a FIFO and a command as sources, each with real pipes and processes."""

import contextlib
import os
import select
import shlex
import signal
import subprocess
import sys
import time

import pytest

from mpengine.capture.command import Command
from mpengine.capture.fifo import Fifo
from mpengine.capture.program import Program
from mpengine.capture.standard_input import StandardInput
from mpengine.shared.config import Config
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError, DeviceError
from tests.rig.configs import noise, write_wav
from tests.rig.processes import process_info
from tests.rig.waiting import PATIENCE_S, wait_until

PLENTY = 1 << 30
S = 1_000_000_000


def heard_until(source, enough):
    """What the source gives until `enough` of it is true."""
    got = b""

    def is_enough():
        nonlocal got
        got += b"".join(block.pcm for block in source.read(time.monotonic_ns(), PLENTY))
        return enough(got)

    wait_until(is_enough, PATIENCE_S, "the audio", every=0.005)
    return got


def of_length(pcm):
    """For `heard_until`: whether as much has come as `pcm` has."""
    return lambda got: len(got) == len(pcm)


def loss_of(source):
    """The words with which the source is lost."""
    words = []

    def is_lost():
        try:
            source.read(time.monotonic_ns(), PLENTY)
        except DeviceError as error:
            words.append(str(error))
        return bool(words)

    wait_until(is_lost, PATIENCE_S, "the loss", every=0.005)
    assert source.read(time.monotonic_ns(), PLENTY) == []  # it is told once
    return words[0]


def reads_in_vain(source, seconds):
    """Have the source look for so long, in a pretended time that goes in small steps."""
    now_ns = time.monotonic_ns()
    for step in range(int(seconds * 10)):
        source.read(now_ns + step * S // 10, PLENTY)


# Standard input


@pytest.fixture
def stdin():
    """Standard input that reads a pipe, and the writing end of that pipe."""
    reader, writer = os.pipe()
    source = StandardInput(AudioConfig(source="-"))
    source.fd = reader
    yield source, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):  # closed by the test
            os.close(fd)


def test_standard_input_is_read_to_its_end(stdin):
    source, writer = stdin
    pcm = noise(0.5)
    assert source.open(0).name == "standard input"
    os.write(writer, pcm)
    os.close(writer)
    assert heard_until(source, lambda _: source.has_ended()) == pcm


def test_standard_input_without_a_sample_is_an_error(stdin):
    source, writer = stdin
    source.open(0)
    assert source.read(0, PLENTY) == []
    os.close(writer)
    with pytest.raises(ConfigError, match=r"^audio.source: standard input has ended without a sample$"):
        source.read(time.monotonic_ns(), PLENTY)


def test_a_terminal_is_refused():
    master, terminal = os.openpty()
    source = StandardInput(AudioConfig(source="-"))
    source.fd = terminal
    with pytest.raises(ConfigError, match="standard input is a terminal; expected audio from a pipe"):
        source.open(0)
    os.close(master)
    os.close(terminal)


@pytest.mark.parametrize(
    ("path", "words"), [("/dev/null", "is /dev/null"), ("/dev/zero", "is no pipe"), ("/", "is no pipe")]
)
def test_what_is_no_pipe_is_refused(path, words):
    source = StandardInput(AudioConfig(source="-"))
    source.fd = os.open(path, os.O_RDONLY)
    with pytest.raises(ConfigError, match=f"standard input {words}"):
        source.open(0)
    os.close(source.fd)


def test_a_file_as_standard_input_is_read_to_its_end(tmp_path):
    pcm = noise(0.5)
    source = StandardInput(AudioConfig(source="-", paced=False))
    source.fd = os.open(write_wav(tmp_path / "a.wav", pcm), os.O_RDONLY)
    source.open(0)
    assert heard_until(source, lambda _: source.has_ended()) == pcm
    os.close(source.fd)


def test_a_silent_writer_is_a_loss_until_it_writes_again(stdin):
    source, writer = stdin
    source.open(0)
    os.write(writer, bytes(640))
    assert len(heard_until(source, bool)) == 640
    assert source.awaited() is None
    with pytest.raises(DeviceError, match="nothing comes on standard input"):
        reads_in_vain(source, 4)
    assert source.awaited() == source.fd
    source.close()
    with pytest.raises(DeviceError, match="nothing comes on standard input"):
        source.open(320)
    pcm = noise(0.1)
    os.write(writer, pcm)
    source.open(320)
    assert heard_until(source, of_length(pcm)) == pcm  # what came meanwhile is new


def test_what_a_live_writer_wrote_in_a_pause_is_passed_over(stdin):
    source, writer = stdin
    source.open(0)
    os.write(writer, bytes(640))
    heard_until(source, bool)
    source.close()
    source.read(time.monotonic_ns(), PLENTY)
    os.write(writer, b"old" * 640)
    source.open(320)
    pcm = noise(0.1)
    os.write(writer, pcm)
    assert heard_until(source, of_length(pcm)) == pcm


# A FIFO


@pytest.fixture
def fifo(tmp_path):
    """A FIFO, as the configuration knows it."""
    path = tmp_path / "talk"
    os.mkfifo(path)
    audio = Config.parse({"remote": {"mode": "local"}, "audio": {"source": str(path)}}).audio
    assert audio.source == f"fifo:{path}"
    source = Fifo(audio)
    yield source, str(path)
    if source._fd >= 0:
        os.close(source._fd)


def test_the_writers_of_a_fifo_come_and_go(fifo, tmp_path):
    source, path = fifo
    source.open(0)
    for number in range(3):
        pcm = noise(0.3, number)
        write_wav(tmp_path / "a.wav", pcm)
        with open(path, "wb") as writer:
            writer.write((tmp_path / "a.wav").read_bytes() if number else pcm)
            writer.flush()
            if number:  # it was lost before
                source.open(0)
            assert heard_until(source, of_length(pcm)) == pcm
        assert loss_of(source) == f"no writer at {path}"
        source.close()
        with pytest.raises(DeviceError, match=f"no writer at {path}"):
            source.open(0)


def test_nothing_spins_while_a_fifo_has_no_writer(fifo):
    source, path = fifo
    source.open(0)
    with open(path, "wb") as writer:
        writer.write(bytes(640))
    assert loss_of(source) == f"no writer at {path}"
    awaited = source.awaited()
    assert awaited is not None
    waiting = select.poll()
    waiting.register(awaited, select.POLLIN)
    assert waiting.poll(0) == []
    with open(path, "wb") as writer:
        assert waiting.poll(0) == []  # it has written nothing yet
        writer.write(bytes(640))
        writer.flush()
        assert waiting.poll(0)
        source.open(0)


def test_half_a_sample_of_one_writer_does_not_shift_the_next_one(fifo):
    source, path = fifo
    source.open(0)
    with open(path, "wb") as writer:
        writer.write(noise(0.02) + b"x")
    assert loss_of(source)
    pcm = noise(0.1)
    with open(path, "wb") as writer:
        writer.write(pcm)
        writer.flush()
        source.open(0)
        assert heard_until(source, of_length(pcm)) == pcm


def test_a_writer_of_no_audio_is_passed_over_until_it_goes(fifo):
    source, path = fifo
    source.open(0)
    with open(path, "wb") as writer:
        writer.write(b"fLaC" + bytes(1000))
        writer.flush()
        assert loss_of(source) == f"cannot read the FIFO {path}: it is a FLAC file; convert it (ffmpeg -i FILE out.wav)"
        assert source.awaited() is None  # it stays readable
        writer.write(bytes(1000))
        writer.flush()
        with pytest.raises(DeviceError, match="it is a FLAC file"):
            source.open(0)
    with pytest.raises(DeviceError, match=f"no writer at {path}"):
        source.open(0)
    with open(path, "wb") as writer:
        writer.write(bytes(640))
        writer.flush()
        source.open(0)
        assert len(heard_until(source, bool)) == 640


def test_a_fifo_that_was_made_anew_while_it_had_no_writer_is_opened(fifo):
    source, path = fifo
    source.open(0)
    with open(path, "wb") as writer:
        writer.write(noise(1))
        writer.flush()
        heard_until(source, of_length(noise(1)))
    assert loss_of(source) == f"no writer at {path}"
    os.unlink(path)
    with pytest.raises(DeviceError, match="no writer"):
        source.open(0)
    os.mkfifo(path)
    with pytest.raises(DeviceError, match="no writer"):
        source.open(0)
    with open(path, "wb") as writer:
        writer.write(noise(1, 2))
        writer.flush()
        assert select.select([source.awaited()], [], [], PATIENCE_S)[0]
        source.open(0)
        assert heard_until(source, of_length(noise(1))) == noise(1, 2)


def test_a_fifo_that_was_removed_is_named(fifo):
    source, path = fifo
    os.unlink(path)
    with pytest.raises(DeviceError, match=f"cannot open the FIFO {path}: No such file"):
        source.open(0)


# A command

PYTHON = [sys.executable, "-u", "-c"]


@pytest.fixture
def command():
    """Makes sources of commands; all programs are gone after the test."""
    made = []

    def make(*words, **audio):
        made.append(Command(AudioConfig(command=list(words), **audio)))
        return made[-1]

    yield make
    for each in made:
        each._forget()


def test_a_command_is_read_until_it_ends(command):
    source = command("sh", "-c", "head -c 6400 /dev/zero; exit 0")
    assert source.open(0).name == "sh"
    assert heard_until(source, lambda got: len(got) == 6400) == bytes(6400)
    assert loss_of(source) == "sh has ended with exit code 0"


def test_a_command_that_is_not_there_is_named(command):
    with pytest.raises(DeviceError, match=r"^audio.command: cannot start /no/such/ffmpeg: No such file or directory$"):
        command("/no/such/ffmpeg").open(0)


def test_a_command_that_cannot_work_is_told_with_its_last_words(command):
    source = command("sh", "-c", "echo starting >&2; echo cannot open hw:9 >&2; exit 7")
    with pytest.raises(DeviceError, match=r"^sh has ended with exit code 7: cannot open hw:9$"):
        source.open(0)


def test_a_command_that_was_killed_is_told(command):
    source = command("sh", "-c", "head -c 640 /dev/zero; kill -9 $$")
    source.open(0)
    assert loss_of(source) == "sh was ended by SIGKILL"


def test_a_command_that_stalls_is_lost_and_ended(command):
    source = command("sh", "-c", "head -c 640 /dev/zero; exec sleep 1000")
    source.open(0)
    heard_until(source, bool)
    pid = source._program._process.pid
    with pytest.raises(DeviceError, match="sh writes nothing"):
        reads_in_vain(source, 4)
    source.close()
    assert process_info(pid) is None


def test_a_command_may_take_long_to_begin_but_not_for_ever(command):
    source = command("sleep", "1000")
    source.open(0)
    reads_in_vain(source, 9)
    with pytest.raises(DeviceError, match="sleep writes nothing"):
        reads_in_vain(source, 20)


def test_the_end_takes_all_that_a_command_has_started_also_what_ignores_the_request(command, tmp_path):
    stubborn = "trap '' TERM; echo $$ > %s; while :; do sleep 0.01; done"
    files = [tmp_path / "a", tmp_path / "b"]
    inner, outer = (stubborn % file for file in files)
    source = command("sh", "-c", f"sh -c {shlex.quote(inner)} & {outer}")
    source.open(0)
    wait_until(lambda: all(file.exists() and file.read_text() for file in files), PATIENCE_S, "both processes")
    source.close()
    for file in files:
        pid = int(file.read_text())
        wait_until(lambda pid=pid: (info := process_info(pid)) is None or not info.running, PATIENCE_S, "its end")


def test_what_a_leader_leaves_behind_is_ended_as_well(command, tmp_path):
    file = tmp_path / "pid"
    source = command("sh", "-c", f"sleep 1000 & echo $! > {file}; head -c 640 /dev/zero")
    source.open(0)
    heard_until(source, bool)
    source.close()
    pid = int(file.read_text())
    wait_until(lambda: (info := process_info(pid)) is None or not info.running, PATIENCE_S, "the end of the sleeper")


def test_a_flood_on_standard_error_does_not_stop_the_audio_and_leaves_few_lines(command, caplog):
    code = "import os\nwhile True:\n os.write(2, b'x' * 99 + b'\\n'); os.write(1, bytes(32))"
    source = command(*PYTHON, code)
    source.open(0)
    with caplog.at_level("INFO", "mpengine.capture"):
        heard_until(source, lambda got: len(got) >= 64_000)
    assert 1 <= caplog.text.count("command_says") <= 5


def test_a_command_that_had_worked_is_started_again_at_once(command):
    source = command("sh", "-c", "head -c 640 /dev/zero; cat >/dev/null; exec sleep 1000")
    source.open(0)
    heard_until(source, bool)
    source._began_ns -= 3 * S
    with pytest.raises(DeviceError):
        reads_in_vain(source, 4)
    assert source.awaited() is not None
    source.open(0)
    assert source.awaited() is None
    with pytest.raises(DeviceError):
        reads_in_vain(source, 20)
    assert source.awaited() is None  # this one had not


def test_a_command_dies_with_its_reader(tmp_path):
    file = tmp_path / "pid"
    code = (
        "import sys, time\nfrom mpengine.capture.program import Program\n"
        f"Program(['sh', '-c', 'echo $$ > {file}; exec sleep 1000'])\ntime.sleep(1000)"
    )
    reader = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: file.exists() and file.read_text(), PATIENCE_S, "the program")
    pid = int(file.read_text())
    assert process_info(pid).running
    reader.send_signal(signal.SIGKILL)
    reader.wait()
    wait_until(lambda: (info := process_info(pid)) is None or not info.running, PATIENCE_S, "its end")


def test_a_program_has_no_descriptor_of_this_process_and_does_not_ignore_signals():
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    code = "import os, signal; print(len(os.listdir('/proc/self/fd')), signal.getsignal(2) is signal.SIG_IGN)"
    program = Program([*PYTHON, code])
    text = b""
    while piece := os.read(program.stdout, 1000):
        text += piece
    assert text == b"4 False\n"  # 0 to 2, and the directory itself
    program.end()
    program.close()
    os.close(reader)
    os.close(writer)


def test_a_command_and_another_source_are_refused_together():
    tables = {"remote": {"mode": "local"}, "audio": {"command": ["arecord"], "source": "-"}}
    with pytest.raises(ConfigError, match=r"^audio.command: expected either this key or audio.source, not both$"):
        Config.parse(tables)


@pytest.mark.parametrize("command", [[], [""], "arecord", ["arecord", 1]])
def test_a_command_that_is_no_list_of_words_is_refused(command):
    with pytest.raises(ConfigError, match=r"^audio.command"):
        Config.parse({"remote": {"mode": "local"}, "audio": {"command": command}})


@pytest.mark.parametrize("size", [6400, 6402], ids=["whole blocks", "part of a block"])
def test_a_command_that_was_taken_for_a_file_and_stalls_is_lost(command, size):
    source = command("sh", "-c", f"head -c {size} /dev/zero; exec sleep 1000")
    source.open(0)
    heard_until(source, of_length(bytes(6400)))  # `head` may write twice
    source._known._allowance.is_file = True
    with pytest.raises(DeviceError, match="sh writes nothing"):
        reads_in_vain(source, 5)


def test_after_its_closing_a_command_gives_the_rest_and_is_not_lost(command):
    source = command("sh", "-c", "head -c 640 /dev/zero; trap 'head -c 1280 /dev/zero; exit 0' TERM; sleep 1000")
    source.open(0)
    heard_until(source, bool)
    source.close()
    rest = [block for _ in range(3) for block in source.read(time.monotonic_ns(), PLENTY)]
    assert len(rest) in (0, 2)  # the program may not have come to its trap yet
    assert source.read(time.monotonic_ns(), PLENTY) == []


def test_after_its_closing_a_fifo_is_not_lost(fifo):
    source, path = fifo
    source.open(0)
    with open(path, "wb") as writer:
        writer.write(bytes(640))
        writer.flush()
        heard_until(source, bool)
        source.close()
        writer.write(bytes(700))
    rest = source.read(time.monotonic_ns(), PLENTY)
    assert sum(len(block.pcm) for block in rest) == 700
    assert source.read(time.monotonic_ns(), PLENTY) == []
    source.open(320)  # after the pause
    assert loss_of(source) == f"no writer at {path}"
