"""What is handed over to a command, and what is in doubt when it ends."""

import json
import random

import pytest

from mpengine.cli.handing.conversation import Backoff, Conversation, Item, brief, line_of, variables_of
from mpengine.cli.notices import Notices
from mpengine.cli.topic_choice import EVERY, OTHERS, WORDS, read_only
from mpengine.shared import messages
from mpengine.shared.messages import FINALS, INTERIMS, TOPICS


def item(number, text="word", **fields):
    said = messages.Transcript(text=text, is_final=True, run="r", seq=number, start_s=1.0, end_s=2.5, **fields)
    return Item("desk", "r", number, messages.encode(said), said)


# One line after the other


def test_what_was_read_is_handed_over_and_a_good_end_leaves_nothing():
    talk = Conversation()
    talk.give(item(1))
    assert talk.read() == item(1)
    assert talk.read() is None
    assert talk.ended(0, unread=False, untouched=False) == ()
    assert talk.is_idle


def test_what_a_killed_command_read_last_is_handed_over_once_more_and_then_given_up():
    talk = Conversation()
    talk.give(item(1))
    talk.read()
    assert talk.ended(-9, unread=False, untouched=False) == ()
    again = talk.next_again()
    assert again == item(1)._replace(is_again=True)
    talk.give(again)
    assert talk.ended(1, unread=False, untouched=False) == (again,)
    assert talk.is_idle


@pytest.mark.parametrize("status", [0, 1, -9])
def test_a_line_that_was_not_read_to_its_end_is_given_as_a_whole(status):
    talk = Conversation()
    talk.give(item(1))
    talk.read()
    talk.give(item(2))
    assert talk.ended(status, unread=True, untouched=False) == ()
    assert talk.rest() == [item(2)]  # who reads the second is done with the first


def test_who_has_not_begun_to_read_the_next_may_not_be_done_with_the_one_before():
    talk = Conversation()
    talk.give(item(1))
    talk.read()
    talk.give(item(2))
    talk.ended(-9, unread=True, untouched=True)
    assert talk.rest() == [item(1)._replace(is_again=True), item(2)]


@pytest.mark.parametrize("seed", range(20))
def test_whenever_commands_end_each_message_is_done_or_marked_or_given_up(seed):
    """A model: commands that read lines, do them, and are killed at any moment."""
    chance, talk = random.Random(seed), Conversation()
    waiting = [item(number) for number in range(1, 30)]
    done, given_up = [], set()
    reading: Item | None = None  # read, and not done yet
    while waiting or not talk.is_idle or reading:
        step = chance.random()
        if talk.given is None and (waiting or not talk.is_idle):
            talk.give(talk.next_again() or waiting.pop(0))
        elif step < 0.2:
            unread = talk.given is not None and step < 0.1
            if talk.given is not None and not unread:  # it reads the line, and dies on it
                done += [reading] if reading else []
                reading = talk.given
            if reading and chance.random() < 0.5:
                done.append(reading)  # though nobody knows
            given_up |= {each.seq for each in talk.ended(-9, unread=unread, untouched=unread)}
            reading = None
        elif talk.given is not None:
            done += [reading] if reading else []  # who reads on is done with the one before
            reading = talk.read()
        else:
            done, reading = [*done, reading], None
            talk.ended(0, unread=False, untouched=False)
    marked = {each.seq for each in done if each.is_again}
    assert {each.seq for each in done} | given_up == set(range(1, 30))
    for number in range(1, 30):
        times = [each for each in done if each.seq == number]
        assert len(times) <= 1 or (len(times) == 2 and number in marked)


# What a command gets


def test_a_line_is_the_message_as_it_came_with_what_has_to_be_added():
    assert line_of(item(1), with_engine=False) == item(1).body + b"\n"
    added = json.loads(line_of(item(1)._replace(is_again=True), with_engine=True))
    assert added == {"engine": "desk", **json.loads(item(1).body), "again": True}


