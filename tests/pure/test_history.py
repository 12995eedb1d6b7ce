"""The history: what of a run can still be had, and that what cannot is told."""

import msgspec
import pytest

from mpengine.shared.messages import FINALS, SnapshotAnswer, read_answer, read_stamp
from mpengine.supervisor.bus import history as module
from mpengine.supervisor.bus.history import History


def body(seq, size=0, kind='"transcript","is_final":true'):
    return b'{"type":%s,"seq":%d,"text":"%s"}' % (kind.encode(), seq, b"x" * size)


def filled(seqs, *, topic=FINALS, size=0, history=None, **bounds):
    history = history or History(**bounds)
    prev = 0
    for seq in seqs:
        history.add(topic, seq, prev, body(seq, size), float(seq))
        prev = seq
    return history


def ask(history, since=0, now=0.0):
    answer = history.answer(since, run="r", boot="b", seq=99_999, now=now)
    return read_answer(msgspec.json.encode(answer))


def seqs(answer):
    return [read_stamp(message).seq for message in answer.messages]


def test_an_empty_history_says_that_nothing_is_missing():
    answer = ask(History())
    assert (answer.run, answer.boot, answer.seq) == ("r", "b", 99_999)
    assert (seqs(answer), answer.more, set(answer.complete.values())) == ([], False, {0})


@pytest.mark.parametrize(("since", "expected"), [(0, [2, 5, 9]), (2, [5, 9]), (4, [5, 9]), (9, []), (100, [])])
def test_what_was_published_behind_a_seq_comes_in_order(since, expected):
    history = filled([2, 9])
    history.add("gap", 5, 0, body(5, kind='"gap"'), 0.0)
    assert seqs(ask(history, since)) == expected


def test_of_too_many_the_oldest_are_forgotten_and_that_is_told():
    history = filled(range(1, 301), finals=200)
    answer = ask(history)
    assert seqs(answer) == list(range(101, 301))
    assert answer.complete == {FINALS: 100, "gap": 0, "error": 0}


def test_a_flood_of_gaps_pushes_out_no_final():
    history = filled(range(1, 11))
    filled(range(11, 1000), topic="gap", history=history)
    answer = ask(history)
    assert seqs(answer)[:10] == list(range(1, 11))
    assert answer.complete == {FINALS: 0, "gap": 899, "error": 0}


def test_what_is_too_old_is_not_told_and_the_last_hundred_are_kept_all_the_same():
    history = filled(range(1, 301), age_s=50.0)
    assert len(list(history.entries())) == 100
    answer = ask(history, now=320.0)
    assert seqs(answer) == list(range(270, 301))
    assert answer.complete[FINALS] == 269


def test_large_messages_are_bounded_by_their_bytes(monkeypatch):
    monkeypatch.setattr(module, "_MOST_FINAL_BYTES", 100_000)
    history = filled(range(1, 101), size=10_000)
    assert sum(len(entry.body) for entry in history.entries()) <= 100_000


def test_what_no_answer_could_carry_is_not_kept_and_that_is_told():
    history = filled([1, 2])
    history.add(FINALS, 3, 2, body(3, 400_000), 0.0)
    history.add(FINALS, 4, 3, body(4), 0.0)
    answer = ask(history)
    assert seqs(answer) == [1, 2, 4]
    assert answer.complete[FINALS] == 3


def test_no_answer_is_larger_than_a_peer_takes_and_pages_make_up_the_whole():
    history = filled(range(1, 1001), size=4000)
    found, since = [], 0
    while True:
        answer = history.answer(since, run="r", boot="b", seq=1000, now=0.0)
        assert len(msgspec.json.encode(answer)) < 200_000
        found += seqs(answer)
        if not answer.more:
            break
        since = found[-1]
    assert found == list(range(found[0], 1001))
    assert found[0] == answer.complete[FINALS] + 1


def test_only_topics_that_were_asked_for_are_told():
    history = filled([1, 3])
    history.add("gap", 2, 0, body(2), 0.0)
    history.add("error", 4, 0, body(4), 0.0)
    for topics, expected in ((("",), [1, 2, 3, 4]), (("gap", "transcript."), [1, 2, 3]), (("status",), []), ((), [])):
        assert seqs(history.answer(0, topics, run="r", boot="b", seq=4, now=0.0)) == expected


def test_the_last_status_and_the_open_interims_are_told():
    history = History()
    history.add("status", 1, 0, b'{"n":1}', 0.0)
    history.add("status", 2, 1, b'{"n":2}', 0.0)
    history.interim(1, b'{"i":3}')
    history.interim(0, b'{"i":4}')
    history.interim(1, b'{"i":5}')
    answer = ask(history)
    assert (bytes(answer.status), bytes(answer.interim)) == (b'{"n":2}', b'{"i":5}')
    assert [bytes(each) for each in answer.interims] == [b'{"i":4}', b'{"i":5}']


def test_an_interim_that_is_over_is_not_told():
    history = History()
    history.interim(0, b'{"i":1}')
    history.interim(0, None)
    assert (bytes(ask(history).interim), ask(history).interims) == (b"null", [])


def test_interims_are_bounded():
    history = History()
    for channel in range(10):
        history.interim(channel, body(channel, 100_000))
    assert [bytes(each) for each in ask(history).interims] == [body(8, 100_000), body(9, 100_000)]
    history.interim(0, body(4, 300_000))
    assert bytes(ask(history).interim) == b"null"


def test_a_lost_message_before_the_first_is_told():
    """As from a journal that a full disk kept from growing for a while."""
    history = History()
    history.forgot(FINALS, 5)
    history.forgot("invented_later", 5)
    history.add(FINALS, 9, 8, body(9), 0.0)
    assert ask(history).complete[FINALS] == 8


def test_an_answer_of_another_version_is_read_as_far_as_it_is_known():
    assert read_answer(b'{"type":"snapshot","invented_later":1}') == SnapshotAnswer()
