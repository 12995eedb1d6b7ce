"""What the facts of a machine, a microphone and a recogniser mean for a run: each becomes a line. Pure."""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mpengine.capture.inventory import OWN_PROGRAM, of_pcm
from mpengine.capture.tried import Cards, Event, Found, Listened, Opened, Trouble
from mpengine.cli.check.lines import Line, failed, ok, skipped
from mpengine.shared.errors import ExitCode
from mpengine.shared.text import counted
from mpengine.streaming.tried import Answer, Way
from mpengine.streaming.websocket.way import Certificate, Stage
from mpengine.supervisor.decide.level_notices import CLIPPED_SHARE, NEARLY_SILENT_DBFS, OFFSET_SHARE

MICROPHONE = ("permission", "device", "format", "level")
NETWORK = ("dns", "endpoint", "tls", "key")
NO_MICROPHONE = "the audio does not come from a microphone of this machine"
NO_DEVICE = "it needs the device"

_HANGS = "plug the device out and in again, or start the sound server anew (systemctl --user restart pipewire)"
# Speech is so much louder than the room, in a tenth of a second.
_SPEECH_ABOVE_DB = 10.0
_LEAST_SEEN_STEP_S = 2.0
# No machine that runs this program is older, and none lives so long: 2025-01-01 and 2100-01-01.
_EARLIEST_S, _LATEST_S = 1_735_689_600, 4_102_444_800
_DAY_S = 86400.0
_SOON_DAYS = 14
# Two journals, while one is written anew: see `mpengine.supervisor.bus.journal`.
_JOURNAL_BYTES = 8_000_000


# The microphone


class Engine(NamedTuple):
    """An engine that runs. `capture_pid` is 0 where it is not known."""

    name: str
    pid: str
    capture_pid: int = 0


class Source(NamedTuple):
    """What the trial of a source has told. `end`: how its process ended without a last word; otherwise empty.

    `wanted_hz` and `channels` are what is sent.
    """

    events: Sequence[Event]
    end: str
    wanted_hz: int
    channels: int
    is_microphone: bool
    engine: Engine | None = None


def microphone(source: Source) -> Iterator[Line]:
    """The lines of `MICROPHONE`, but for the level where nobody was to listen."""
    events = source.events
    cards = next((event for event in events if isinstance(event, Cards)), None)
    found = next((event for event in events if isinstance(event, Found)), None)
    opened = next((event for event in events if isinstance(event, Opened)), None)
    trouble = next((event for event in events if isinstance(event, Trouble)), None)
    if trouble is None and source.end:
        trouble = Trouble(source.end, int(ExitCode.DEVICE))
    if not source.is_microphone:
        permission, is_blocked = skipped("permission", NO_MICROPHONE), False
    else:
        permission, is_blocked = _permission(cards, found, trouble)
    yield permission
    if is_blocked:
        yield from (skipped(check, "it needs the permission") for check in MICROPHONE[1:])
        return
    if trouble is not None and (holder := _held_by(source.engine, cards, trouble)):
        yield skipped("device", holder)
        yield from (skipped(check, NO_DEVICE) for check in MICROPHONE[2:])
        return
    is_there = found is not None or opened is not None
    if trouble is not None and not is_there:
        yield failed("device", trouble.text, _mend_device(trouble, source, cards), trouble.exit_code)
        yield from (skipped(check, NO_DEVICE) for check in MICROPHONE[2:])
        return
    yield ok("device", _device(found, opened))
    if opened is None:
        text, code = (trouble.text, trouble.exit_code) if trouble else ("it was not opened", int(ExitCode.DEVICE))
        mend = "`mpengine devices` lists the microphones, the rates that they take, and who has them open"
        yield failed("format", text, _HANGS if source.end else mend, code)
        yield skipped("level", "it needs the format")
        return
    yield _format(opened, source)
    if trouble is not None:
        mend = "see that it is plugged in well, and not muted; `mpengine devices --levels` shows all microphones"
        yield failed("level", trouble.text, _HANGS if source.end else mend, trouble.exit_code)


