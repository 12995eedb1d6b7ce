"""Following an engine over every kind of loss, as histories; and the patience of a follower."""

import json

import msgspec
import pytest

from mpengine.client.follow import Follower, LookClock, Sync
from mpengine.client.position import Deliver, Hole
from mpengine.shared.messages import FINALS, KEPT, SnapshotAnswer
from mpengine.supervisor.bus.history import History
from tests.pure.published_history import Engine, Wire, connected

# Histories


@pytest.fixture
def engine():
    return Engine()


def test_who_comes_late_gets_all_there_was(engine):
    for _ in range(5):
        engine.publish(FINALS)
    wire = connected(engine)
    assert (wire.seqs(), wire.holes, wire.follower.is_live) == ([1, 2, 3, 4, 5], [], True)
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    assert wire.seqs() == [1, 2, 3, 4, 5, 6]


def test_what_is_published_between_the_sync_and_the_answer_comes_once_and_in_order(engine):
    engine.publish(FINALS)
    wire = Wire(engine)
    wire.connect()
    wire.send(engine.publish(FINALS))
    wire.arrive(10)
    wire.send(engine.publish(FINALS))
    wire.answer()
    wire.answer()
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    assert (wire.seqs(), wire.holes) == ([1, 2, 3, 4], [])


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("start", [1, 2, 3]),
        (None, []),
        (2, [3]),
        (("r1", 2), [3]),
        (3, []),
        (("r1", 3), []),
        (99, [1, 2, 3]),
        (("r1", 99), [1, 2, 3]),
    ],
)
def test_since_says_from_where_on(engine, since, expected):
    for _ in range(3):
        engine.publish(FINALS)
    wire = connected(engine, since=since)
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    assert (wire.seqs(), wire.holes) == ([*expected, 4], [])


@pytest.mark.parametrize("since", [14, ("r1", 14)])
def test_a_position_is_not_judged_by_a_final_that_is_repeated(engine, since):
    for _ in range(3):
        engine.publish(FINALS)
    repeated = engine.kill()
    engine.publish(FINALS)
    wire = Wire(engine, since=since)
    wire.connected = True
    wire.send(repeated)
    wire.arrive()
    wire.connect()
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    assert (wire.seqs(), wire.holes) == ([15], [])


def test_a_position_in_a_run_that_is_over_is_told_as_a_hole_without_an_end(engine):
    engine.publish(FINALS)
    wire = connected(engine, since=("before", 7), topics=("transcript.final",))
    assert wire.holes == [Hole(topic=FINALS, run="before", first_seq=8)]
    assert wire.seqs() == [1]


def test_started_before_the_engine_it_waits(engine):
    wire = Wire(engine)
    assert (wire.follower.is_live, wire.follower.deadline) == (False, float("inf"))
    wire.connect()
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    assert wire.seqs() == [1]


def test_a_loss_that_prev_shows_is_filled_and_what_follows_waits_for_it(engine):
    wire = connected(engine)
    engine.publish(FINALS)  # lost
    wire.send(engine.publish(FINALS))
    wire.send(engine.publish("level"))
    wire.arrive(2)
    assert wire.got == []
    wire.run_dry()
    assert [seq for _, _, seq in wire.got] == [1, 2, 3]
    assert wire.holes == []


def test_a_loss_that_only_metrics_show_is_filled(engine):
    wire = connected(engine)
    engine.publish(FINALS)
    wire.send(engine.publish("metrics"))
    wire.run_dry()
    assert (wire.seqs(), wire.holes) == ([1], [])


def test_a_loss_while_catching_up_begins_another_round(engine):
    wire = connected(engine)
    engine.publish(FINALS)
    wire.send(engine.publish(FINALS))
    wire.arrive(2)  # asked
    number, since = wire.answers.pop()
    answer = engine.snapshot(since)
    engine.publish(FINALS)  # lost again
    wire.send(engine.publish(FINALS))
    wire.arrive(1)
    wire.perform(wire.follower.answered(number, answer))
    wire.run_dry()
    assert (wire.seqs(), wire.holes) == ([1, 2, 3, 4], [])


