"""From a recogniser's finals to published ones, on random streams: placing and results together, beside short models.

MPENGINE_EXAMPLES is the number of examples of each test, 100 by default.
"""

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpengine.shared.frames import Frame
from mpengine.streaming.actions import Tell
from mpengine.streaming.placing import Placing
from mpengine.supervisor.decide.actions import Publish
from mpengine.supervisor.decide.results import Results
from tests.pure.support import RUN, hypothesis, word

S = 100  # samples a second: what counts are the words
EXAMPLES = int(os.environ.get("MPENGINE_EXAMPLES", "100"))


class Engine:
    """Placing and results, joined as the processes join them. `said`: the published finals."""

    def __init__(self):
        self.results = Results(sample_rate=S, user_name="")
        self.placing = Placing(sample_rate=S, sample_bytes=2, hold_s=3.0, sent_before=0)
        self.connection, self.now, self.said = 0, 100.0, []
        self.connect()

    def connect(self):
        """A connection begins; its audio begins at the granted sample."""
        self.connection += 1
        self.placing.connected(self.connection)
        self.begin = self.end = self.results.ledger.granted()

    def send(self, seconds):
        frame = Frame(RUN, self.connection, self.end, bytes(2 * round(seconds * S)))
        self.end += len(frame.pcm) // 2
        self.now += seconds
        assert self.placing.sending(frame, self.now)

    def hear(self, said):
        for action in self.placing.said(said, self.now):
            assert isinstance(action, Tell)
            done = self.results.result(action.message)
            self.said += [each.message for each in done if isinstance(each, Publish)]
            assert self.results.ledger.acknowledged <= max(self.begin, self.end)


TIMES = st.one_of(st.none(), st.integers(-3, 30), st.floats(-1e3, 1e3), st.just(0.0))
TEXTS = st.sampled_from(["yes", "no", "the cat", "the cat sat", "", " "])


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(TEXTS, TIMES, TIMES, st.integers(0, 2), st.booleans()), max_size=40))
def test_on_one_connection_every_final_with_text_is_published_but_an_exact_repetition(finals):
    engine, model, before = Engine(), [], {}
    for text, start_s, duration_s, channel, sends in finals:
        if sends:
            engine.send(2.0)
        engine.hear(hypothesis(text, True, start_s, duration_s, channel=channel))
        times = (text, start_s or 0.0, (start_s or 0.0) + (duration_s or 0.0))
        has_times = start_s is not None and duration_s is not None
        if text.strip() and not (has_times and before.get(channel) == times and times[2] > times[1]):
            model.append((channel, text))
        before[channel] = times if has_times else None
    assert [(each.channel, each.text) for each in engine.said] == model
    assert all(0 <= each.start_s <= each.end_s for each in engine.said)


CLOCKS = {
    "true": lambda start_s, end_s: (start_s, end_s - start_s),
    "windows": lambda start_s, end_s: (max(0.0, start_s - 0.1), end_s - start_s),
    "none": lambda *_: (None, None),
    "still": lambda *_: (0.0, 0.0),
    "each utterance": lambda start_s, end_s: (0.0, end_s - start_s),
    "ahead": lambda start_s, end_s: (start_s + 1000.0, end_s - start_s),
}


def play(seed, clock, *, with_words=False, is_prompt=False):
    """A second of audio has one word. After a drop the recogniser hears again from the granted sample on.

    `is_prompt`: each word is in a final within `hold_s` after it was sent.
    """
    chance, engine, spoken = Random(seed), Engine(), 60
    next_word = 0
    while next_word < spoken:
        engine.send(chance.uniform(0.5, 1.0 if is_prompt else 4.0))
        count = int(engine.end / S) - next_word
        if count > 0 and (is_prompt or chance.random() < 0.8):
            size = count if is_prompt else chance.randrange(1, count + 1)
            numbers = range(next_word, next_word + size)
            begin_s = engine.begin / S
            start_s, end_s = max(0.0, numbers[0] - begin_s), numbers[-1] + 1 - begin_s
            words = tuple(word(f"w{n}", max(0.0, n + 0.2 - begin_s), n + 0.8 - begin_s) for n in numbers)
            text = " ".join(f"w{n}" for n in numbers)
            fields = {"words": words} if with_words else {}
            engine.hear(hypothesis(text, True, *CLOCKS[clock](start_s, end_s), **fields))
            next_word += size
        if chance.random() < 0.2:
            engine.connect()
            next_word = round(engine.begin / S + 0.3)  # of a word that began before, it hears nothing
    return engine, [f"w{n}" for n in range(next_word)]


@pytest.mark.parametrize("with_words", [True, False])
@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32))
def test_over_any_drops_every_word_is_published_once(with_words, seed):
    engine, spoken = play(seed, "true", with_words=with_words)
    assert " ".join(final.text for final in engine.said).split() == spoken
    for final in engine.said:
        assert not final.estimated
        first, *_, last = [int(each[1:]) for each in final.text.split()] * 2
        assert (round(final.start_s), round(final.end_s)) == (first, last + 1)


@pytest.mark.slow
@pytest.mark.parametrize("clock", CLOCKS)
@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32))
def test_whatever_the_clock_no_word_is_lost(clock, seed):
    engine, spoken = play(seed, clock, is_prompt=True)
    said = " ".join(final.text for final in engine.said).split()
    assert set(spoken) <= set(said)


@pytest.mark.slow
@pytest.mark.parametrize("clock", sorted(CLOCKS.keys() - {"each utterance"}))  # whose first times are believed
@pytest.mark.parametrize("at_once", [True, False])
@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32))
def test_whatever_the_clock_no_word_that_comes_late_is_published_twice(at_once, clock, seed):
    """Each final is one word, and comes up to 2.5 s after its audio was sent. A backlog is sent at once, or paced."""
    chance, engine, live_s, lag_s = Random(seed), Engine(), 0.0, 1.0
    number, due = 0, []  # the next word, and when each final comes
    while live_s < 40.0:
        live_s += 0.5
        begin_s, behind_s = engine.begin / S, live_s - engine.end / S
        until = engine.now + 0.5
        engine.send(behind_s if at_once else min(behind_s, 0.62))
        engine.now = until
        while number + 1 <= engine.end / S:
            due.append((until + lag_s, number))
            number += 1
        while due and due[0][0] <= until:
            heard = due.pop(0)[1]
            engine.hear(hypothesis(f"w{heard}", True, *CLOCKS[clock](max(0.0, heard - begin_s), heard + 1 - begin_s)))
        if chance.random() < 0.1:
            engine.connect()
            engine.now += chance.uniform(0.1, 5.0)
            number, due, lag_s = round(engine.begin / S + 0.3), [], chance.uniform(0.2, 2.5)
    said = [final.text for final in engine.said]
    assert said == [f"w{each}" for each in range(len(said))]
