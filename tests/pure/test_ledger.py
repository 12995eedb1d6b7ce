"""Which words of a final were published already."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.supervisor.decide.results import Ledger
from tests.pure.support import result, weight, word

S = 16000


def said(first_s, end_s, text, *, words=True, connection=1, replayed=True, **fields):
    """A final between two seconds; its words share the time evenly."""
    texts = text.split()
    step_s = (end_s - first_s) / max(1, len(texts))
    places = [
        word(each.strip(".,").lower(), first_s + n * step_s, first_s + (n + 1) * step_s, punctuated_word=each)
        for n, each in enumerate(texts)
    ]
    fields = {"words": tuple(places) if words else (), "connection": connection, "replayed": replayed, **fields}
    return result(round(first_s * S), round(end_s * S), text, **fields)


def heard(ledger, final):
    """The text of `final` that is news; None without any."""
    news = ledger.news(final).transcript
    ledger.settle(final, news)
    return None if news is None else news.text


@pytest.fixture
def ledger():
    """Of connection 1, which was lost, with two finals that are not acknowledged."""
    ledger = Ledger(S)
    heard(ledger, said(0, 4, "The quick brown fox", replayed=False))
    heard(ledger, said(4, 9, "jumps over the lazy dog.", replayed=False))
    return ledger


# On one connection


@pytest.mark.parametrize(
    "times",
    [
        [(0, 1), (1, 1), (1, 2), (2, 2), (2, 3)],  # whole seconds
        [(0, 0)] * 5,  # a clock that stands still
        [(0, 2), (0, 1), (0, 3)],  # that starts again with each utterance
        [(2, 3), (1, 2), (0, 1)],  # late
        [(0, 2), (1, 3), (2.5, 3.5)],  # windows
    ],
)
@pytest.mark.parametrize("replayed", [False, True])
def test_every_final_is_news_whatever_its_times_are(times, replayed):
    ledger = Ledger(S, 5 * S)
    texts = [f"word {n} yes" for n in range(len(times))]
    finals = [said(*time, text, replayed=replayed, acknowledges=9 * S) for time, text in zip(times, texts, strict=True)]
    assert [heard(ledger, final) for final in finals] == texts


def test_news_are_passed_on_as_they_are(ledger):
    final = said(9, 10, "New.", connection=2)
    assert ledger.news(final).transcript is final.transcript


def test_an_exact_repetition_is_withheld(ledger):
    news = ledger.news(said(4, 9, "jumps over the lazy dog.", is_repeated=True))
    assert (news.transcript, news.withheld) == (None, ("jumps", "over", "the", "lazy", "dog."))


def test_an_interim_is_always_news(ledger):
    interim = said(0, 4, "The quick brown fox", connection=2, is_final=False)
    assert ledger.news(interim).transcript is interim.transcript


# Over replayed audio


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize(
    ("first_s", "end_s", "text", "rest"),
    [
        (0, 4, "The quick brown fox", None),
        (0.1, 4.1, "the quick, brown fox.", None),
        (2, 6, "brown fox jumps over", None),
        (6, 11, "the lazy dog. And runs", "And runs"),
        (4, 9, "jumps over a lazy dog.", "a"),
        (5, 7, "under the", "under"),  # another word at the time of "over"
        (12, 16, "The quick brown fox", "The quick brown fox"),  # the same words at another time
        (0, 4, "Es war einmal ein", "Es war einmal ein"),
    ],
)
def test_words_that_agree_in_text_and_time_are_cut(ledger, words, first_s, end_s, text, rest):
    final = said(first_s, end_s, text, words=words, connection=2)
    assert heard(ledger, final) == rest


def test_what_was_not_sent_before_is_not_compared(ledger):
    assert heard(ledger, said(0, 4, "The quick brown fox", connection=2, replayed=False)) == "The quick brown fox"


def test_the_words_that_are_cut_are_named(ledger):
    assert ledger.news(said(6, 11, "the lazy dog. And runs", connection=2)).withheld == ("the", "lazy", "dog.")


def test_a_word_that_came_again_once_is_not_expected_a_second_time(ledger):
    assert heard(ledger, said(8, 9, "dog.", connection=2)) is None
    assert heard(ledger, said(8, 9, "dog.", connection=2)) == "dog."


def test_what_is_left_keeps_its_own_words_times_and_spaces(ledger):
    final = said(8, 11, "dog. \u2013 And  runs!", connection=2, speech_final=True, confidence=0.5, language="de")
    news = ledger.news(final).transcript
    assert news.text == "\u2013 And  runs!"
    assert [each.punctuated_word for each in news.words] == ["\u2013", "And", "runs!"]
    assert (news.start_s, news.end_s) == (news.words[0].start_s, 11)
    assert (news.speech_final, news.confidence, news.language, news.connection) == (True, 0.5, "de", 2)


def test_a_text_without_spaces_gets_none():
    ledger = Ledger(S)
    places = [word("\u3067\u3059", 0, 1), word("\u306d", 1, 2), word("\u3002", 2, 3)]
    heard(ledger, result(0, S, "\u3067\u3059", words=tuple(places[:1])))
    again = result(0, 3 * S, "\u3067\u3059\u306d\u3002", words=tuple(places), connection=2, replayed=True)
    assert heard(ledger, again) == "\u306d\u3002"


@pytest.mark.parametrize("text", ["Dog. And much more", "And much more: dog.", "much more"])
def test_words_that_do_not_make_up_the_text_cost_nothing_of_it(ledger, text):
    again = result(8 * S, 11 * S, text, words=(word("dog", 8.0, 9.0),), connection=2, replayed=True)
    news = ledger.news(again).transcript
    assert "much more" in news.text
    assert len(news.words) in {0, 1}


def test_each_channel_is_compared_with_itself(ledger):
    assert heard(ledger, said(0, 4, "The quick brown fox", connection=2, channel=1)) == "The quick brown fox"


def test_what_is_acknowledged_is_not_looked_for(ledger):
    ledger.acknowledge(5 * S)
    assert heard(ledger, said(0, 4, "The quick brown fox", connection=2)) == "The quick brown fox"
    assert heard(ledger, said(4, 9, "jumps over the lazy dog.", connection=2)) is None


def test_words_that_an_earlier_supervisor_published_count():
    ledger = Ledger(S)
    ledger.continues(S, [said(0, 3, "one two three").transcript])
    assert heard(ledger, said(1, 4, "two three four", connection=2)) == "four"


def test_memory_is_bounded():
    ledger = Ledger(S)
    for number in range(2000):
        heard(ledger, said(number, number + 1, f"word {number}"))
    assert weight(ledger) < 300_000
    assert heard(ledger, said(5, 6, "word 5", connection=2)) == "word 5"
    assert heard(ledger, said(1999, 2000, "word 1999", connection=2)) is None


# Without times


@pytest.fixture
def untimed():
    ledger = Ledger(S)
    heard(ledger, guess(0, 4, "The quick brown fox"))
    heard(ledger, guess(4, 9, "jumps over the lazy dog."))
    return ledger


def guess(first_s, end_s, text, **fields):
    return said(first_s, end_s, text, words=False, estimated=True, **fields)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("jumps over the lazy dog and runs", "and runs"),
        ("Jumps over the lazy dog, and runs", "and runs"),
        ("brown fox jumps over the lazy dog", None),
        ("fix jumps over the lazy dog away", "fix away"),
        ("something else entirely", "something else entirely"),
        ("the end", "the end"),  # one word in common says nothing
        ("dog", None),  # unless it is all there is
        ("", ""),
    ],
)
def test_the_longest_common_run_is_cut(untimed, text, rest):
    assert heard(untimed, guess(0, 20, text, connection=2)) == rest


def test_in_order_a_single_word_counts_that_is_the_next_one(untimed):
    assert heard(untimed, guess(0, 20, "the quick", connection=2)) is None
    assert heard(untimed, guess(0, 20, "brown cats", connection=2)) == "cats"
    assert heard(untimed, guess(0, 20, "jumps high", connection=2)) == "jumps high"  # "fox" would be the next one


def test_what_is_acknowledged_is_not_expected(untimed):
    untimed.acknowledge(4 * S)
    assert heard(untimed, guess(0, 20, "quick brown fox again", connection=2)) == "quick brown fox again"
    assert heard(untimed, guess(0, 20, "over the lazy dog again", connection=2)) == "again"


@pytest.mark.parametrize(
    ("first_s", "end_s", "text", "rest"),
    [
        (9, 10, "yes", None),
        (14, 15, "yes", "yes"),  # at another time it is news, although other times were guessed
        (5, 10, "over the lazy dog yes", None),
        (13, 16, "lazy dog yes", "yes"),
        (9, 11, "yes dog", "dog"),
    ],
)
def test_beside_guesses_words_with_times_are_compared_by_them(untimed, first_s, end_s, text, rest):
    heard(untimed, said(9, 10, "Yes.", replayed=False))
    assert heard(untimed, said(first_s, end_s, text, connection=2)) == rest


def test_what_the_same_connection_says_again_is_said_again(untimed):
    assert heard(untimed, guess(9, 10, "Yes.", connection=2)) == "Yes."
    assert heard(untimed, guess(9, 10, "Yes.", connection=2)) == "Yes."


def test_words_that_only_the_second_connection_heard_stand_in_their_place(untimed):
    assert heard(untimed, guess(0, 20, "the quick brown", connection=2)) is None
    assert heard(untimed, guess(0, 20, "little red", connection=2)) == "little red"
    assert heard(untimed, guess(0, 20, "fox jumps over", connection=2)) is None
    assert heard(untimed, guess(0, 20, "little red fox jumps over the lazy dog", connection=3)) is None


def test_words_behind_those_that_came_again_are_still_expected(untimed):
    assert heard(untimed, guess(0, 20, "the quick brown fox", connection=2)) is None
    assert heard(untimed, guess(0, 20, "jumps over the lazy dog", connection=2)) is None
    assert heard(untimed, guess(0, 20, "the quick brown fox", connection=2)) == "the quick brown fox"


# What is covered


def test_being_news_settles_nothing():
    ledger = Ledger(S)
    ledger.news(said(0, 1, "words", acknowledges=S))
    assert ledger.acknowledged == 0


@pytest.mark.parametrize(
    ("acknowledges", "moved", "position"),
    [(None, None, 1000), (0, None, 1000), (999, None, 1000), (1000, None, 1000), (1001, 1001, 1001)],
)
def test_the_position_only_moves_forward(acknowledges, moved, position):
    ledger = Ledger(S, 1000)
    final = said(0, 1, "words", acknowledges=acknowledges)
    assert ledger.settle(final, final.transcript) == moved
    assert ledger.acknowledged == position


def test_a_connection_acknowledges_only_audio_from_its_grant_on():
    ledger = Ledger(S)
    assert ledger.cover(3 * S, 4 * S) is None  # out of order
    assert (ledger.granted(), ledger.acknowledged) == (0, 0)
    assert ledger.acknowledge(2 * S) == 2 * S
    assert ledger.covered == [(0, 2 * S), (3 * S, 4 * S)]
    assert ledger.acknowledge(3 * S) == 4 * S
    assert ledger.granted() == 4 * S
    assert ledger.covered == [(0, 4 * S)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20))
def test_what_is_covered_is_a_set_of_samples(covered):
    ledger, model = Ledger(S), set()
    for first, end in covered:
        ledger.cover(first, end)
        model.update(range(first, end))
        assert {sample for each in ledger.covered for sample in range(*each)} == model
        assert ledger.acknowledged == next(sample for sample in range(60) if sample not in model)


def test_what_was_transcribed_is_as_far_as_any_result_went():
    ledger = Ledger(S)
    ledger.news(said(0, 2, "words", is_final=False))
    ledger.news(said(0, 1, "words"))
    assert ledger.transcribed == 2 * S


# Models


@given(st.lists(st.tuples(st.floats(-5, 50), st.floats(-5, 50), st.sampled_from(["a", "b c", "d e f"])), max_size=30))
def test_random_finals_of_one_connection_are_all_published_once_in_order(finals):
    ledger = Ledger(S, 7 * S)
    given_texts = [text for _, _, text in finals]
    made = [
        said(min(one, other), max(one, other), text, acknowledges=round(max(0, other) * S))
        for one, other, text in finals
    ]
    assert [heard(ledger, final) for final in made] == given_texts


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_over_any_replays_every_word_is_published_exactly_once(seed, words):
    """Words tile the time. Finals acknowledge late; after a loss the recogniser begins again at the acknowledged."""
    chance, ledger, published, connection = Random(seed), Ledger(S), [], 1
    count, sent, next_word, begun = 200, 0, 0, 0
    while next_word < count:
        size = min(chance.randrange(1, 6), count - next_word)
        text = " ".join(f"w{number}" for number in range(next_word, next_word + size))
        acknowledges = chance.choice([None, max(begun, next_word - chance.randrange(6)) * S])
        final = said(
            next_word,
            next_word + size,
            text,
            words=words,
            connection=connection,
            acknowledges=acknowledges,
            replayed=next_word < sent,
        )
        published += (heard(ledger, final) or "").split()
        next_word += size
        sent = max(sent, next_word)
        if chance.random() < 0.3:
            connection += 1
            begun = next_word = ledger.granted() // S
    assert published == [f"w{number}" for number in range(count)]
