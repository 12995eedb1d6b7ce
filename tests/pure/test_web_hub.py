"""The hub and its readers: what comes when, from where on, what is told as missing, and that all of it is bounded."""

import json

import msgspec
import pytest

from mpengine.client.position import HOLE, Hole, Received, loss
from mpengine.shared import messages
from mpengine.shared.messages import Transcript
from mpengine.web import hub as hub_module
from mpengine.web.hub import ABSENT_S, LOG_BYTES, Hub, with_engine
from mpengine.web.reader import BEHIND_BYTES, Position, Reader, Wish, positions_in
from tests.rig.live_bus import METRICS


class Rig:
    """A hub with two engines, and what they say."""

    def __init__(self):
        self.hub = Hub(("desk", "door"))
        self.seqs = {"desk": 0, "door": 0}
        self.prevs = {}
        self.now = 100.0

    def say(self, message, name="desk", run="r", skip=0):
        self.seqs[name] += 1 + skip
        topic = messages.topic_of(name, message)
        stamp = {"run": run, "seq": self.seqs[name], "prev": self.prevs.get((topic, run), 0)}
        self.prevs[topic, run] = self.seqs[name]
        body = messages.encode(msgspec.structs.replace(message, **stamp))
        self.hub.take(Received(name, topic.partition(".")[2], body), self.now)
        return self.seqs[name]

    def final(self, text, name="desk", **options):
        return self.say(Transcript(text=text, is_final=True), name, **options)

    def metrics(self, name="desk", **options):
        return self.say(METRICS, name, **options)

    def reader(self, *engines, **wish):
        return Reader(self.hub, Wish(engines or ("desk", "door"), **wish), now_ns=1)


@pytest.fixture
def rig():
    return Rig()


def events(reader):
    """The events that a reader gets now: (id, data)."""
    found = []
    for block in b"".join(iter(lambda: reader.take(1 << 16), b"")).decode().split("\n\n"):
        lines = block.split("\n")
        if lines[-1].startswith("data: "):
            found.append((lines[0][4:] if len(lines) == 2 else "", json.loads(lines[-1][6:])))
    return found


def texts(reader):
    return [data["text"] for _, data in events(reader) if data["type"] == "transcript"]


def kinds(reader):
    return [data["type"] for _, data in events(reader)]


def holes(found):
    return [(data["run"], data["first_seq"], data["last_seq"]) for _, data in found if data["type"] == HOLE]


def test_a_new_reader_gets_all_that_is_kept_then_what_comes(rig):
    rig.final("one")
    rig.final("two", "door")
    reader = rig.reader()
    assert texts(reader) == ["one", "two"]
    rig.final("three")
    assert texts(reader) == ["three"]
    assert texts(reader) == []


def test_each_message_is_the_bus_s_own_with_the_name_of_its_engine(rig):
    seq = rig.final("one")
    (_, data) = next(event for event in events(rig.reader()) if event[1]["type"] == "transcript")
    assert next(iter(data)) == "engine"
    assert (data["engine"], data["run"], data["seq"], data["text"]) == ("desk", "r", seq, "one")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1}', b'{"engine":"n","a":1}'),
        (b" { \n } ", b'{"engine":"n"}'),
        (b'{\n"a":\r\n1}', b'{"engine":"n","a": 1}'),
        (b"[]", b""),
        (b"no", b""),
        (b'{"a":"\xff"}', b""),
    ],
)
def test_the_name_stands_first_on_one_line(body, expected):
    found = with_engine("n", body)
    assert found.split() == expected.split()
    assert b"\n" not in found


def test_a_reader_is_told_how_things_stand(rig):
    rig.say(messages.Status(state="running"))
    rig.say(Transcript(text="open", is_final=False))
    rig.say(Transcript(text="other", is_final=False, channel=1))
    rig.say(Transcript(text="gone", is_final=False, channel=2))
    rig.say(Transcript(text="gone", is_final=True, channel=2))
    found = events(rig.reader())
    assert found[0][1]["type"] == "hello"
    told = [(data["engine"], data["is_heard"]) for _, data in found if data["type"] == "presence"]
    assert told == [("desk", True), ("door", False)]
    assert [data["state"] for _, data in found if data["type"] == "status"] == ["running"]
    assert [data["text"] for _, data in found if not data.get("is_final", True)] == ["open", "other"]


