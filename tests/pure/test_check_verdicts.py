"""What the facts mean: each fact of a microphone, a recogniser and a machine, and the line that follows."""

import pytest

from mpengine.capture.inventory import Holder, Pcm, of_pcm
from mpengine.capture.tried import Cards, Found, Listened, Opened, Trouble
from mpengine.cli.check import verdicts
from mpengine.cli.check.lines import Result
from mpengine.cli.check.verdicts import MICROPHONE, ClockFacts, Engine, RoomFacts, Source, Unit
from mpengine.shared.errors import ExitCode
from mpengine.streaming.tried import Answer, Way
from mpengine.streaming.websocket.way import Certificate, Stage

NAME = "USB PnP Sound Device: Audio"
FREE = Pcm(1, 0, "Device", NAME)
BUSY = FREE._replace(holder=Holder(77, "arecord"))
OURS = FREE._replace(holder=Holder(42, "mpe-capture"))
CLOSED = FREE._replace(needs_group="audio")
FOUND = Found(NAME, is_card=True, source=None)
NOW_S = 1_800_000_000.0


def _blocked(pcm):
    return Trouble(f'"{NAME}" is there, but {of_pcm(pcm).obstacle}', 3)


def _lines(*events, end="", is_microphone=True, engine=None):
    source = Source(events, end, 16000, 1, is_microphone, engine)
    return {line.check: line for line in verdicts.microphone(source)}


def _results(lines):
    return [lines[check].result.value if check in lines else None for check in MICROPHONE]


# The microphone


def test_a_microphone_that_opens_leaves_the_level_to_be_heard():
    lines = _lines(Cards([FREE], "PortAudio"), FOUND, Opened(NAME, 48000))
    assert _results(lines) == ["ok", "ok", "ok", None]
    assert lines["format"].text == "16000 Hz, 1 channel, converted from 48000 Hz"
    assert lines["device"].text == f'"{NAME}", a sound card'


def test_without_the_permission_the_rest_is_not_tried():
    lines = _lines(Cards([CLOSED], "PortAudio"), _blocked(CLOSED))
    assert _results(lines) == ["failed", "skipped", "skipped", "skipped"]
    assert lines["permission"].text == f'"{NAME}": this user may not open it: only members of the group audio may'
    assert lines["permission"].mend == "as root: usermod -aG audio USER; then log in again"
    assert lines["permission"].exit_code is ExitCode.DEVICE


def test_a_wrong_name_is_no_matter_of_the_permission_of_another_card():
    lines = _lines(Cards([CLOSED], "PortAudio"), Trouble("no audio input device 'Jabra'", 3))
    assert _results(lines) == ["ok", "failed", "skipped", "skipped"]
    assert "audio.device" in lines["device"].mend


def test_a_card_that_the_sound_server_has_needs_no_permission():
    found = Found("desk", is_card=False, source="desk")
    lines = _lines(Cards([CLOSED], "PortAudio"), found, Opened("desk", 16000))
    assert _results(lines) == ["ok", "ok", "ok", None]
    assert lines["device"].text == '"desk", through the sound server'
    assert lines["permission"].text.startswith("not needed for this device")


def test_a_microphone_that_our_own_engine_has_open_is_no_fault():
    lines = _lines(Cards([OURS], "PortAudio"), _blocked(OURS), engine=Engine("default", "40", 42))
    assert _results(lines) == ["ok", "skipped", "skipped", "skipped"]
    assert lines["device"].text.startswith('the engine "default", which is running (pid 40), has it open')