def _held_by(engine: Engine | None, cards: Cards | None, trouble: Trouble) -> str:
    """Where our own engine has the device open, that in words."""
    if engine is None or cards is None:
        return ""
    held = [pcm for pcm in cards.pcms if pcm.holder is not None and pcm.holder.pid == engine.capture_pid]
    if not any(of_pcm(pcm).obstacle in trouble.text for pcm in held):
        return ""
    return f'the engine "{engine.name}", which is running (pid {engine.pid}), has it open: `mpengine status` shows it'


def _permission(cards: Cards | None, found: Found | None, trouble: Trouble | None) -> tuple[Line, bool]:
    """The line, and whether the device cannot be opened for want of a permission."""
    check = "permission"
    if cards is None:
        return skipped(check, "the audio system was not asked"), False
    blocked = [of_pcm(pcm) for pcm in cards.pcms if pcm.needs_group]
    if trouble is not None and found is None:
        for one in blocked:
            if one.obstacle in trouble.text or one.name in trouble.text:
                words, _, mend = one.obstacle.partition(" (")
                return failed(check, f'"{one.name}": {words}', mend.rstrip(")") or words, ExitCode.DEVICE), True
    if blocked:
        text = f"not needed for this device; {counted(len(blocked), 'other')} may not be opened by this user"
        return ok(check, text, f"for the others: {of_pcm(cards.pcms[0]).obstacle or blocked[0].obstacle}"), False
    if not cards.pcms:
        return skipped(check, "there is no sound card to be opened directly"), False
    return ok(check, f"this user may open {counted(len(cards.pcms), 'sound card')}"), False


def unread(why: str) -> Iterator[Line]:
    """The lines of `MICROPHONE` where the source is not read."""
    yield skipped("permission", NO_MICROPHONE)
    yield skipped("device", why)
    yield from (skipped(check, NO_DEVICE) for check in MICROPHONE[2:])


def _mend_device(trouble: Trouble, source: Source, cards: Cards | None) -> str:
    if trouble.exit_code == ExitCode.CONFIG:
        return "`mpengine help configuration` has the keys of [audio]"
    if source.end:
        return _HANGS
    if source.is_microphone and cards is None:  # the audio system itself: its errors end with what to do
        return trouble.text.rpartition(": ")[2]
    if not source.is_microphone:
        return "run the program of audio.command by itself, and see what it says"
    others = [pcm.holder for pcm in (cards.pcms if cards else ()) if pcm.holder is not None]
    for holder in others:
        if f"PID {holder.pid} " in trouble.text:
            if holder.program == OWN_PROGRAM:
                return "another engine has it open: end that one (`mpengine stop --name NAME`), or name another device"
            return f"end {holder.program} (PID {holder.pid}), or set audio.device to another microphone"
    if " fits several: " in trouble.text:
        return "set audio.device to one of these names"
    if '" is there, but ' in trouble.text:
        return "plug it out and in again, or set audio.device to another one that `mpengine devices` lists"
    return "plug it in, or set audio.device to one that `mpengine devices` lists"


def _device(found: Found | None, opened: Opened | None) -> str:
    if found is None:
        return opened.name if opened is not None else ""
    if found.is_card:
        return f'"{found.name}", a sound card'
    return f'"{found.name}", through the sound server' if found.source else f'"{found.name}"'


def _format(opened: Opened, source: Source) -> Line:
    wanted = f"{source.wanted_hz} Hz, {counted(source.channels, 'channel')}"
    if opened.rate_hz in {0, source.wanted_hz}:
        return ok("format", wanted)
    return ok("format", f"{wanted}, converted from {opened.rate_hz} Hz")


def level(heard: Listened) -> Line:
    """How loud it was."""
    check = "level"
    louder_db = heard.loudest_dbfs - heard.softest_dbfs
    lasted = f"{round(heard.seconds, 1):g} s"
    text = f"{heard.softest_dbfs:.0f} to {heard.loudest_dbfs:.0f} dBFS in {lasted}, peak {heard.peak_dbfs:.0f} dBFS"
    if heard.digital_silence:
        text = f"digital silence: nothing but zeros in {lasted}"
        return failed(check, text, "see that it is not muted, and is the right device (`mpengine devices --levels`)")
    if heard.loudest_dbfs < NEARLY_SILENT_DBFS:
        mend = "speak while it listens; otherwise it is muted, its gain is at zero, or it is the wrong input"
        return failed(check, f"nearly silent: {text}", mend)
    if heard.clipped >= CLIPPED_SHARE:
        return ok(check, f"{text}, and {heard.clipped:.1%} of the samples at full scale", "turn the gain down")
    if abs(heard.dc) >= OFFSET_SHARE:
        return ok(check, f"{text}, with a DC offset of {abs(heard.dc):.0%}", "the device or its cable may be faulty")
    if louder_db < _SPEECH_ABOVE_DB:
        return ok(check, f"{text}, all the time alike", "speak while it listens, to see that you are heard")
    return ok(check, text)


