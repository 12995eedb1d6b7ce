"""A microphone without hardware: a PulseAudio daemon of our own whose null sinks PortAudio opens as inputs.

What is played into a sink comes out of its monitor bit for bit (16 kHz, mono, 16 bit). Nothing of the user's
sound system is touched: daemon, sockets, home and ALSA configuration lie in a private directory.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple, Self

from tests.rig.processes import spawn
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

RATE = 16000
PROGRAMS = ("pulseaudio", "pactl", "pacat")
PACKAGES = "libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils"


class RecordingClient(NamedTuple):
    """Who reads from a microphone."""

    pid: int
    program: str


class Playback:
    """Sound on its way into the microphone."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def wait(self, timeout: float = PATIENCE_S) -> None:
        """Wait until the last sample has gone into the sink."""
        try:
            code = self.process.wait(scaled(timeout))
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"still playing after {scaled(timeout):g} s") from None
        assert code == 0, f"the player ended with {code}: was the microphone unplugged?"

    @property
    def playing(self) -> bool:
        """Whether it still is."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Cut it off."""
        self.process.kill()
        self.process.wait()


class VirtualMicrophone:
    """Context manager. `environment` goes to the processes that shall record; to them the default input
    device is this microphone, also listed as "virtualmic"; further ones (`add_sink`) go by their names."""

    def __init__(self, name: str = "virtualmic") -> None:
        self.name = name
        self.directory = Path()
        self._sinks: dict[str, str] = {}  # module index by name; "" while unplugged
        self._silence: dict[str, subprocess.Popen[bytes]] = {}
        self._sources: dict[str, str] = {}  # module index by name
        self._daemon: subprocess.Popen[bytes] | None = None
        self._players: list[Playback] = []

    def __enter__(self) -> Self:
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            raise AssertionError(f"no {', '.join(missing)} here: apt-get install {PACKAGES}")
        self.directory = Path(tempfile.mkdtemp(prefix="mpmic-"))
        try:
            self._start()
            self.add_sink(self.name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead PortAudio, through ALSA, to this microphone and to no other."""
        server = f"unix:{self.directory}/native"
        return {
            "ALSA_CONFIG_PATH": f"{self.directory}/alsa.conf",
            "PULSE_SERVER": server,
            "PULSE_RUNTIME_PATH": str(self.directory),
            "PULSE_COOKIE": f"{self.directory}/cookie",
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
        }

    # Sound.

    def play(self, sound: bytes | str | Path, sink: str | None = None) -> Playback:
        """Play raw 16-bit mono PCM at 16 kHz, given as bytes or as a file (a WAV header is skipped)."""
        pcm = sound if isinstance(sound, bytes) else Path(sound).read_bytes()
        if pcm[:4] == b"RIFF":
            pcm = pcm[pcm.index(b"data") + 8 :]
        with tempfile.TemporaryFile(dir=self.directory) as file:
            file.write(pcm)
            file.seek(0)
            # A long buffer, filled at once: a busy machine must not make the player stutter.
            playback = Playback(self._pacat(sink or self.name, file.fileno(), latency_ms=4000))
        self._players = [*(player for player in self._players if player.playing), playback]
        return playback

    def play_and_wait(self, sound: bytes | str | Path, timeout: float = PATIENCE_S, sink: str | None = None) -> None:
        """`play` and wait for the end."""
        self.play(sound, sink).wait(timeout)

    def stop_playing(self) -> None:
        """Cut off what still plays (the silence stays)."""
        for player in self._players:
            player.stop()
        self._players = []

    # The device.

    def add_sink(self, name: str) -> None:
        """One more microphone, unless it is there already; processes started from now on find it by that name."""
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name), f"{name!r} is no name for an ALSA device"
        if not self._sinks.setdefault(name, ""):
            self._write_configuration()
            self.plug(name)

    def add_source(self, name: str, description: str, sink: str | None = None) -> None:
        """A source of the server as a desktop has it: no monitor, and no name in ALSA, where "pulse" leads to all.

        What is played into `sink` comes out of it. A new daemon does not have it.
        """
        settings = f"source_name={name} master={sink or self.name}.monitor"
        properties = f"source_properties=\"device.description='{description}'\""
        self._sources[name] = self._pactl("load-module", "module-remap-source", *settings.split(), properties).strip()
        self._write_configuration()

    def remove_source(self, name: str) -> None:
        """Take a source away. The server moves those who record from it to another one."""
        self._pactl("unload-module", self._sources.pop(name))

    def set_default_source(self, name: str) -> None:
        """What the server gives to those who name no source."""
        self._pactl("set-default-source", name)

    def stop(self) -> None:
        """Stop the daemon, so that it answers nothing. `go_on` ends that."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let the daemon go on."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGCONT)

    def unplug(self, name: str | None = None) -> None:
        """Take the device away, also from those who record from it."""
        name = name or self.name
        module, self._sinks[name] = self._sinks[name], ""
        # Who records from a sink that is unloaded is handed to another sink if there is one (whatever
        # `rescue-streams` says), unless killed first: both in one write, so that nobody slips in between.
        outputs = [line.split("\t") for line in self._pactl("list", "short", "source-outputs").splitlines()]
        sources = [line.split("\t") for line in self._pactl("list", "short", "sources").splitlines()]
        monitors = [source[0] for source in sources if source[1] == f"{name}.monitor"]
        commands = [f"kill-source-output {output[0]}" for output in outputs if output[1] in monitors]
        with socket.socket(socket.AF_UNIX) as cli:
            cli.connect(f"{self.directory}/cli")
            cli.sendall("\n".join([*commands, f"unload-module {module}", ""]).encode())
        wait_until(lambda: f"\t{name}\t" not in self._pactl("list", "short", "sinks"), 5, f"the end of {name}")
        if silence := self._silence.pop(name, None):
            silence.kill()
            silence.wait()

    def plug(self, name: str | None = None) -> None:
        """Bring it back."""
        name = name or self.name
        assert not self._sinks[name], f"{name} is plugged in"
        # A sink that rewinds when a stream begins takes back what its monitor has handed out already: a few
        # of the first samples would be lost.
        settings = f"sink_name={name} rate={RATE} channels=1 format=s16le norewinds=1"
        self._sinks[name] = self._pactl("load-module", "module-null-sink", *settings.split()).strip()
        # While nothing plays, a null sink hands over blocks of up to 2 s: so something always plays.
        with Path("/dev/zero").open("rb") as zeros:
            self._silence[name] = self._pacat(name, zeros.fileno(), latency_ms=20)

    @property
    def plugged(self) -> bool:
        """Whether the default microphone is there."""
        return bool(self._sinks.get(self.name))

    def recording_clients(self) -> list[RecordingClient]:
        """Who has a microphone open now; empty when the device is free."""
        entries = self._pactl("list", "source-outputs").split("Source Output #")[1:]
        return [RecordingClient(int(_property(entry, "id") or 0), _property(entry, "binary")) for entry in entries]

    def recorded_sources(self) -> dict[int, str]:
        """From which source each process records now."""
        outputs = self._pactl("list", "source-outputs").split("Source Output #")[1:]
        sources = [line.split("\t") for line in self._pactl("list", "short", "sources").splitlines()]
        names = {source[0]: source[1] for source in sources}
        indexes = [re.search(r"Source: (\d+)", output) for output in outputs]
        return {
            int(_property(output, "id") or 0): names.get(index[1], "") if index else ""
            for output, index in zip(outputs, indexes, strict=True)
        }

    def wait_for_recording(self, count: int = 1, timeout: float = PATIENCE_S) -> list[RecordingClient]:
        """Wait until exactly `count` clients record (0: until the device is free)."""
        wait_until(lambda: len(self.recording_clients()) == count, timeout, f"{count} recording clients", every=0.03)
        return self.recording_clients()

    # The daemon.

    @property
    def pid(self) -> int:
        """The daemon's."""
        assert self._daemon is not None
        return self._daemon.pid

    def alive(self) -> bool:
        """Whether the daemon lives (many killed clients can abort it)."""
        return self._daemon is not None and self._daemon.poll() is None

    def check(self) -> None:
        """Fail with the daemon's last words if it has died; it is started again for whoever comes next."""
        if not self.alive():
            code = self._daemon.returncode if self._daemon else None
            words = (self.directory / "log").read_text(errors="replace")[-2000:]
            self.restart()
            raise AssertionError(f"the virtual microphone's PulseAudio died with {code}:\n{words}")

    def kill(self) -> None:
        """Kill the daemon: the harshest unplug. `restart()` brings it back."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()

    def restart(self) -> None:
        """A new daemon in the same place, with the same microphones."""
        names = list(self._sinks)
        self._stop()
        self._start()
        for name in names:
            self.add_sink(name)

    def _start(self) -> None:
        for leftover in ("native", "cli"):
            (self.directory / leftover).unlink(missing_ok=True)
        options = "-n --daemonize=no --use-pid-file=no --exit-idle-time=-1 --disallow-exit=no --realtime=no"
        options += " --high-priority=no --disable-shm=yes --log-level=warn"
        protocol = f"module-native-protocol-unix socket={self.directory}/native auth-anonymous=1"
        console = f"module-cli-protocol-unix socket={self.directory}/cli"
        with (self.directory / "log").open("wb") as log:
            self._daemon = spawn(
                ["pulseaudio", *options.split(), "-L", protocol, "-L", console],
                env=self._own_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, 30, "PulseAudio to answer", every=0.02)

    def _stop(self) -> None:
        self.stop_playing()
        for process in self._silence.values():
            process.kill()
            process.wait()
        self._silence, self._sinks = {}, {}
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(scaled(5))
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()

    def _answers(self) -> bool:
        assert self.alive(), (self.directory / "log").read_text(errors="replace")
        environment = self._own_environment()
        return not subprocess.run(["pactl", "info"], env=environment, capture_output=True, check=False).returncode

    def _pactl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pactl", *arguments],
            env=self._own_environment(),
            capture_output=True,
            text=True,
            timeout=scaled(30),
            check=False,
        )
        assert done.returncode == 0, f"pactl {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout

    def _pacat(self, sink: str, source: int, *, latency_ms: int) -> subprocess.Popen[bytes]:
        sound = f"--playback --raw --rate={RATE} --channels=1 --format=s16le"
        return spawn(
            ["pacat", *sound.split(), f"--latency-msec={latency_ms}", f"--device={sink}"],
            env=self._own_environment(),
            stdin=source,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _own_environment(self) -> dict[str, str]:
        return os.environ | self.environment | {"XDG_RUNTIME_DIR": str(self.directory)}

    def _write_configuration(self) -> None:
        """A small alsa.conf of its own keeps ALSA from probing dozens of plugins."""
        lines = [f'pcm.!default {{ type pulse device "{self.name}.monitor" }}', "ctl.!default { type pulse }"]
        for name in self._sinks:
            shown = "Virtual microphone" if name == self.name else f"Virtual microphone {name}"
            hint = f'hint {{ show on description "{shown}" }}'
            lines.append(f'pcm.{name} {{ type pulse device "{name}.monitor" {hint} }}')
        if self._sources:
            lines.append("pcm.pulse { type pulse }")
        (self.directory / "alsa.conf").write_text("\n".join(lines) + "\n")


def _property(entry: str, name: str) -> str:
    found = re.search(rf'application\.process\.{name} = "(.*)"', entry)
    return found[1] if found else ""