@pytest.mark.parametrize(
    ("pcm", "engine", "mend"),
    [
        (BUSY, None, "end arecord (PID 77), or set audio.device to another microphone"),
        (BUSY, Engine("default", "40", 42), "end arecord (PID 77)"),
        (OURS, None, "another engine has it open"),
    ],
)
def test_a_microphone_that_another_program_has_open_is_told_with_that_program(pcm, engine, mend):
    lines = _lines(Cards([pcm], "PortAudio"), _blocked(pcm), engine=engine)
    assert _results(lines) == ["ok", "failed", "skipped", "skipped"]
    assert lines["device"].mend.startswith(mend)
    assert lines["device"].exit_code is ExitCode.DEVICE


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ('audio.device \'USB\' fits several: "A", "B"; name one of them', "set audio.device to one of these names"),
        (
            f'"{NAME}" is there, but PortAudio cannot open it',
            "plug it out and in again, or set audio.device to another",
        ),
        ("no audio input device 'Jabra'", "plug it in, or set audio.device"),
    ],
)
def test_a_device_that_cannot_be_chosen_is_mended_by_what_is_wrong_with_it(text, mend):
    lines = _lines(Cards([FREE], "PortAudio"), Trouble(text, 3))
    assert lines["device"].mend.startswith(mend)


def test_a_microphone_that_does_not_open_fails_at_its_format():
    lines = _lines(Cards([FREE], "PortAudio"), FOUND, Trouble('cannot open "USB" at any of 16000, 48000 Hz', 3))
    assert _results(lines) == ["ok", "ok", "failed", "skipped"]


def test_a_microphone_that_goes_while_it_is_heard_fails_at_its_level():
    lines = _lines(Cards([FREE], "PortAudio"), FOUND, Opened(NAME, 16000), Trouble("it has gone", 3))
    assert _results(lines) == ["ok", "ok", "ok", "failed"]


def test_a_trial_that_ends_without_a_word_is_a_device_that_hangs():
    lines = _lines(end="a call has not come back")
    assert _results(lines) == ["skipped", "failed", "skipped", "skipped"]
    assert "sound server" in lines["device"].mend
    lines = _lines(Cards([FREE], "PortAudio"), FOUND, end="a call has not come back")
    assert _results(lines) == ["ok", "ok", "failed", "skipped"]


def test_an_audio_system_that_does_not_start_is_told_with_what_mends_that():
    lines = _lines(Trouble("the sound server at /run/pulse does not answer: restart it", 3))
    assert _results(lines) == ["skipped", "failed", "skipped", "skipped"]
    assert lines["device"].mend == "restart it"


def test_another_source_needs_no_permission():
    lines = _lines(Opened("arecord", 44100), is_microphone=False)
    assert _results(lines) == ["skipped", "ok", "ok", None]
    lines = _lines(Trouble("arecord has ended with exit code 1", 3), is_microphone=False)
    assert _results(lines) == ["skipped", "failed", "skipped", "skipped"]
    assert "audio.command" in lines["device"].mend
    lines = _lines(Trouble("audio.source: cannot read the WAV file", 2), is_microphone=False)
    assert lines["device"].exit_code is ExitCode.CONFIG


def test_a_source_that_is_not_read_is_not_tried():
    lines = {line.check: line for line in verdicts.unread("standard input is not read")}
    assert _results(lines) == ["skipped"] * 4


def _listened(**facts):
    usual = {"loudest_dbfs": -20.0, "softest_dbfs": -50.0, "peak_dbfs": -6.0, "digital_silence": False}
    return Listened(**{"seconds": 3.0, "clipped": 0.0, "dc": 0.0} | usual | facts)


@pytest.mark.parametrize(
    ("facts", "result", "text", "mend"),
    [
        ({}, "ok", "-50 to -20 dBFS in 3 s, peak -6 dBFS", ""),
        ({"softest_dbfs": -25.0}, "ok", "alike", "speak"),
        ({"clipped": 0.01}, "ok", "1.0% of the samples at full scale", "turn the gain down"),
        ({"dc": -0.08}, "ok", "DC offset of 8%", "faulty"),
        ({"digital_silence": True}, "failed", "digital silence", "muted"),
        ({"loudest_dbfs": -80.0, "softest_dbfs": -90.0}, "failed", "nearly silent", "speak"),
    ],
)
def test_the_level_is_told_with_what_is_wrong_with_it(facts, result, text, mend):
    line = verdicts.level(_listened(**facts))
    assert line.result.value == result
    assert text in line.text
    assert mend in line.mend
    assert bool(line.mend) is bool(mend)


# The clock