def test_over_a_kill_of_the_supervisor_nothing_is_missing_and_nothing_comes_twice(engine):
    wire = connected(engine)
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    engine.publish(FINALS)  # died in the socket's queue
    repeated = engine.kill()
    wire.disconnect()
    wire.connect()
    wire.send(repeated)
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    assert (wire.seqs(), wire.holes) == ([1, 2, 13], [])


def test_another_run_begins_anew(engine):
    wire = connected(engine)
    wire.send(engine.publish(FINALS) + engine.stop())
    wire.run_dry()
    engine.start_run()
    wire.disconnect()
    wire.connect()
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    assert [each for each in wire.got if each[1] == FINALS] == [("r1", FINALS, 1), ("r2", FINALS, 1)]
    assert wire.holes == []


def test_a_run_whose_end_was_not_heard_has_a_hole_without_an_end(engine):
    wire = connected(engine, topics=(FINALS,))
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    engine.publish(FINALS)
    engine.start_run()
    wire.disconnect()
    wire.connect()
    wire.run_dry()
    assert wire.holes == [Hole(topic=FINALS, run="r1", first_seq=2)]


def test_what_the_history_has_forgotten_is_a_hole():
    engine = Engine(most=2)
    for _ in range(5):
        engine.publish(FINALS)
    wire = connected(engine)
    assert wire.holes == [Hole(topic=FINALS, run="r1", first_seq=1, last_seq=3)]
    assert wire.seqs() == [4, 5]


def test_what_was_lost_with_its_supervisor_and_is_forgotten_is_a_hole():
    engine = Engine(most=1)
    wire = connected(engine, topics=("gap",))
    wire.send(engine.publish("gap"))
    engine.kill()  # the gap died in the socket's queue
    wire.disconnect()
    wire.connect()
    wire.send(engine.publish("metrics") + engine.publish("gap"))
    wire.run_dry()
    assert wire.holes == [Hole(topic="gap", run="r1", first_seq=1, last_seq=1)]
    assert wire.seqs("gap") == [13]


def test_what_was_lost_before_a_round_that_the_end_of_the_run_cuts_short_is_a_hole(engine):
    wire = connected(engine, topics=("gap",))
    engine.publish("gap")  # lost
    engine.kill()
    wire.disconnect()
    wire.connect()
    wire.send(engine.publish("gap") + engine.stop())
    wire.arrive(len(wire.way))
    engine.start_run()
    wire.disconnect()
    wire.connect()
    wire.run_dry()
    assert wire.holes == [Hole(topic="gap", run="r1", first_seq=1, last_seq=11)]
    assert wire.seqs("gap") == [12]


def test_what_grew_too_old_to_be_told_is_a_hole(engine):
    engine.publish(FINALS)
    engine.kept[FINALS].clear()
    engine.forgotten[FINALS] = 1
    wire = connected(engine)
    assert wire.holes == [Hole(topic=FINALS, run="r1", first_seq=1, last_seq=1)]


def test_an_engine_that_does_not_answer_is_given_up_and_what_it_lost_is_told(engine):
    wire = connected(engine)
    engine.publish(FINALS)
    wire.send(engine.publish(FINALS))
    wire.arrive(2)
    for wire.now in (0.0, 1.0, 2.0, 6.0, 9.9):
        wire.answers.clear()
        wire.look()
        assert wire.got == []
        assert wire.follower.deadline == min(wire.now + 1.0, 10.0)
    wire.answers.clear()
    wire.now = 10.0
    wire.look()
    assert wire.holes == [Hole(topic=FINALS, run="r1", first_seq=1, last_seq=1)]
    assert wire.seqs() == [2]
    assert wire.follower.deadline == float("inf")