# The clock


class ClockFacts(NamedTuple):
    """What is known of the clock; None for what is not.

    `utc`: the time of day in words. `step_s`: by how much the clock was set since the machine started.
    """

    utc_s: float
    utc: str
    is_synchronised: bool | None = None
    step_s: float | None = None


def clock(facts: ClockFacts) -> Line:
    """Whether the times of results can be true."""
    check = "clock"
    by_hand = "sudo timedatectl set-ntp true (or start another NTP program)"
    if not _EARLIEST_S <= facts.utc_s < _LATEST_S:
        text = f"{facts.utc} cannot be: certificates would be refused, and times of results be wrong"
        return failed(check, text, f"set the clock: {by_hand}")
    words = {True: "synchronised", False: "not synchronised", None: "nobody says whether it is synchronised"}
    text = f"{facts.utc}, {words[facts.is_synchronised]}"
    if facts.step_s is not None and abs(facts.step_s) >= _LEAST_SEEN_STEP_S:
        text += f"; it was set by {facts.step_s:+.0f} s since the machine started"
    return ok(check, text, "" if facts.is_synchronised is not False else f"for true times: {by_hand}")


# The recogniser


def way(tried: Way, url: str, *, host: str, is_secure: bool, key: str, now_s: float) -> Iterator[Line]:
    """The lines `dns`, `endpoint` and `tls` of a server. `key`: of the configuration, which has its address.

    `url` is shown, and has no secrets.
    """
    if tried.stage is Stage.NAME:
        yield failed("dns", tried.trouble, f"see that this machine is on the network, and that {key} is right")
        yield from (skipped(check, "it needs the name") for check in NETWORK[1:3])
        return
    names = ", ".join(tried.addresses[:3]) + (" …" if len(tried.addresses) > 3 else "")
    if not names:
        yield skipped("dns", "nothing was looked up")
    elif _is_address(host) and not tried.proxy:
        yield skipped("dns", f"{host} is an address")
    else:
        yield ok("dns", f"{tried.proxy or host}: {names}")
    if tried.stage is Stage.CONNECTION:
        mend = f"see that the server runs, that {key} is right, and that no firewall is in the way"
        if tried.proxy or not names:
            mend = "see that the proxy is right, or list the server in no_proxy"
        yield failed("endpoint", tried.trouble, mend)
        yield skipped("tls", "it needs the endpoint")
        return
    if not names:
        yield skipped("endpoint", "it was not tried")
        yield failed("tls", tried.trouble, "see remote.ca_file")
        return
    through = f", through the {tried.proxy}" if tried.proxy else f" ({tried.address})"
    yield ok("endpoint", f"{url}{through}")
    if not is_secure:
        yield skipped("tls", "ws:// is not encrypted")
    elif tried.stage is Stage.TLS:
        yield failed("tls", tried.trouble, _mend_tls(tried.trouble))
    elif tried.certificate is not None:
        yield _tls(tried.certificate, now_s)


def _mend_tls(trouble: str) -> str:
    words = trouble.lower()
    if "not yet valid" in words or "expired" in words:
        return "see that the clock of this machine is right; otherwise the server needs a new certificate"
    if "mismatch" in words or "not valid for" in words:
        return "use the name that is in the server's certificate"
    if "not trusted" in words:
        return "for a server of your own, set remote.ca_file to its authority; otherwise somebody else answers"
    return "see that the address is that of a server with TLS: ws:// is for one without"