@pytest.mark.parametrize(
    ("facts", "result", "words"),
    [
        (ClockFacts(NOW_S, "now", True, 0.0), "ok", "now, synchronised"),
        (ClockFacts(NOW_S, "now", False, 1.9), "ok", "now, not synchronised"),
        (ClockFacts(NOW_S, "now", True, 3600.2), "ok", "now, synchronised; it was set by +3600 s since the machine"),
        (ClockFacts(NOW_S, "now", True, -5.0), "ok", "now, synchronised; it was set by -5 s since"),
        (ClockFacts(NOW_S, "now"), "ok", "now, nobody says whether"),
        (ClockFacts(0.0, "1970", True), "failed", "1970 cannot be"),
        (ClockFacts(5e9, "2128", True), "failed", "2128 cannot be"),
    ],
)
def test_a_clock_that_cannot_be_right_fails(facts, result, words):
    line = verdicts.clock(facts)
    assert line.result.value == result
    assert line.text.startswith(words)
    assert bool(line.mend) is (result == "failed" or facts.is_synchronised is False)


# The recogniser


def _way(tried, host="api.example.com", *, is_secure=True):
    url = f"{'wss' if is_secure else 'ws'}://{host}/v1/listen"
    lines = verdicts.way(tried, url, host=host, is_secure=is_secure, key="remote.byok_url", now_s=NOW_S)
    return {line.check: line for line in lines}


CERTIFICATE = Certificate("Let's Encrypt R3", NOW_S + 60.5 * 86400, "TLSv1.3")


@pytest.mark.parametrize(
    ("tried", "results"),
    [
        (Way(Stage.NAME, "not resolved"), ["failed", "skipped", "skipped"]),
        (Way(Stage.CONNECTION, "refused", ("1.2.3.4",)), ["ok", "failed", "skipped"]),
        (Way(Stage.TLS, "not trusted", ("1.2.3.4",), "1.2.3.4"), ["ok", "ok", "failed"]),
        (Way(Stage.DONE, "", ("1.2.3.4",), "1.2.3.4", "", CERTIFICATE), ["ok", "ok", "ok"]),
        (Way(Stage.CONNECTION, "the proxy in all_proxy is a socks5:// one"), ["skipped", "failed", "skipped"]),
        (Way(Stage.TLS, "CA file /x cannot be used"), ["skipped", "skipped", "failed"]),
    ],
)
def test_the_way_ends_where_it_was_cut(tried, results):
    lines = _way(tried)
    assert [line.result.value for line in lines.values()] == results
    assert list(lines) == ["dns", "endpoint", "tls"]
    assert all(line.mend for line in lines.values() if line.result is Result.FAILED)


def test_an_address_needs_no_name_and_a_plain_server_no_tls():
    lines = _way(Way(Stage.DONE, "", ("::1",), "::1"), "::1", is_secure=False)
    assert [line.result.value for line in lines.values()] == ["skipped", "ok", "skipped"]


def test_a_proxy_is_told_in_place_of_the_server():
    proxy = "proxy http://gate:3128 (https_proxy)"
    lines = _way(Way(Stage.CONNECTION, "the proxy opened no tunnel", ("10.0.0.1",), "", proxy))
    assert lines["dns"].text == f"{proxy}: 10.0.0.1"
    assert "no_proxy" in lines["endpoint"].mend
    lines = _way(Way(Stage.DONE, "", ("10.0.0.1",), "10.0.0.1", proxy, CERTIFICATE))
    assert lines["endpoint"].text.endswith(f"through the {proxy}")


def test_a_certificate_is_told_with_its_days():
    line = _way(Way(Stage.DONE, "", ("1.2.3.4",), "1.2.3.4", "", CERTIFICATE))["tls"]
    assert line.text == "TLSv1.3, certificate by Let's Encrypt R3, valid for 60 more days"
    assert not line.mend
    soon = CERTIFICATE._replace(ends_s=NOW_S + 5 * 86400)
    assert _way(Way(Stage.DONE, "", ("1.2.3.4",), "1.2.3.4", "", soon))["tls"].mend