def test_an_engine_that_publishes_but_does_not_answer_is_asked_again(engine):
    wire = connected(engine)
    engine.publish(FINALS)
    wire.send(engine.publish(FINALS))
    wire.arrive(2)
    wire.answers.clear()
    wire.look()
    wire.now = 1.0
    wire.look()
    wire.run_dry()
    assert (wire.seqs(), wire.holes) == ([1, 2], [])


def test_an_answer_that_waited_for_a_late_look_is_taken(engine):
    """Each look finds first what was published, then the answer to what it asked the last time."""
    for _ in range(5):
        engine.publish(FINALS)
    wire = Wire(engine)
    wire.connect()
    for _ in range(6):
        wire.send(engine.publish("level"))
        wire.look()
        wire.now += 1.2
    assert (wire.seqs(), wire.holes) == ([1, 2, 3, 4, 5], [])


def test_an_answer_that_is_none_is_given_up_at_once(engine):
    engine.publish(FINALS)
    wire = Wire(engine)
    wire.connect()
    wire.send(engine.publish("level"))
    wire.arrive(10)
    wire.perform(wire.follower.answered(wire.answers.pop()[0], None))
    assert [hole.topic for hole in wire.holes] == list(KEPT)
    assert wire.follower.is_live


def test_more_than_may_be_held_is_not(engine, monkeypatch):
    monkeypatch.setattr("mpengine.client.follow._MOST_HELD", 5)
    wire = Wire(engine, topics=("level", FINALS))
    wire.connect()
    wire.arrive(10)
    engine.publish(FINALS)
    for _ in range(6):
        wire.send(engine.publish("level"))
    wire.arrive(10)
    assert len(wire.seqs("level")) == 6
    assert wire.holes == [Hole(topic=FINALS, run="r1", first_seq=1, last_seq=6)]


def test_an_answer_of_another_engine_is_not_taken(engine):
    wire = Wire(engine)
    wire.connect()
    wire.arrive(10)
    number, _ = wire.answers.pop()
    assert wire.follower.answered(number, SnapshotAnswer(run="x")) == []
    assert not wire.follower.is_live


def test_without_a_way_to_ask_a_loss_is_told_at_once(engine):
    wire = Wire(engine, can_ask=False, topics=(FINALS, "speech_started"))
    engine.publish(FINALS)
    wire.connected = True
    wire.send(engine.publish(FINALS) + engine.publish("speech_started"))
    engine.publish(FINALS)
    engine.publish("speech_started")
    wire.send(engine.publish(FINALS) + engine.publish("speech_started"))
    wire.run_dry()
    assert wire.seqs() == [2, 6]
    assert wire.holes == [
        Hole(topic=FINALS, run="r1", first_seq=3, last_seq=4),
        Hole(topic="speech_started", run="r1", first_seq=4, last_seq=5),
    ]


def test_without_a_way_to_ask_a_loss_across_a_kill_is_told(engine):
    """What is behind the last word that was heard is gone with its supervisor, and the next one does not name it."""
    wire = Wire(engine, can_ask=False, topics=(FINALS,))
    wire.connected = True
    wire.send(engine.publish(FINALS) + engine.publish("metrics"))
    engine.publish(FINALS)  # 3, lost
    engine.kill()
    wire.send(engine.publish("status") + engine.publish("metrics"))
    wire.run_dry()
    assert wire.holes == [Hole(topic=FINALS, run="r1", first_seq=2)]
    repeated = json.loads(engine.kept[FINALS][-1][1]) | {"boot": engine.boot}
    wire.send([(FINALS, json.dumps(repeated).encode())])  # late, but here it is
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    assert wire.seqs() == [1, 3, 16]
    assert len(wire.holes) == 1


def test_without_a_way_to_ask_a_restart_behind_the_last_word_is_no_loss(engine):
    wire = Wire(engine, can_ask=False, topics=(FINALS,))
    wire.connected = True
    wire.send(engine.publish(FINALS) + engine.stop())
    engine.start_boot()
    wire.send(engine.publish("metrics") + engine.publish(FINALS))
    wire.run_dry()
    assert (wire.seqs(), wire.holes) == ([1, 5], [])