def test_variables_tell_what_was_said():
    variables = variables_of(item(7, "größer", user_name="Ann", language="de"))
    assert variables == {
        "MPENGINE_NAME": "desk",
        "MPENGINE_TYPE": "transcript",
        "MPENGINE_RUN": "r",
        "MPENGINE_SEQ": "7",
        "MPENGINE_TEXT": "größer",
        "MPENGINE_START_S": "1.000",
        "MPENGINE_END_S": "2.500",
        "MPENGINE_USER": "Ann",
        "MPENGINE_LANGUAGE": "de",
        "MPENGINE_AGAIN": "",
    }


@pytest.mark.parametrize(("text", "value"), [("a\0b", "a\ufffdb"), ("ä" * 100_000, "ä" * 50_000), ("\ud800", "?")])
def test_no_text_is_too_much_for_the_system(text, value):
    said = messages.Transcript(text=text, is_final=True)
    assert variables_of(Item("desk", "r", 1, b"{}", said))["MPENGINE_TEXT"] == value


def test_a_gap_has_its_reason_as_its_text():
    gap = messages.Gap(start_s=1.0, end_s=2.0, samples=16000, reason="device")
    variables = variables_of(Item("desk", "r", 1, messages.encode(gap), gap))
    assert (variables["MPENGINE_TYPE"], variables["MPENGINE_TEXT"]) == ("gap", "device")


def test_a_command_is_named_in_a_line():
    assert brief(["curl", "-d", "@-", "x" * 100]) == "curl -d @- " + "x" * 49 + "…"


def test_waits_grow_while_a_command_ends_soon_and_begin_anew_after_a_long_life():
    backoff = Backoff()
    waits = []
    for _ in range(9):
        backoff.started(100.0)
        waits.append(backoff.ended(101.0))
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    backoff.started(200.0)
    assert backoff.ended(210.0) == 0


# Topics


def test_every_topic_has_a_word():
    assert frozenset().union(*(topics for word, topics in WORDS.items() if word != "all")) == EVERY == set(TOPICS)


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("finals", {FINALS}),
        ("final, Gap", {FINALS, "gap"}),
        ("interims,transcript.final", {INTERIMS, FINALS}),
        ("all", {*TOPICS, OTHERS}),
    ],
)
def test_topics_are_chosen_by_words(text, topics):
    assert read_only(text) == topics


@pytest.mark.parametrize("text", ["", ",", "finals,nonsense", "transcript"])
def test_words_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="finals, interims, gaps"):
        read_only(text)


# Notices


def noticed(*several, names=("desk",)):
    notices = Notices(names)
    return [notices.about("desk", each) for each in several]


def status(state, reason="", device="USB"):
    return messages.Status(state=state, reason=reason, device=device)


def test_states_are_told_when_they_change_and_running_only_after_another():
    assert noticed(
        status("running"),
        status("degraded", "streaming: reset"),
        status("degraded", "streaming: reset"),
        status("running"),
        status("running", "paused"),
        status("degraded", "unplugged", device=None),
        status("stopping"),
        status("stopped"),
    ) == [
        "",
        "[reconnecting: streaming: reset]",
        "",
        "[running]",
        "[paused]",
        "[no microphone: unplugged]",
        "",
        "[engine stopped]",
    ]
    assert noticed(status("connecting"), status("failed", "no key")) == ["[connecting]", "[engine failed: no key]"]


def test_an_error_is_told_unless_the_state_has_told_it():
    error = messages.Error(source="streaming", code="x", message="re\x1bset")
    assert noticed(error) == ["[re\ufffdset]"]
    reset = messages.Error(source="streaming", code="x", message="reset")
    assert noticed(status("degraded", "streaming: reset"), reset)[1] == ""


def test_of_several_engines_each_is_named():
    assert noticed(status("stopped"), names=("desk", "door")) == ["desk: [engine stopped]"]
    notices = Notices(["desk", "door"])
    assert notices.waiting("door") == 'waiting for "door"…'
    assert notices.waiting("door") == ""
