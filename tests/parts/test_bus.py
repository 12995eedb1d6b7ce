"""The bus's numbers, what it leaves out, what it holds back at first, and what it tells those who join."""

import contextlib
import itertools
import json
import random
import time
from types import SimpleNamespace

import msgspec
import pytest
import zmq

from mpengine.shared import messages
from mpengine.shared.config_tables import Secret
from mpengine.shared.deciding import NEVER
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.bus.history import History
from mpengine.supervisor.bus.journal import Final, Identity, Journal
from tests.rig.small_disk import fill
from tests.rig.waiting import scaled

TURNS = 20
LEVEL = messages.Level(rms_dbfs=-30.0, peak_dbfs=-10.0, digital_silence=False)
WORDS = messages.Transcript(text="words", is_final=True)
INTERIM = messages.Transcript(text="wor", is_final=False)
GAP = messages.Gap(start_s=1.0, end_s=2.0, samples=16000, reason="paused")
RUNNING, STOPPED = messages.Status(state="running"), messages.Status(state="stopped")


class Radio:
    """A bus called `n`, and those who hear it."""

    def __init__(self, stack, path, journal_in=None, *, is_open=True, **options):
        self._stack = stack
        self._tokens = itertools.count()
        self._context = stack.enter_context(zmq.Context())
        journal = Journal.create(f"{journal_in or path}/journal", Identity("r", "m", 16000, 1, "portaudio"), History())
        stack.callback(journal.close, remove=True)
        where = {"publish": f"ipc://{path}/results", "query": f"ipc://{path}/query", "command": f"ipc://{path}/command"}
        self.bus = Bus(
            self._context,
            name="n",
            **where,
            curve_secret_key=Secret(),
            run="r",
            boot="b",
            journal=journal,
            **{"seq": 0} | options,
        )
        if is_open:
            self.bus.open()
        stack.callback(self.bus.close)

    def socket(self, *topics):
        """A socket that subscribes."""
        socket = self._stack.enter_context(self._context.socket(zmq.SUB))
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self.bus.publish_endpoint)
        for topic in topics:
            socket.subscribe(topic)
        return socket

    def listener(self, *topics):
        """A socket on which these topics are live."""
        socket = self.socket(*topics)
        assert self.heard(socket) == []
        return socket

    def heard(self, socket):
        """All that has come to `socket` when its subscriptions are live, as (topic, seq)."""
        return self.hear([socket])[socket]

    def hear(self, sockets, meanwhile=bool):
        """The same of several sockets. `meanwhile` is called before the first turns of the bus.

        There are few of these, so that what is published then fits the queue of a socket that nobody reads.
        """
        tokens = {socket: f"n.sync.{next(self._tokens)}".encode() for socket in sockets}
        heard = {socket: [] for socket in sockets}
        for socket, token in tokens.items():
            socket.subscribe(token)
        deadline = time.monotonic() + scaled(30)
        turns = iter(range(TURNS))
        while tokens:
            assert time.monotonic() < deadline
            if next(turns, None) is not None:
                meanwhile()
            self.bus.subscriptions.poll(1)
            self.bus.answer_subscriptions()
            for socket, token in list(tokens.items()):
                while socket in tokens and socket.poll(0):
                    topic, body = socket.recv_multipart()
                    if topic == token:
                        del tokens[socket]
                    else:
                        heard[socket].append((topic.decode(), json.loads(body)["seq"]))
        return heard


