"""What leaves the engine: golden JSON of every message, topics, and how readers and the query endpoint take it."""

import json

import msgspec
import pytest
import zmq

from mpengine.client import position
from mpengine.client.subscriber import Subscriber
from mpengine.shared import messages
from tests.pure.support import scaled

HEAD = {"v": 1, "run": "", "boot": "", "seq": 0, "prev": 0, "time_ns": 0}
WORD = {
    "word": "tag",
    "start_s": 0.5,
    "end_s": 1.0,
    "confidence": None,
    "punctuated_word": "Tag.",
    "speaker": None,
    "language": None,
}
TRANSCRIPT = {
    "text": "Guten Tag.",
    "is_final": True,
    "speech_final": False,
    "start_s": 0.0,
    "end_s": 0.0,
    "start_time_ns": None,
    "confidence": None,
    "words": [],
    "channel": 0,
    "language": None,
    "entities": [],
    "user_name": "",
    "connection": 0,
    "estimated": False,
    "replayed": False,
    "interrupted": False,
}
METRICS = {
    "captured_s": 4.0,
    "refused_s": 0.5,
    "sent_s": 3.0,
    "acknowledged_s": 1.0,
    "transcribed_s": 2.0,
    "backlog_s": 1.0,
    "catch_up_s": 4.0,
    "lag_s": 1.0,
    "reconnects": 1,
    "restarts": 2,
    "dropped_s": 0.5,
    "replayed_s": 0.25,
    "withheld": 0,
    "last": {"n.gap": 7},
    "children": {"capture": {"cpu_s": 0.5, "rss_mb": None}},
    "uptime_s": 5.0,
    "gated_s": 2.5,
    "source_s": 3600.0,
}
STATUS = {
    "state": "running",
    "reason": "",
    "unacknowledged_s": 0.0,
    "children": {
        "capture": {"state": "BACKOFF", "pid": None, "restarts": 2, "next_try_in_s": 0.5, "reason": "exit code 1"}
    },
    "device": "USB",
    "endpoint": None,
    "connection": 3,
}

GOLDEN = [
    (
        messages.Transcript(text="Guten Tag.", is_final=True),
        {"type": "transcript"} | HEAD | TRANSCRIPT,
        "n.transcript.final",
    ),
    (
        messages.Transcript(text="Guten Tag.", is_final=False, estimated=True),
        {"type": "transcript"} | HEAD | TRANSCRIPT | {"is_final": False, "estimated": True},
        "n.transcript.interim",
    ),
    (
        messages.Transcript(
            text="Guten Tag.",
            is_final=True,
            words=(messages.Word(word="tag", start_s=0.5, end_s=1.0, punctuated_word="Tag."),),
        ),
        {"type": "transcript"} | HEAD | TRANSCRIPT | {"words": [WORD]},
        "n.transcript.final",
    ),
    (
        messages.SpeechStarted(at_s=1.5),
        {"type": "speech_started"} | HEAD | {"at_s": 1.5, "channel": 0},
        "n.speech_started",
    ),
    (
        messages.UtteranceEnd(at_s=2.5, channel=1),
        {"type": "utterance_end"} | HEAD | {"at_s": 2.5, "channel": 1},
        "n.utterance_end",
    ),
    (
        messages.Transcript(
            text="Guten Tag.",
            is_final=True,
            words=(messages.Word(word="tag", start_s=0.5, end_s=1.0, speaker="SPEAKER_00", language="de"),),
            entities=({"label": "DATE", "start_word": 1},),
        ),
        {"type": "transcript"}
        | HEAD
        | TRANSCRIPT
        | {"words": [WORD | {"punctuated_word": None, "speaker": "SPEAKER_00", "language": "de"}]}
        | {"entities": [{"label": "DATE", "start_word": 1}]},
        "n.transcript.final",
    ),
    (
        messages.Gap(start_s=1.0, end_s=2.0, samples=16000, reason="overflow", uncertainty_s=0.02),
        {"type": "gap"}
        | HEAD
        | {"start_s": 1.0, "end_s": 2.0, "samples": 16000, "reason": "overflow", "uncertainty_s": 0.02},
        "n.gap",
    ),
    (
        messages.Status(
            state="running",
            children={
                "capture": messages.ChildStatus(state="BACKOFF", restarts=2, next_try_in_s=0.5, reason="exit code 1")
            },
            device="USB",
            connection=3,
        ),
        {"type": "status"} | HEAD | STATUS,
        "n.status",
    ),
    (
        messages.Error(
            source="streaming",
            code="unauthorized",
            message="HTTP 401",
            fatal=True,
            request_id="r",
            kind=messages.ErrorKind.CONNECTION,
        ),
        {"type": "error"}
        | HEAD
        | {"source": "streaming", "code": "unauthorized", "message": "HTTP 401", "fatal": True, "request_id": "r"}
        | {"kind": "connection", "step_ns": None},
        "n.error",
    ),
    (
        messages.CreditsLow(seconds_remaining=60.0),
        {"type": "credits_low"} | HEAD | {"seconds_remaining": 60.0},
        "n.credits_low",
    ),
    (messages.SessionEnd(seconds_used=42.0), {"type": "session_end"} | HEAD | {"seconds_used": 42.0}, "n.session_end"),
    (messages.Metadata(data={"a": [1]}), {"type": "metadata"} | HEAD | {"data": {"a": [1]}}, "n.metadata"),
    (
        messages.Level(rms_dbfs=-30.5, peak_dbfs=0.0, digital_silence=False, clipped=0.25),
        {"type": "level"} | HEAD | {"rms_dbfs": -30.5, "peak_dbfs": 0.0, "digital_silence": False, "clipped": 0.25},
        "n.level",
    ),
    (
        messages.Metrics(**METRICS | {"children": {"capture": messages.ChildMetrics(cpu_s=0.5)}}),
        {"type": "metrics"} | HEAD | METRICS,
        "n.metrics",
    ),
]
IDS = [topic for _, _, topic in GOLDEN]