@pytest.mark.parametrize(
    "end", [Transcript(text="", is_final=False), Transcript(text="a", is_final=False, interrupted=True)]
)
def test_an_interim_that_is_taken_back_is_open_no_more(rig, end):
    rig.say(Transcript(text="a", is_final=False))
    rig.say(end)
    assert texts(rig.reader()) == []


# Where a reader goes on


def test_ids_stand_at_finals_and_metrics_alone(rig):
    reader = rig.reader("desk")
    final = rig.final("one")
    rig.say(messages.Error(source="s", code="c", message="m"))
    rig.say(Transcript(text="two", is_final=False))
    metrics = rig.metrics()
    marks = [(data["type"], mark) for mark, data in events(reader) if data["type"] not in {"hello", "presence"}]
    assert marks == [("transcript", f"r:{final}"), ("error", ""), ("transcript", ""), ("metrics", f"r:{metrics}")]


def test_of_several_engines_the_id_names_each(rig):
    reader = rig.reader()
    one, two = rig.final("one"), rig.final("two", "door")
    assert [mark for mark, _ in events(reader) if mark] == [f"desk=r:{one}", f"desk=r:{one},door=r:{two}"]


def test_who_comes_again_goes_on_behind_its_id(rig):
    for text in ("one", "two", "three"):
        rig.final(text)
    rig.final("other", "door")
    positions = positions_in("desk=r:2", ("desk", "door"))
    assert texts(rig.reader(positions=positions)) == ["three", "other"]
    assert texts(rig.reader("desk", positions=positions_in("r:3", ("desk",)))) == []


def test_gaps_and_errors_behind_an_id_come_and_those_before_do_not(rig):
    rig.say(messages.Error(source="s", code="c", message="before"))
    seq = rig.metrics()
    rig.say(messages.Error(source="s", code="c", message="after"))
    found = events(rig.reader("desk", positions={"desk": Position("r", seq)}))
    assert [data["message"] for _, data in found if data["type"] == "error"] == ["after"]


def test_after_a_restart_of_the_server_old_finals_that_come_from_the_history_are_not_sent_again(rig):
    reader = rig.reader("desk", positions={"desk": Position("r", 2)})  # it came before the history did
    for text in ("one", "two", "three"):
        rig.final(text)
    found = events(reader)
    assert [data["text"] for _, data in found if data["type"] == "transcript"] == ["three"]
    assert holes(found) == []


def test_finals_that_nobody_has_any_more_are_told(rig):
    rig.seqs["desk"], rig.prevs["desk.transcript.final", "r"] = 10, 9
    rig.final("ten")
    found = events(rig.reader("desk", positions={"desk": Position("r", 4)}))
    assert holes(found) == [("r", 5, 9)]
    assert [data["text"] for _, data in found if data["type"] == "transcript"] == ["ten"]


def test_another_run_is_told_once_and_given_whole(rig):
    reader = rig.reader("desk", positions={"desk": Position("old", 4)})
    rig.final("one")
    rig.final("two")
    found = events(reader)
    assert holes(found) == [("old", 5, None)]
    assert [data["text"] for _, data in found if data["type"] == "transcript"] == ["one", "two"]


def test_a_run_that_ended_while_the_reader_was_away_is_given_to_its_end(rig):
    rig.final("one")
    rig.final("two")
    rig.seqs["desk"] = 0
    rig.final("new", run="s")
    found = events(rig.reader("desk", positions={"desk": Position("r", 1)}))
    assert [data["text"] for _, data in found if data["type"] == "transcript"] == ["two", "new"]
    assert holes(found) == []


def test_a_run_without_finals_that_goes_on_is_no_other_one(rig):
    seq = rig.metrics()
    reader = rig.reader("desk", positions={"desk": Position("r", seq)})
    rig.final("one")
    assert holes(events(reader)) == []