def _tls(certificate: Certificate, now_s: float) -> Line:
    days = int((certificate.ends_s - now_s) / _DAY_S)
    text = f"{certificate.tls}, certificate by {certificate.issuer}, valid for {counted(days, 'more day')}"
    return ok("tls", text, "" if days > _SOON_DAYS else "the server needs a new certificate soon")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def key(answer: Answer, origin: str) -> Line:
    """Whether the recogniser lets us in. `origin`: where the key came from."""
    check = "key"
    if answer.is_accepted:
        note = f"; after the silence: {answer.reason}" if answer.reason else ""
        return ok(check, f"accepted with a second of silence; it came {origin}{note}")
    text = answer.reason + (f" (request id {answer.request_id})" if answer.request_id else "")
    if answer.exit_code is None:
        return failed(check, text, "it may pass: a run would try again for ever")
    if answer.exit_code == ExitCode.ACCOUNT:
        mend = f"the key came {origin}: put the right one there, and see that the account has credit"
    else:
        mend = "see [remote]: the address, the model, the language and the parameters"
    return failed(check, text, mend, answer.exit_code)


# The machine


class RoomFacts(NamedTuple):
    """`needed_bytes`: of the window, less what its file has by now; `free_bytes`: in its directory."""

    directory: str
    window_bytes: int
    seconds: float
    needed_bytes: int
    free_bytes: int
    in_memory: bool
    journal_free_bytes: int
    runtime_path: str


def room(facts: RoomFacts) -> Line:
    """Whether the window and the journal have room."""
    check = "room"
    kind = " (memory)" if facts.in_memory else ""
    text = (
        f"the window of {facts.seconds:g} s needs {_megabytes(facts.window_bytes)}, "
        f"and {facts.directory}{kind} has {_megabytes(facts.free_bytes)} free"
    )
    mend = "make buffer.seconds smaller, or set buffer.directory to a larger disk"
    if facts.needed_bytes > facts.free_bytes:
        return failed(check, text, mend, ExitCode.CONFIG)
    left = facts.journal_free_bytes
    if facts.directory == facts.runtime_path:
        left -= facts.needed_bytes
    if left < _JOURNAL_BYTES:
        mend = f"the journal in {facts.runtime_path} may need {_megabytes(_JOURNAL_BYTES)}: {mend}"
        return ok(check, f"{text}; {_megabytes(max(0, left))} would be left for the journal", mend)
    return ok(check, text)


def descriptors(soft: int, hard: int, clients: int, most_clients: int) -> Line:
    """How many the system allows; -1: without limit. An engine takes all that are allowed."""
    text = f"{_limit(hard)} allowed ({_limit(soft)} before an engine asks for more)"
    if most_clients < clients:
        mend = "raise the limit (`ulimit -Hn`, or LimitNOFILE= in a unit)"
        return ok("descriptors", f"{text}: only {most_clients} programs can connect, not {clients} (bus.clients)", mend)
    return ok("descriptors", text)


class Unit(NamedTuple):
    """A systemd unit that runs an engine. `manager`: its words for `systemctl`, as `--user `.

    `config`: the path behind --config in its command; empty without one.
    """

    name: str
    manager: str
    active: str
    enabled: str
    config: str = ""


def unit(units: Sequence[Unit], config: str, trouble: str = "") -> Line:
    """The units of this machine. `config`: the path that was checked, empty without a file."""
    check = "unit"
    if trouble:
        return skipped(check, trouble)
    if not units:
        return skipped(check, "no systemd unit runs an engine; `mpengine service` prints one")
    words, mends, is_failed = [], [], False
    for one in units:
        file = f" with {one.config}" if one.config else ""
        kind = " (user)" if one.manager else ""
        words.append(f"{one.name}{kind}: {one.enabled or 'not enabled'}, {one.active}{file}")
        if one.active == "failed":
            is_failed = True
            journal = "journalctl --user-unit" if one.manager else "journalctl -u"
            mends.append(f"{journal} {one.name} says why it failed")
        elif one.enabled == "disabled":
            mends.append(f"to have it start by itself: systemctl {one.manager}enable --now {one.name}")
        if config and one.config and one.config != config:
            mends.append(f"it reads another file than {config}: to check that, mpengine check --config {one.config}")
    text, mend = "; ".join(words), "; ".join(mends)
    return failed(check, text, mend) if is_failed else ok(check, text, mend)


def _limit(number: int) -> str:
    return "unlimited" if number < 0 else str(number)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