def test_without_a_way_to_ask_metrics_tell_what_was_lost_before_the_first_message(engine):
    wire = Wire(engine, can_ask=False, topics=(FINALS,))
    wire.connected = True
    wire.send(engine.publish("metrics"))
    engine.publish(FINALS)  # lost
    wire.send(engine.publish(FINALS))
    wire.run_dry()
    assert wire.holes == [Hole(topic=FINALS, run="r1", first_seq=2, last_seq=2)]


@pytest.mark.parametrize("topics", [("status",), ("transcript.interim", "level")])
@pytest.mark.parametrize("since", ["start", None, 1, ("r1", 1)])
def test_the_status_and_the_open_interim_come_to_who_takes_nothing_else(topics, since):
    follower = Follower(wants=lambda topic: topic.startswith(topics), since=since, can_ask=True)
    assert follower.asks
    follower.synced(0, "r", "b", 9)
    (ask,) = follower.synced(1, "r", "b", 9)
    assert ask.since == 9  # and not all the finals

    def raw(kind, seq):
        return msgspec.Raw(json.dumps({"type": kind, "run": "r", "boot": "b", "seq": seq}).encode())

    answer = SnapshotAnswer(run="r", boot="b", seq=9, status=raw("status", 2), interim=raw("transcript", 8))
    assert [each.topic for each in follower.answered(ask.number, answer)] == [topics[0]]


def test_where_nothing_can_be_missing_nothing_is_held_back():
    """The last word of an engine that ends while its status is asked for."""
    follower = Follower(wants=lambda topic: topic == "status", since=None, can_ask=True)

    def status(seq):
        return json.dumps({"type": "status", "run": "r", "boot": "b", "seq": seq}).encode()

    follower.synced(0, "r", "b", 4)
    (ask,) = follower.synced(1, "r", "b", 4)
    assert follower.heard("status", status(5)) == [Deliver("status", status(5))]
    late = SnapshotAnswer(run="r", boot="b", seq=4, status=msgspec.Raw(status(2)))
    assert follower.answered(ask.number, late) == []
    assert follower.is_live


def test_who_takes_nothing_that_can_be_had_does_not_ask():
    assert not Follower(wants=lambda topic: topic == "level", since="start", can_ask=True).asks


@pytest.mark.parametrize("topic", ["level", "status", "transcript.interim"])
def test_what_the_next_one_replaces_leaves_no_hole(engine, topic):
    wire = connected(engine)
    wire.send(engine.publish(topic))
    engine.publish(topic)
    wire.send(engine.publish(topic))
    wire.run_dry()
    assert (wire.seqs(topic), wire.holes) == ([1, 3], [])


def test_the_status_and_the_open_interim_of_the_snapshot_come_where_they_belong():
    history = History()
    follower = Follower(wants=lambda _: True, since="start", can_ask=True)

    def body(topic, seq, prev=0):
        kind = topic.split(".")[0]
        stamp = {"type": kind, "is_final": topic == FINALS, "run": "r", "boot": "b", "seq": seq, "prev": prev}
        if topic == "transcript.interim":
            history.interim(0, json.dumps(stamp).encode())
        history.add(topic, seq, prev, json.dumps(stamp).encode(), 0.0)
        return json.dumps(stamp).encode()

    for number, topic in enumerate((FINALS, "status", FINALS, "transcript.interim"), start=1):
        body(topic, number, 1 if number == 3 else 0)
    follower.synced(0, "r", "b", 4)
    (ask,) = follower.synced(1, "r", "b", 4)
    answer = history.answer(ask.since, run="r", boot="b", seq=4, now=0.0)
    delivered = follower.answered(ask.number, answer)
    assert [json.loads(each.body)["seq"] for each in delivered] == [1, 2, 3, 4]
    assert follower.heard("status", body("status", 2)) == []


