"""A Subscriber against the supervisor's own bus: late, in asyncio, of several engines at once."""

import asyncio
import contextlib
import json
import os
import time
from types import SimpleNamespace

import msgspec
import pytest
import zmq

from mpengine import Hole, Subscriber
from mpengine.shared import messages
from mpengine.shared.messages import FINALS
from tests.rig.live_bus import ThreadedBus
from tests.rig.processes import rss_mb
from tests.rig.waiting import scaled


class Engine(ThreadedBus):
    """The bus in a directory of the test's, with nothing else behind it."""

    def __init__(self, base, name="n", **options):
        where = {"publish": f"ipc://{base}/{name}.results", "query": f"ipc://{base}/{name}.query"}
        super().__init__(where, f"{base}/{name}.journal", name=name, **options)


@pytest.fixture
def started(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(*args, **options):
            engine = Engine(tmp_path, *args, **options)
            stack.callback(engine.close)
            return engine

        yield start


def texts(subscriber, count):
    return [subscriber.receive(scaled(30)).text for _ in range(count)]


def test_who_waited_until_it_is_live_misses_nothing(started):
    engine = started()
    with Subscriber("n", **engine.where, topics="status", since=None) as subscriber:
        assert subscriber.wait_live(scaled(30))
        engine.publish(messages.Status(state="stopped"))
        assert subscriber.receive(scaled(30)).state == "stopped"


def test_the_history_is_asked_only_for_what_is_wanted(started):
    engine = started()
    engine.say("not wanted")
    engine.publish(messages.Gap(start_s=0.0, end_s=1.0, samples=16000, reason="overflow"))
    for topics, expected in ((("gap", "level"), ("gap",)), (("transcript",), (FINALS,)), ((), msgspec.UNSET)):
        with Subscriber("n", **engine.where, topics=topics or "") as subscriber:
            assert isinstance(subscriber.receive(scaled(30)), messages.Gap if "gap" in topics else messages.Transcript)
        assert engine.asked.pop().topics == expected


def test_without_an_engine_nobody_becomes_live(tmp_path):
    where = {key: f"ipc://{tmp_path}/{key}" for key in ("publish", "query")}
    with Subscriber("n", **where) as subscriber:
        assert not subscriber.wait_live(0.05)


def test_who_comes_late_iterates_over_all_there_was_and_all_there_is(started):
    engine = started()
    engine.say(*range(500))  # several pages
    with Subscriber("n", **engine.where) as subscriber:
        assert texts(subscriber, 500) == [str(number) for number in range(500)]
        engine.say("now")
        assert next(iter(subscriber)).text == "now"
        assert not subscriber.poll(0.01)
        engine.say("there")
        assert subscriber.poll(scaled(30))
        assert json.loads(subscriber.receive_raw(0)[1])["text"] == "there"


def test_started_before_the_engine(started, tmp_path):
    where = {"publish": f"ipc://{tmp_path}/n.results", "query": f"ipc://{tmp_path}/n.query"}
    with Subscriber("n", **where) as subscriber:
        assert subscriber.receive(0.05) is None
        started().say(1)
        assert texts(subscriber, 1) == ["1"]


def test_from_now_on_is_from_now_on(started):
    engine = started()
    engine.say(1)
    with Subscriber("n", **engine.where, since=None) as subscriber:
        assert subscriber.receive(0.2) is None
        engine.say(2)
        assert texts(subscriber, 1) == ["2"]


def test_a_reader_that_reads_nothing_for_long_finds_what_was_dropped_for_it(started):
    engine = started()
    with Subscriber("n", **engine.where, queued_messages=5, topics=("transcript.final",)) as subscriber:
        engine.say("first")
        assert texts(subscriber, 1) == ["first"]
        for _ in range(20):
            engine.publish(*[messages.Level(rms_dbfs=-1.0, peak_dbfs=0.0, digital_silence=False)] * 100)
            engine.say(*["x" * 1000] * 45)
        engine.say("last")
        assert texts(subscriber, 901)[-1] == "last"


def test_what_the_history_has_not_any_more_is_told(started):
    engine = started(finals=100)
    engine.say(*range(150))
    with Subscriber("n", **engine.where) as subscriber:
        hole = subscriber.receive(scaled(30))
        assert hole == Hole(topic="transcript.final", run="r", first_seq=1, last_seq=50)
        assert texts(subscriber, 1) == ["50"]


def test_an_engine_that_does_not_answer_holds_nothing_back_for_ever(started, monkeypatch):
    monkeypatch.setattr("mpengine.client.follow._HOLD_LIMIT_S", 0.3)
    engine = started(answers=False)
    engine.say("lost")
    with Subscriber("n", **engine.where, topics=("transcript.final",)) as subscriber:
        subscriber.poll(0.2)
        engine.say(1)
        assert subscriber.receive(scaled(30)) == Hole(topic="transcript.final", run="r", first_seq=1, last_seq=1)
        engine.say(2)
        assert texts(subscriber, 2) == ["1", "2"]


def test_the_status_comes_to_who_takes_nothing_else(started):
    engine = started()
    engine.publish(messages.Status(state="running"))
    with Subscriber("n", **engine.where, topics="status", since=None) as subscriber:
        assert subscriber.receive(scaled(30)).state == "running"


def test_the_status_comes_once_though_it_is_told_twice(started):
    """As the answer to the subscription, and in the snapshot."""
    engine = started()
    engine.publish(messages.Status(state="running"))
    engine.say(1)
    with Subscriber("n", **engine.where) as subscriber:
        assert [type(subscriber.receive(scaled(30))) for _ in range(2)] == [messages.Status, messages.Transcript]
        engine.say(2)
        assert texts(subscriber, 1) == ["2"]


def test_who_looks_every_few_seconds_is_given_the_looks_that_it_takes(started, monkeypatch):
    """Each page of the history takes one, and in all they take longer than an engine is waited for."""
    now = 0.0
    monkeypatch.setattr("mpengine.client.subscriber.time", SimpleNamespace(monotonic=lambda: now))
    engine = started()
    engine.say(*["x" * 4000] * 300)
    found, looks = [], 0
    with Subscriber("n", **engine.where, topics=("transcript.final", "level")) as subscriber:
        while len(found) < 301:
            assert subscriber._poller.poll(scaled(30) * 1000)
            while (message := subscriber.receive(0)) is not None:
                found.append(message)
            looks, now = looks + 1, now + 3.0
            if looks == 1:  # it is subscribed, and this waits for what was before
                engine.publish(messages.Level(rms_dbfs=-1.0, peak_dbfs=0.0, digital_silence=False))
    assert [type(message) for message in found] == [messages.Transcript] * 300 + [messages.Level]
    assert looks > 5


def test_who_asks_without_end_and_never_reads_costs_the_engine_no_memory(started):
    engine = started()
    engine.say(*["x" * 4000] * 300)
    with zmq.Context() as context, context.socket(zmq.DEALER) as mad:
        mad.setsockopt(zmq.LINGER, 0)
        mad.setsockopt(zmq.RCVHWM, 1)
        mad.connect(engine.where["query"])
        before_mb = rss_mb(os.getpid())
        for _ in range(900):  # 110 MB of answers
            mad.send(b'{"type":"snapshot","since":0}')
        with Subscriber("n", **engine.where) as subscriber:
            assert len(texts(subscriber, 300)) == 300
            engine.say("still there")
            assert texts(subscriber, 1) == ["still there"]
        assert rss_mb(os.getpid()) - before_mb < 40


def test_of_several_engines_each_message_has_its_name(started, monkeypatch, tmp_path):
    monkeypatch.setattr("mpengine.shared.runtime.runtime_path", str(tmp_path / "{}").format)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        engine = started(name)
        engine.say(f"of {name}")
        for kind in ("results", "query"):
            (tmp_path / name / kind).symlink_to(tmp_path / f"{name}.{kind}")
    with Subscriber(["a", "b", "a"], topics=("transcript",)) as subscriber:
        received = [subscriber.receive_named(scaled(30)) for _ in range(2)]
        assert subscriber.receive(0.2) is None  # each once, though one is named twice
    assert {(name, message.text) for name, message in received} == {("a", "of a"), ("b", "of b")}


# In asyncio


def test_async_iteration_gives_what_was_and_what_comes_while_other_tasks_run(started):
    engine = started()
    engine.say(*range(200))

    async def follow():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        other = asyncio.create_task(tick())
        found = []
        with Subscriber("n", **engine.where) as subscriber:
            async for message in subscriber:
                found.append(message.text)
                if len(found) == 200:
                    asyncio.get_running_loop().call_later(0.05, engine.say, "later")
                if message.text == "later":
                    break
        other.cancel()
        return found, ticks

    found, ticks = asyncio.run(asyncio.wait_for(follow(), scaled(30)))
    assert found == [*(str(number) for number in range(200)), "later"]
    assert ticks > 5


def test_no_wake_up_is_missed_however_messages_come(started):
    """The descriptor of a socket announces each thing once: a message at any moment must be seen."""
    engine = started()

    async def follow():
        with Subscriber("n", **engine.where, topics=("transcript.final",)) as subscriber:
            for number in range(300):
                saying = asyncio.to_thread(engine.say, number)
                received, _ = await asyncio.gather(subscriber.receive_async(), saying)
                assert received.text == str(number)

    asyncio.run(asyncio.wait_for(follow(), scaled(30)))


def test_a_wait_that_is_cancelled_loses_nothing(started):
    engine = started()

    async def follow():
        with Subscriber("n", **engine.where, topics=("transcript.final",)) as subscriber:
            for number in range(20):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.002):
                        await subscriber.receive_async()
                engine.say(number)
                async with asyncio.timeout(scaled(30)):
                    assert (await subscriber.receive_async()).text == str(number)

    asyncio.run(follow())


def test_in_asyncio_too_nothing_is_held_back_for_ever(started, monkeypatch):
    monkeypatch.setattr("mpengine.client.follow._HOLD_LIMIT_S", 0.2)
    engine = started(answers=False)
    engine.say("lost")

    async def follow():
        with Subscriber("n", **engine.where, topics=("transcript.final",)) as subscriber:
            asyncio.get_running_loop().call_later(0.1, engine.say, "at last")
            async with asyncio.timeout(scaled(30)):
                return [await subscriber.receive_async(), await subscriber.receive_async()]

    hole, final = asyncio.run(follow())
    assert (type(hole), final.text) == (Hole, "at last")


def test_waiting_costs_no_time(started):
    engine = started()
    engine.say(1)
    with Subscriber("n", **engine.where) as subscriber:
        texts(subscriber, 1)
        before = time.process_time()
        assert subscriber.receive(0.3) is None
        assert time.process_time() - before < 0.2  # the bus in this process takes some