@pytest.mark.parametrize(("message", "golden"), [row[:2] for row in GOLDEN], ids=IDS)
def test_a_message_is_its_golden_json(message, golden):
    assert json.loads(messages.encode(message)) == golden


@pytest.mark.parametrize("message", [row[0] for row in GOLDEN], ids=IDS)
def test_a_reader_gets_the_message_that_was_sent(message):
    assert position.decode(messages.encode(message)) == message


@pytest.mark.parametrize(("message", "topic"), [(row[0], row[2]) for row in GOLDEN], ids=IDS)
def test_the_topic_is_the_name_and_the_type(message, topic):
    assert messages.topic_of("n", message) == topic


def test_every_published_message_is_in_this_table():
    assert {type(message) for message, _, _ in GOLDEN} == set(messages.Published.__args__)


def test_text_is_utf_8_and_not_escaped():
    assert "größer 🙂".encode() in messages.encode(messages.Transcript(text="größer 🙂", is_final=True))


@pytest.mark.parametrize(("message", "golden"), [row[:2] for row in GOLDEN], ids=IDS)
def test_a_reader_ignores_fields_it_does_not_know(message, golden):
    later = golden | {"v": 2, "invented_later": {"a": [1, None]}}
    assert position.decode(json.dumps(later).encode()) == msgspec.structs.replace(message, v=2)


def test_a_reader_fills_in_fields_that_an_older_writer_does_not_know():
    old = b'{"type":"transcript","text":"a","is_final":true}'
    assert position.decode(old) == messages.Transcript(text="a", is_final=True)


@pytest.mark.parametrize("body", [b'{"type":"invented_later","v":2}', b"no json", b"{}", b"[]", b"", b'"\xff"'])
def test_a_subscriber_skips_what_it_does_not_know(body, tmp_path):
    endpoint = f"ipc://{tmp_path}/results"
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        publisher.bind(endpoint)
        with Subscriber("n", publish=endpoint) as reader:
            assert publisher.poll(int(scaled(5) * 1000)), "nobody subscribed"
            publisher.recv()
            publisher.send_multipart([b"n.invented_later", body])
            publisher.send_multipart([b"n.speech_started", messages.encode(messages.SpeechStarted(at_s=1.5))])
            assert reader.receive(timeout_s=scaled(5)) == messages.SpeechStarted(at_s=1.5)


def test_a_subscriber_without_messages_says_none(tmp_path):
    with Subscriber("n", publish=f"ipc://{tmp_path}/results") as reader:
        assert reader.receive(timeout_s=0.01) is None


# Commands


def test_a_question_for_the_history_always_says_since_when():
    assert messages.encode(messages.SnapshotQuery()) == b'{"type":"snapshot","since":0}'


def test_no_topics_and_an_empty_list_of_them_are_not_the_same():
    assert messages.SnapshotQuery().beginnings == ("",)
    assert messages.SnapshotQuery(topics=()).beginnings == ()


@pytest.mark.parametrize(
    ("body", "command"),
    [
        (b'{"type":"status"}', messages.StatusQuery()),
        (b'{"type":"snapshot"}', messages.SnapshotQuery()),
        (b'{"type":"snapshot","since":7}', messages.SnapshotQuery(7)),
        (b'{"type":"snapshot","topics":["gap"]}', messages.SnapshotQuery(topics=("gap",))),
        (b'{"type":"stop"}', messages.Stop()),
        (b'{"type":"pause"}', messages.Pause()),
        (b'{"type":"resume"}', messages.Resume()),
        (b'{"type":"set_user_name","user_name":"Ann"}', messages.SetUserName("Ann")),
        (b'{"type":"stop","invented_later":1}', messages.Stop()),
    ],
)
def test_a_command_is_one_json_object(body, command):
    assert msgspec.json.decode(body, type=messages.Command) == command


@pytest.mark.parametrize(
    "command",
    [messages.StatusQuery(), messages.Stop(), messages.Pause(), messages.Resume(), messages.SetUserName("Ann")],
)
def test_a_command_arrives_as_it_was(command):
    assert msgspec.json.decode(messages.encode(command), type=messages.Command) == command


def test_the_answer_to_a_command_is_ok():
    assert messages.encode(messages.Done()) == b'{"type":"ok"}'


def test_the_answer_to_a_status_query_is_a_status_with_more():
    answer = json.loads(messages.encode(messages.StatusAnswer(state="running", name="n", pid=7, mode="byok")))
    assert {"type", "state", "children", "run", "name", "pid", "mode", "paused", "metrics"} <= answer.keys()
    assert answer["type"] == "status"


def test_each_published_type_has_its_topics_in_the_table():
    tags = {kind.__struct_config__.tag for kind in messages.Published.__args__}
    assert {topic.partition(".")[0] for topic in messages.TOPICS} == tags


def test_what_is_kept_counts_and_what_lasts_is_kept():
    topics = messages.TOPICS.values()
    assert all(topic.counts for topic in topics if topic.is_kept)
    assert all(topic.is_kept for topic in topics if topic.is_lasting)
    assert not any(topic.counts for topic in topics if topic.is_fleeting)


def test_the_fleeting_types_are_those_of_fleeting_topics():
    assert {messages.Level, messages.Metrics} == messages.FLEETING