def test_a_hole_that_the_subscriber_tells_is_told_once(rig):
    reader = rig.reader("desk")
    rig.final("one")
    rig.hub.take(loss("desk", Hole(topic="transcript.final", run="r", first_seq=2, last_seq=5)), rig.now)
    rig.seqs["desk"], rig.prevs["desk.transcript.final", "r"] = 5, 5
    rig.final("six")
    assert holes(events(reader)) == [("r", 2, 5)]


def test_of_before_there_are_as_many_finals_as_wished(rig):
    for number in range(9):
        rig.final(str(number))
    assert texts(rig.reader("desk", history=2)) == ["7", "8"]
    assert texts(rig.reader("desk", history=0)) == []
    assert len(texts(rig.reader("desk", history=100))) == 9


def test_a_reader_gets_the_topics_that_it_wants(rig):
    reader = rig.reader("desk", topics=("transcript.final", "gap"))
    rig.say(Transcript(text="so", is_final=False))
    rig.metrics()
    rig.final("so")
    assert kinds(reader) == ["hello", "presence", "presence", "transcript"]


@pytest.mark.parametrize(
    ("text", "engines", "expected"),
    [
        ("r:5", ("desk",), {"desk": ("r", 5)}),
        ("desk=r:5,door=s:6", ("desk", "door"), {"desk": ("r", 5), "door": ("s", 6)}),
        ("desk=r:5,door=s:6", ("door",), {"door": ("s", 6)}),
        ("r:5", ("desk", "door"), {}),
        ("", ("desk",), {}),
        ("r:-5", ("desk",), {}),
        ("r:" + "9" * 30, ("desk",), {}),
        ("x" * 5000, ("desk",), {}),
        ("r:5\n", ("desk",), {}),
        ("r:٣", ("desk",), {}),
    ],
)
def test_an_id_from_outside_is_read_or_ignored(text, engines, expected):
    assert positions_in(text, engines) == expected


def test_an_id_never_has_what_a_run_may_not_have(rig):
    reader = rig.reader("desk")
    rig.final("one", run="r\n\ndata: {}\n\n")
    assert [mark for mark, _ in events(reader) if mark] == []


# Bounds


def test_the_log_is_bounded_and_a_reader_behind_it_is_lost(rig):
    reader, other = rig.reader("desk"), rig.reader("desk")
    events(other)
    while not reader.is_lost:
        rig.final("x" * 100_000)
        assert len(texts(other)) == 1
    assert not other.is_lost
    assert BEHIND_BYTES < reader.behind_bytes < BEHIND_BYTES + 200_000
    for _ in range(100):
        rig.final("x" * 100_000)
    assert sum(len(entry.data) for entry in rig.hub.after(rig.hub.first)) <= LOG_BYTES


def test_what_is_kept_is_bounded(rig, monkeypatch):
    monkeypatch.setattr(hub_module, "KEPT_BYTES", 100_000)
    for number in range(500):
        rig.final(f"{number} " + "x" * 1000)
        rig.say(messages.Error(source="s", code="c", message=str(number)))
    kept = rig.hub.views["desk"].kept
    assert sum(len(entry.data) for entry in kept if entry.topic == "transcript.final") <= 100_000
    errors = [json.loads(entry.data)["message"] for entry in kept if entry.topic == "error"]
    assert errors == [str(number) for number in range(400, 500)]


def test_a_message_that_is_too_large_is_told_as_a_hole(rig):
    reader = rig.reader("desk")
    seq = rig.final("x" * 300_000)
    found = events(reader)
    assert holes(found) == [("r", seq, seq)]
    assert rig.hub.views["desk"].unreadable == 1


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'{"type":"\xff"}', b"[" * 200_000])
def test_what_is_no_message_is_counted_and_left_out(rig, body):
    rig.hub.take(Received("desk", "transcript.final", body), rig.now)
    assert kinds(rig.reader("desk")) == ["hello", "presence"]
    assert rig.hub.views["desk"].unreadable == 1


def test_a_message_of_an_unknown_type_goes_through(rig):
    reader = rig.reader("desk")
    rig.hub.take(Received("desk", "invented", b'{"type":"invented"}'), rig.now)
    assert kinds(reader)[-1] == "invented"


# How an engine is