@pytest.fixture
def radio(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Radio(stack, tmp_path)


@pytest.fixture
def closed(tmp_path):
    """A radio whose bus has just been bound."""
    with contextlib.ExitStack() as stack:
        yield Radio(stack, tmp_path, is_open=False)


def next_of(socket):
    assert socket.poll(scaled(30) * 1000)
    topic, body = socket.recv_multipart()
    message = json.loads(body)
    return topic, message["seq"], message["prev"]


def test_levels_begin_when_somebody_wants_them_and_no_number_is_lost_by_those_before(radio):
    finals = radio.listener(b"n.transcript.final")
    assert not radio.bus.is_heard(messages.Level)
    for message in (LEVEL, WORDS, LEVEL, WORDS):
        radio.bus.publish(message)
    assert [next_of(finals)[1:] for _ in range(2)] == [(1, 0), (2, 1)]
    levels = radio.listener(b"n.level")
    assert radio.bus.is_heard(messages.Level)
    assert not radio.bus.is_heard(messages.Metrics)
    for message in (LEVEL, WORDS, LEVEL):
        radio.bus.publish(message)
    assert [next_of(levels)[1:] for _ in range(2)] == [(3, 0), (5, 3)]
    assert next_of(finals)[1:] == (4, 2)


@pytest.mark.parametrize("topic", [b"", b"n", b"n.", b"n.le", b"n.level"])
def test_who_subscribes_to_a_part_of_a_topic_wants_it(radio, topic):
    levels = radio.listener(topic)
    radio.bus.publish(LEVEL)
    assert next_of(levels)[0] == b"n.level"


@pytest.mark.parametrize("topic", [b"n.levels", b"n.transcript", b"other.", b"N.level"])
def test_who_subscribes_to_others_does_not(radio, topic):
    radio.listener(topic)
    assert not radio.bus.is_heard(messages.Level)


def test_what_the_history_keeps_is_there_for_whoever_comes_later(radio):
    assert all(radio.bus.is_heard(kind) for kind in (messages.Transcript, messages.Gap, messages.Error))
    radio.bus.publish(WORDS)
    assert json.loads(radio.bus.snapshot(0))["messages"][0]["text"] == "words"


def test_a_full_disk_below_the_journal_is_an_error_once_until_there_is_room_again(small_disk, tmp_path):
    final = messages.Transcript(text="words " * 1000, is_final=True)
    with contextlib.ExitStack() as stack:
        radio = Radio(stack, tmp_path, small_disk)

        def codes():
            radio.bus.publish(final)
            return [error.code for error in radio.bus.notices()]

        assert codes() == []
        for _ in range(2):
            filler = fill(small_disk)
            assert [codes() for _ in range(3)] == [["journal_full"], [], []]
            filler.unlink()
            assert codes() == []
        finals = radio.listener(b"n.transcript.final")
        radio.bus.publish(final)
        assert next_of(finals) == (b"n.transcript.final", 10, 9)


# The first half second


def test_a_closed_bus_gives_answers_and_the_status_and_holds_back_the_rest_in_order(closed):
    socket = closed.listener(b"n.")
    for message in (WORDS, RUNNING, LEVEL, INTERIM, STOPPED):
        closed.bus.publish(message)
    assert closed.heard(socket) == [("n.status", 2)]
    assert json.loads(closed.bus.snapshot(0))["messages"][0]["seq"] == 1
    late = closed.socket(b"n.")
    assert closed.heard(late) == [("n.status", 2)]  # not the last word: it comes last
    closed.bus.open()
    closed.bus.publish(WORDS)
    for each in (socket, late):
        heard = [("n.transcript.final", 1), ("n.level", 3), ("n.transcript.interim", 4), ("n.status", 5)]
        assert closed.heard(each) == [*heard, ("n.transcript.final", 6)]


def test_what_the_supervisor_before_left_comes_before_what_is_new(tmp_path):
    left = [messages.Transcript(text="old", is_final=True, run="r", boot="a", seq=seq) for seq in (7, 9)]
    again = [Final(each.seq, messages.encode(each), 0) for each in left]
    again.insert(1, Final(8, b"of another version", 0))
    with contextlib.ExitStack() as stack:
        radio = Radio(stack, tmp_path, is_open=False, seq=1000, again=again)
        socket = radio.listener(b"n.transcript")
        radio.bus.publish(WORDS)
        radio.bus.open()
        found = [json.loads(socket.recv_multipart()[1]) for _ in range(3)]
        assert [(each["seq"], each["boot"], each["text"]) for each in found] == [
            (7, "b", "old"),
            (9, "b", "old"),
            (1001, "b", "words"),
        ]


def test_more_than_may_be_held_back_is_published_early(closed):
    socket = closed.listener(b"n.transcript.final")
    long = messages.Transcript(text="words " * 20_000, is_final=True)
    for _ in range(8):
        closed.bus.publish(long)
    assert closed.heard(socket) == []
    for _ in range(2):
        closed.bus.publish(long)
    assert closed.heard(socket) == [("n.transcript.final", seq) for seq in range(1, 11)]


# Those who join


JOINING = [b"", b"n.", b"n.status", b"n.sta", b"n.transcript", b"n.transcript.final", b"n.gap", b"other."]


def takes(topics, topic):
    """Whether one of the subscriptions takes in `topic`."""
    return any(topic.encode().startswith(each) for each in topics)


def test_of_200_that_join_at_once_each_is_told_the_status_once_and_nobody_else_hears_of_it(radio):
    witness = radio.listener(b"")
    radio.bus.publish(RUNNING)
    topics = {radio.socket(topic): topic for _ in range(25) for topic in JOINING}
    turns = itertools.count(2)

    def say():
        radio.bus.publish(WORDS)
        next(turns)

    heard = radio.hear(topics, say)
    last = next(turns) - 1
    for socket, topic in topics.items():
        statuses = [each for each in heard[socket] if each[0] == "n.status"]
        assert statuses == [("n.status", 1)] * takes([topic], "n.status")
        rest = [each for each in heard[socket] if each[0] != "n.status"]
        end = rest[-1][1] if rest else 0
        assert rest == [("n.transcript.final", seq) for seq in range(end - len(rest) + 1, end + 1)]
        assert not rest or takes([topic], "n.transcript.final")
    finals = [("n.transcript.final", seq) for seq in range(2, last + 1)]
    assert radio.heard(witness) == [("n.status", 1), *finals]


@pytest.mark.parametrize("seed", range(3))
def test_whoever_comes_and_goes_each_hears_what_is_his(radio, seed):
    """Compared with a model: what each has subscribed to, and what was published meanwhile."""
    chance, seqs = random.Random(seed), itertools.count(1)
    topics, due = {}, {}  # of each socket that stays
    status = 0

    def publish(message):
        topic, seq = messages.topic_of("n", message), next(seqs)
        radio.bus.publish(message)
        for socket in due:
            due[socket] += [(topic, seq)] * takes(topics[socket], topic)
        return seq

    for _ in range(25):
        for message in chance.choices([WORDS, GAP], k=3):
            publish(message)
        status = publish(RUNNING)
        changing = chance.sample(list(topics), k=min(len(topics), 3))
        heard = radio.hear(changing)
        for socket in changing:
            assert heard[socket] == due.pop(socket)
        for socket in changing[:1]:
            del topics[socket]
            socket.close()
            assert radio.bus.subscriptions.poll(scaled(30) * 1000)  # its subscriptions end
            radio.bus.answer_subscriptions()
        changing = changing[1:] + [radio.socket() for _ in range(3)]
        answers = dict.fromkeys(changing, 0)
        for socket in changing:
            mine = topics.setdefault(socket, set())
            for gone in chance.sample(sorted(mine), k=len(mine) // 2):
                socket.unsubscribe(gone)
                mine.remove(gone)
            for topic in set(chance.sample(JOINING, k=2)) - mine:
                socket.subscribe(topic)
                mine.add(topic)
                answers[socket] += takes([topic], "n.status")
        heard = radio.hear(changing, lambda: publish(GAP))
        rest = radio.hear(changing)  # what was published while some of them were not live yet
        for socket in changing:
            statuses = [each for each in heard[socket] + rest[socket] if each[0] == "n.status"]
            assert statuses == [("n.status", status)] * answers[socket]
            due[socket] = []
    assert radio.hear(due) == due


def test_many_subscriptions_take_many_turns(radio):
    sockets = [radio.socket(*(f"n.{number}".encode() for number in range(60))) for _ in range(10)]
    turns = itertools.count(1)
    radio.hear(sockets, lambda: next(turns))
    assert next(turns) > 10


def test_who_subscribes_too_much_is_disconnected_and_too_long_ones_are_not_taken(radio, caplog):
    witness = radio.listener(b"n.gap")
    greedy = radio.socket(*(f"n.{number}".encode() for number in range(65)))
    events = greedy.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    deadline = time.monotonic() + scaled(30)
    while not events.poll(1):
        radio.bus.answer_subscriptions()
        assert time.monotonic() < deadline
    greedy.disable_monitor()
    greedy.close()
    events.close()
    long = radio.listener(
        b"n.gap", b"n.gap" + b"x" * 252, b"n." + b"y" * 300, *(b"n.%d" % number for number in range(60))
    )
    radio.bus.publish(GAP)
    assert [radio.heard(each)[:1] for each in (witness, long)] == [[("n.gap", 1)]] * 2
    reasons = [record.msg.fields["reason"] for record in caplog.records]
    assert sorted(set(reasons)) == ["longer than 256 bytes", "more than 64 subscriptions"]


def test_a_question_of_too_many_parts_or_too_long_is_not_answered_and_the_next_one_is(radio):
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
        asking.setsockopt(zmq.LINGER, 0)
        asking.connect(radio.bus.query_endpoint)
        asking.send_multipart([b""] + [b"x"] * 1000)
        asking.send_multipart([b"", b"y" * 5000])
        found = []
        deadline = time.monotonic() + scaled(30)
        while not found:
            asking.send_multipart([b"", b"question"])
            radio.bus.queries.poll(100)
            found = radio.bus.questions()
            assert time.monotonic() < deadline
        assert {question.body for question in found} == {b"question"}


def test_who_sends_anything_but_subscriptions_makes_nobody_deaf(radio):
    witness = radio.listener(b"n.")
    published = [WORDS, INTERIM, GAP, RUNNING]
    topics = [messages.topic_of("n", message) for message in published]
    with zmq.Context() as context, context.socket(zmq.XSUB) as odd:
        odd.setsockopt(zmq.LINGER, 0)
        odd.connect(radio.bus.publish_endpoint)
        joining = {}
        for _ in range(5):  # where theirs wait together with the odd ones is a matter of luck
            for parts in ([b""], [b"\x02n."], [b"what?"] * 3):
                odd.send_multipart(parts)
            radio.bus.subscriptions.poll(50)  # in vain where they were lost with the connection
            new = {radio.socket(topic.encode()): [(topic, seq)] for seq, topic in enumerate(topics, start=1)}
            radio.hear(new)
            joining |= new
    for message in published:
        radio.bus.publish(message)
    assert radio.hear(joining) == joining
    assert radio.heard(witness) == [(topic, seq) for seq, topic in enumerate(topics, start=1)]


@pytest.fixture
def clock(monkeypatch):
    """The time of the bus: it stands still until `now` is set, in seconds."""
    clock = SimpleNamespace(now=100.0)
    times = {"monotonic": lambda: clock.now, "time_ns": lambda: round(clock.now * 1e9)}
    monkeypatch.setattr("mpengine.supervisor.bus.bus.time", SimpleNamespace(**times))
    return clock


def test_an_open_interim_is_repeated_to_all_when_somebody_has_joined_and_it_stays(clock, radio):
    def repeat(now):
        clock.now = now
        radio.bus.repeat_interims(now)
        return radio.bus.deadline

    witness = radio.listener(b"n.transcript")
    radio.bus.publish(INTERIM)
    assert repeat(100.0) == NEVER
    joined = radio.listener(b"n.")
    assert radio.bus.deadline < 100.0
    assert repeat(100.01) == pytest.approx(100.3)  # it is young
    assert repeat(100.29) == radio.bus.deadline
    assert radio.heard(joined) == []
    assert repeat(100.31) == NEVER
    interim = ("n.transcript.interim", 1)
    assert radio.heard(joined) == [interim]
    radio.listener(b"")
    assert radio.bus.deadline == pytest.approx(100.56)  # at most four times a second
    assert repeat(100.5) == pytest.approx(100.56)
    assert repeat(100.6) == NEVER
    assert radio.heard(joined) == [interim]
    radio.listener(b"n.transcript.interim")
    for message in (INTERIM, WORDS):
        radio.bus.publish(message)
    assert repeat(101.0) == NEVER
    rest = [("n.transcript.interim", 2), ("n.transcript.final", 3)]
    assert radio.heard(joined) == rest
    assert radio.heard(witness) == [interim, interim, interim, *rest]


def test_of_each_channel_the_open_interim_is_repeated_and_none_that_all_have_heard(clock, radio):
    other = msgspec.structs.replace(INTERIM, channel=1)
    for message in (INTERIM, other, WORDS):  # the final ends that of channel 0
        radio.bus.publish(message)
    joined = radio.listener(b"n.transcript.interim")
    radio.bus.publish(INTERIM)
    clock.now += 1
    radio.bus.repeat_interims(clock.now)
    assert radio.heard(joined) == [("n.transcript.interim", 4), ("n.transcript.interim", 2)]


def test_a_clock_that_is_set_back_delays_a_repetition_and_does_no_more(clock, radio):
    radio.bus.publish(INTERIM)
    joined = radio.listener(b"n.transcript.interim")
    clock.now -= 3600
    radio.bus.repeat_interims(100.0)
    assert radio.bus.deadline == pytest.approx(100.3)
    assert radio.heard(joined) == []