@pytest.mark.parametrize(
    ("trouble", "mend"),
    [
        ("TLS certificate of a not trusted: certificate is not yet valid", "clock"),
        ("TLS certificate of a not trusted: certificate has expired", "clock"),
        ("TLS certificate of a not trusted: Hostname mismatch, certificate is not valid for 'a'.", "name"),
        ("TLS certificate of a not trusted: self-signed certificate", "remote.ca_file"),
        ("TLS with a failed: WRONG_VERSION_NUMBER", "ws://"),
    ],
)
def test_what_mends_tls_depends_on_what_was_wrong(trouble, mend):
    line = _way(Way(Stage.TLS, trouble, ("1.2.3.4",), "1.2.3.4"))["tls"]
    assert mend in line.mend


@pytest.mark.parametrize(
    ("answer", "code", "text", "mend"),
    [
        (Answer(is_accepted=True), 0, "accepted with a second of silence; it came from the file k", ""),
        (Answer(is_accepted=True, reason="1011"), 0, "accepted with a second of silence; it came from the file k;", ""),
        (Answer(False, "HTTP 401", ExitCode.ACCOUNT, "r-1"), 4, "HTTP 401 (request id r-1)", "from the file k"),
        (Answer(False, "HTTP 400", ExitCode.CONFIG), 2, "HTTP 400", "[remote]"),
        (Answer(False, "HTTP 503"), 1, "HTTP 503", "it may pass"),
    ],
)
def test_the_answer_to_the_key_has_the_exit_code_of_a_run(answer, code, text, mend):
    line = verdicts.key(answer, "from the file k")
    assert (line.exit_code, line.result) == (code, Result.OK if answer.is_accepted else Result.FAILED)
    assert line.text.startswith(text)
    assert mend in line.mend


# The machine


def _room(**facts):
    usual = {"window_bytes": 10**7, "needed_bytes": 10**7, "free_bytes": 10**9, "journal_free_bytes": 10**9}
    places = {"directory": "/run/a", "runtime_path": "/run/a", "seconds": 300.0, "in_memory": True}
    return verdicts.room(RoomFacts(**places | usual | facts))


def test_a_window_without_room_would_end_a_run():
    assert _room().text == "the window of 300 s needs 10 MB, and /run/a (memory) has 1000 MB free"
    line = _room(free_bytes=10**7 - 1)
    assert (line.result, line.exit_code) == (Result.FAILED, ExitCode.CONFIG)
    assert "buffer.seconds" in line.mend


def test_a_window_that_is_there_needs_no_more_room():
    assert _room(needed_bytes=0, free_bytes=0).result is Result.OK


def test_the_journal_needs_room_beside_the_window():
    assert _room(free_bytes=12 * 10**6, journal_free_bytes=12 * 10**6).mend.startswith("the journal in /run/a")
    assert not _room(directory="/var/b", free_bytes=10**7, journal_free_bytes=9 * 10**6).mend


def test_descriptors_that_are_few_leave_few_clients():
    assert verdicts.descriptors(1024, 20000, 128, 2500).text == "20000 allowed (1024 before an engine asks for more)"
    assert not verdicts.descriptors(1024, -1, 128, 8192).mend
    assert "only 12 programs" in verdicts.descriptors(100, 100, 128, 12).text


def test_units_are_told_with_their_state_and_their_file():
    unit = Unit("mpengine.service", "", "active", "enabled", "/etc/mpengine/mic.toml")
    assert verdicts.unit([], "").result is Result.SKIPPED
    assert verdicts.unit([], "", "no systemd").text == "no systemd"
    line = verdicts.unit([unit], "/etc/mpengine/mic.toml")
    assert (line.text, line.mend) == ("mpengine.service: enabled, active with /etc/mpengine/mic.toml", "")
    assert "another file than /tmp/x.toml" in verdicts.unit([unit], "/tmp/x.toml").mend
    line = verdicts.unit([unit._replace(enabled="disabled", active="inactive", manager="--user ")], "")
    assert line.mend == "to have it start by itself: systemctl --user enable --now mpengine.service"
    line = verdicts.unit([unit._replace(active="failed", manager="--user ")], "")
    assert (line.result, line.exit_code) == (Result.FAILED, ExitCode.CRASH)
    assert line.mend == "journalctl --user-unit mpengine.service says why it failed"