def test_the_status_that_answers_a_subscription_begins_no_round_of_its_own(engine):
    engine.publish(FINALS)
    ((_, status),) = engine.publish("status")
    follower = Follower(wants=lambda _: True, since="start", can_ask=True)
    assert follower.heard("status", status) == []
    assert follower.synced(0, engine.run, engine.boot, 2) == [Sync(1)]
    (ask,) = follower.synced(1, engine.run, engine.boot, 2)
    delivered = follower.answered(ask.number, engine.snapshot(ask.since))
    assert [each.topic for each in delivered] == [FINALS, "status"]
    assert follower.heard("status", status) == []  # connected again
    assert follower.is_live


def test_a_status_of_another_boot_waits_a_second_for_the_answer_to_the_sync_that_stays(engine):
    wire = connected(engine)
    engine.publish(FINALS)  # died in the socket's queue
    engine.kill()
    wire.connected = True
    wire.send(engine.publish("status"))
    wire.look()
    assert wire.follower.deadline == wire.now + 1.0
    wire.now += 1.0
    wire.look()
    wire.run_dry()
    assert [(topic, seq) for _, topic, seq in wire.got] == [(FINALS, 1), ("status", 12)]


def test_of_an_engine_that_has_ended_without_an_answer_nothing_is_missing_that_its_last_words_do_not_show(engine):
    wire = Wire(engine)
    wire.connect()
    wire.send(engine.publish(FINALS) + engine.publish("speech_started") + engine.publish(FINALS) + engine.stop())
    wire.look()
    wire.answers.clear()
    wire.look()
    assert wire.got == []  # the answer may come yet
    wire.now += 1.0
    wire.look()
    assert (wire.seqs(), wire.holes, wire.follower.is_live) == ([1, 3], [], True)


def test_of_an_engine_that_has_ended_without_an_answer_what_was_before_it_may_be_missing(engine):
    engine.publish(FINALS)
    engine.kill()
    wire = Wire(engine, topics=(FINALS,))
    wire.connect()
    wire.send(engine.publish(FINALS) + engine.stop())
    for wire.now in (0.0, 0.0, 1.0):
        wire.look()
        wire.answers.clear()
    assert wire.seqs() == [12]
    assert wire.holes == [Hole(topic=FINALS, run="r1", first_seq=1, last_seq=11)]


def test_only_what_is_wanted_is_handed_over(engine):
    wire = connected(engine, topics=("gap",))
    wire.send(engine.publish(FINALS) + engine.publish("gap") + engine.publish("metrics"))
    wire.run_dry()
    assert wire.got == [("r1", "gap", 2)]


def test_what_is_no_message_is_handed_on(engine):
    wire = connected(engine)
    assert wire.follower.heard("level", b"what?") == [Deliver("level", b"what?")]


# Time that nearly stands still while nobody looks


def looked(every_s, look_s, looks):
    """What somebody has waited who looks `every_s`, for so long each time."""
    patience, now = LookClock(0.0), 0.0
    for _ in range(looks):
        now += every_s - look_s
        patience.back(now)
        now += look_s
        patience.leave(now)
    return patience, now


@pytest.mark.parametrize(
    ("every_s", "look_s", "waited_s"),
    [
        (1.0, 1.0, 100),  # always looking
        (0.02, 0.0, 2),  # a screen that is drawn: looks take no time, but there is no time between them
        (2.0, 0.0, 10),
        (60.0, 0.5, 60),
    ],
)
def test_what_was_waited_is_the_time_of_the_looks_and_a_little_between_them(every_s, look_s, waited_s):
    patience, now = looked(every_s, look_s, 100)
    assert patience.waited(now) == pytest.approx(waited_s)


def test_a_time_that_was_waited_can_be_found_on_the_clock():
    patience, now = looked(2.0, 0.5, 10)
    assert patience.clock(patience.waited(now) + 3.0) == pytest.approx(now + 3.0)


def test_a_look_that_begins_within_another_counts_no_absence_twice():
    patience = LookClock(0.0)
    patience.back(5.0)
    patience.back(5.0)
    assert patience.waited(5.0) == pytest.approx(0.1)
