"""The control channel: every message there and back, and what is none."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.shared import control, messages
from mpengine.shared.clocks import Clocks
from mpengine.shared.ranges import Range
from tests.pure.support import word

UP = [
    control.Hello(pid=4711),
    control.CaptureBeat(captured=16000),
    control.StreamBeat(sent=15680, highest_sent=16000, replayed=320, passed=8000),
    control.RecogniserBeat(),
    control.DeviceOpened(name="Mikrofon (Größe L)", sample_rate=16000, channels=1, latency_s=0.08),
    control.DeviceOpened(
        name="Mikrofon", sample_rate=16000, channels=1, latency_s=1.0, device_rate_hz=48000, identity="usb:1-2"
    ),
    control.DeviceFed(source="Eingebautes Mikrofon"),
    control.DeviceLost(reason="busy: PID 812 (arecord)", next_try_in_s=2.0),
    control.DeviceClosed(),
    control.Anchor(sample=2**40, utc_ns=1_770_000_000_000_000_000, clocks=Clocks(1_770_000_000_000_000_000, 5)),
    control.LevelHeard(first=0, end=4000, rms_dbfs=-30.5, peak_dbfs=-12.0, digital_silence=False),
    control.LevelHeard(first=0, end=4000, rms_dbfs=-3.5, peak_dbfs=0.0, digital_silence=False, clipped=0.25, dc=-0.125),
    control.SamplesMissing(first=100, end=420, reason="overflow", uncertainty=320),
    control.Gated(first=1600, end=2**40),
    control.Rested(connection=3, sent=2**40),
    control.SourceEnded(end=123),
    control.Fault(code="unauthorized", message="HTTP 401", request_id="abc", exit_code=4),
    control.Connecting(connection=3, endpoint="wss://api.deepgram.com/v1/listen"),
    control.ConnectionReady(connection=3, endpoint="wss://api.deepgram.com/v1/listen", request_id="abc"),
    control.ConnectionDown(connection=3, reason="reset", next_try_in_s=0.25),
    control.Result(
        first=0,
        end=32000,
        acknowledges=32000,
        is_repeated=True,
        transcript=messages.Transcript(
            connection=3,
            text="Guten Tag",
            is_final=True,
            speech_final=True,
            start_s=0.0,
            end_s=2.0,
            confidence=0.75,
            words=(
                word("guten", 0.0, 0.5, confidence=0.5, punctuated_word="Guten", speaker=1),
                word("tag", 0.5, 1.0),
            ),
            channel=1,
            language="de",
            estimated=True,
            replayed=True,
        ),
    ),
    control.Said(connection=3, message=messages.SpeechStarted(at_s=0.5)),
    control.Said(connection=3, message=messages.Metadata(data={"models": ["a"], "n": {"x": None, "y": 1.5}})),
    control.FramesMissed(connection=3, attempt=7, sample=2**40),
    control.EndTaken(),
    control.StreamEnded(sent=1),
]
DOWN = [
    control.OpenDevice(),
    control.CloseDevice(),
    control.Grant(connection=3, sample=2**40, skipped=[Range(2**40 + 1, 2**41)], attempt=7),
    control.Acknowledge(sample=16000),
    control.MakeAgain(),
    control.Expect(audio=False),
    control.Finish(),
]


def _name(message):
    return type(message).__name__


@pytest.mark.parametrize("message", UP, ids=_name)
def test_what_a_child_tells_arrives_as_it_was(message):
    assert control.decode_up.decode(control.encode(message)) == message


@pytest.mark.parametrize("message", DOWN, ids=_name)
def test_what_a_child_is_told_arrives_as_it_was(message):
    assert control.decode_down.decode(control.encode(message)) == message


def test_every_message_is_in_these_tables():
    assert {type(message) for message in UP} == set(control.Up.__args__)
    assert {type(message) for message in DOWN} == set(control.Down.__args__)


def test_messages_are_told_apart_by_their_class_name():
    assert msgspec.msgpack.decode(control.encode(control.Grant(connection=1, sample=2))) == {
        "type": "Grant",
        "connection": 1,
        "sample": 2,
        "skipped": [],
        "attempt": 0,
    }


@pytest.mark.parametrize("message", DOWN, ids=_name)
def test_a_command_is_no_report(message):
    with pytest.raises(msgspec.DecodeError):
        control.decode_up.decode(control.encode(message))


@pytest.mark.parametrize(
    "data",
    [
        msgspec.msgpack.encode({"type": "Explode"}),
        msgspec.msgpack.encode({"pid": 1}),
        msgspec.msgpack.encode({"type": "Hello"}),
        msgspec.msgpack.encode({"type": "Hello", "pid": "one"}),
        msgspec.msgpack.encode(["Hello", 1]),
        b"",
        control.encode(UP[0])[:-1],
        b"\xc1",
    ],
    ids=["unknown tag", "no tag", "field missing", "wrong type", "array", "empty", "cut", "no msgpack"],
)
def test_what_is_no_message_is_a_decode_error(data):
    with pytest.raises(msgspec.DecodeError):
        control.decode_up.decode(data)


def test_fields_of_a_later_version_are_ignored():
    data = msgspec.msgpack.encode({"type": "Acknowledge", "sample": 5, "later": [1, 2]})
    assert control.decode_down.decode(data) == control.Acknowledge(sample=5)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_a_message_or_a_decode_error(data):
    try:
        message = control.decode_up.decode(data)
    except msgspec.DecodeError:
        return
    assert isinstance(message, control.Up)