def test_an_engine_is_absent_after_a_silence_and_present_with_its_next_word(rig):
    rig.metrics()
    reader = rig.reader("desk")
    events(reader)
    assert not rig.hub.tick(rig.now + ABSENT_S)
    assert rig.hub.tick(rig.now + ABSENT_S + 1)
    assert not rig.hub.tick(rig.now + ABSENT_S + 2)
    assert [data["is_heard"] for _, data in events(reader)] == [False]
    rig.metrics()
    assert [data.get("is_heard") for _, data in events(reader)] == [True, None]


def test_trouble_is_said_in_words(rig):
    view = rig.hub.views["desk"]
    assert "no engine of this name" in view.trouble(rig.now)
    rig.say(messages.Status(state="running"))
    assert view.trouble(rig.now) == ""
    rig.say(messages.Status(state="degraded", reason="no network"))
    assert view.trouble(rig.now + 59) == ""
    assert view.trouble(rig.now + 75) == "desk: degraded for 75 s: no network"
    rig.say(messages.Status(state="running"))
    assert view.trouble(rig.now + 75) == ""
    rig.say(messages.Status(state="failed", reason="no key"))
    assert view.trouble(rig.now) == "desk: failed: no key"


def test_codes_of_others_become_one_label(rig):
    for code in ("crash", "x1", "x2"):
        rig.say(messages.Error(source="s", code=code, message="m"))
    assert rig.hub.views["desk"].errors == {"crash": 1, "other": 2}


def test_delays_of_finals_are_counted_where_their_times_are_true(rig):
    say = {"is_final": True, "start_time_ns": 10**18, "end_s": 1.0}
    rig.say(Transcript(text="a", time_ns=10**18 + 1_300_000_000, **say))
    rig.say(Transcript(text="b", time_ns=10**18 + 1_300_000_000, estimated=True, **say))
    delays = rig.hub.views["desk"].delays
    assert sum(delays.counts) == 1
    assert delays.sum_s == pytest.approx(0.3)


def test_between_the_last_finals_there_is_all_that_stood_there(rig):
    rig.say(messages.Gap(start_s=0, end_s=1, samples=1, reason="device"))
    rig.final("one")
    rig.say(messages.Gap(start_s=2, end_s=3, samples=1, reason="paused"))
    rig.final("two")
    shown = [data.get("text") or data.get("reason") for _, data in events(rig.reader("desk", history=2))][1:-1]
    assert shown == ["one", "paused", "two"]


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize(
    ("field", "number"),
    [("end_s", "1e308"), *((field, "1" + "0" * 400) for field in ("start_time_ns", "time_ns", "seq"))],
    ids=lambda value: value[:20],
)
def test_a_final_with_an_impossible_number_is_not_passed_on_and_harms_nobody(field, number, sign):
    rig = Rig()
    fields = {"time_ns": "1", "start_s": "0", "end_s": "1", "start_time_ns": "1", "seq": "9", field: sign + number}
    told = ",".join(f'"{name}":{value}' for name, value in fields.items())
    odd = f'{{"type":"transcript","text":"odd","is_final":true,"run":"r",{told}}}'
    rig.hub.take(Received("desk", "transcript.final", odd.encode()), rig.now)
    rig.final("one")
    view = rig.hub.views["desk"]
    assert b"one" in view.kept[-1].data
    assert (view.unreadable, b"odd" in b"".join(entry.data for entry in view.kept)) == (1, False)


def test_a_counter_beyond_all_numbers_is_not_taken_in():
    rig = Rig()
    rig.metrics()
    before = rig.hub.views["desk"].metrics
    body = messages.encode(METRICS).replace(b'"reconnects":1', b'"reconnects":1' + b"0" * 400)
    rig.hub.take(Received("desk", "metrics", body), rig.now)
    assert rig.hub.views["desk"].metrics is before


@pytest.mark.parametrize("topic", [HOLE, "presence"])
def test_an_engine_has_no_holes_and_no_presence_of_its_own(topic):
    rig = Rig()
    rig.hub.take(Received("desk", topic, b'{"type":"hole","topic":5}'), rig.now)
    view = rig.hub.views["desk"]
    assert (view.kept, view.unreadable) == ([], 1)
