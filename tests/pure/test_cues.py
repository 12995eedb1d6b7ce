"""Subtitle cues out of finals: where they are broken, when they are shown, and that no word is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.formats.cues import LEAST_MS, LINE_COLUMNS, LONGEST_MS, Cue, Cues
from mpengine.shared.messages import Transcript, Word
from mpengine.shared.text import harmless, width


def final(text, start_s=0.0, end_s=0.0, words=(), **more):
    return Transcript(text=text, is_final=True, start_s=start_s, end_s=end_s, words=tuple(words), **more)


def spoken(*words, **more):
    """A final of (word, start_s, end_s)."""
    found = [Word(word=word, start_s=start_s, end_s=end_s) for word, start_s, end_s in words]
    return final(" ".join(word for word, _, _ in words), found[0].start_s, found[-1].end_s, found, **more)


def paced(text, *, word_s=0.2, start_s=0.0):
    """A final whose words come one behind the other."""
    spellings = text.split()
    return spoken(
        *((word, start_s + place * word_s, start_s + (place + 1) * word_s) for place, word in enumerate(spellings))
    )


def cues_of(*finals, **options):
    cues = Cues(**options)
    made = []
    for each in finals:
        cues.meet(each.run, each.start_s)
        made += cues.of(each)
    return made


def texts(cues):
    return [" / ".join(cue.lines) for cue in cues]


def test_a_cue_is_shown_while_it_is_spoken():
    assert cues_of(spoken(("so", 1.0, 1.5), ("it", 1.5, 2.0), ("is", 2.0, 2.75))) == [Cue(1000, 2750, ("so it is",))]


def test_a_short_one_stays_for_a_second():
    assert cues_of(spoken(("yes", 1.0, 1.2))) == [Cue(1000, 2000, ("yes",))]


def test_it_ends_when_the_next_one_of_the_same_final_begins():
    assert cues_of(spoken(("yes.", 1.0, 1.1), ("no", 1.9, 2.0))) == [
        Cue(1000, 1900, ("yes.",)),
        Cue(1900, 2900, ("no",)),
    ]


def test_one_that_comes_too_early_waits_for_the_last_to_end():
    assert cues_of(spoken(("yes", 1.0, 1.2)), spoken(("no", 1.3, 2.6))) == [
        Cue(1000, 2000, ("yes",)),
        Cue(2000, 2600, ("no",)),
    ]


def test_one_that_is_over_already_is_shown_all_the_same():
    assert cues_of(spoken(("late", 1.0, 5.0)), spoken(("heard again", 1.0, 2.0)))[1] == Cue(
        5000, 5000 + LEAST_MS, ("heard again",)
    )


def test_many_short_ones_do_not_fall_behind():
    made = cues_of(*(spoken(("word", place * 0.4, place * 0.4 + 0.3)) for place in range(200)))
    assert max(cue.start_ms - place * 400 for place, cue in enumerate(made)) <= 1000


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (spoken(("one", 0, 1), ("two", 1.7, 2)), ["one two"]),
        (spoken(("one", 0, 1), ("two", 1.71, 2)), ["one", "two"]),
        (spoken(("Yes.", 0, 0.9), ("No.", 0.9, 1.2)), ["Yes. No."]),
        (spoken(("Indeed.", 0, 1), ("No.", 1, 1.2)), ["Indeed.", "No."]),
        (spoken(("Indeed,", 0, 1), ("no.", 1, 1.2)), ["Indeed, no."]),
        (spoken(('"Really?"', 0, 1), ("No.", 1, 1.2)), ['"Really?"', "No."]),
        (spoken(("slow", 0, 3), ("slow", 3, 6), ("slow", 6, 9)), ["slow slow", "slow"]),
        (paced("word " * 8), ["word " * 7 + "word"]),
        (paced("word " * 10), ["word word word word word / word word word word word"]),
        (
            paced("one two, three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"),
            ["one two, three four five six seven eight / nine ten eleven twelve thirteen fourteen", "fifteen"],
        ),
        (
            paced("one two three four five six seven eight nine ten, eleven twelve thirteen fourteen fifteen"),
            ["one two three four five / six seven eight nine ten,", "eleven twelve thirteen fourteen fifteen"],
        ),
    ],
    ids=range(11),
)
def test_where_it_is_broken(said, shown):
    assert texts(cues_of(said)) == shown


def test_without_words_the_time_is_spread_over_the_text():
    made = cues_of(final("word " * 40, start_s=10.0, end_s=30.0))
    assert [cue.start_ms for cue in made] == [10000, 17000, 24000]
    assert made[-1].end_ms == 30000
    assert " ".join(line for cue in made for line in cue.lines).split() == ["word"] * 40


def test_a_single_word_of_a_minute_is_shown_for_the_longest_time():
    assert cues_of(final("well", start_s=1.0, end_s=61.0)) == [Cue(1000, 1000 + LONGEST_MS, ("well",))]


@pytest.mark.parametrize(
    ("text", "words", "shown"),
    [
        ("25 people", ["twenty", "five", "people"], "25 people"),
        ("Hello, world.", ["hello", "world"], "Hello, world."),
        ("日本語です", ["日本", "語", "です"], "日本語です"),
        ("one", ["one", "more"], "one"),
        ("one more", ["", "one"], "one more"),
        ("two\nlines", ["two", "lines"], "two lines"),
        ("\x1b[2J", ["\x1b[2J"], "\ufffd[2J"),
        ("   ", ["a"], None),
        ("", [], None),
    ],
)
def test_the_text_counts_and_not_the_words(text, words, shown):
    made = cues_of(final(text, 1.0, 2.0, [Word(word=word, start_s=1.0, end_s=2.0) for word in words]))
    assert texts(made) == ([] if shown is None else [shown])


def test_a_text_without_spaces_is_broken_where_a_line_is_full():
    (cue, *_) = cues_of(final("語" * 100, 0.0, 20.0))
    assert cue.lines == ("語" * 21,)
    assert "".join(line for cue in cues_of(final("語" * 100, 0.0, 20.0)) for line in cue.lines) == "語" * 100


def test_marks_stay_with_their_letters():
    for cue in cues_of(final("e\u0301" * 100, 0.0, 20.0)):
        assert not any(line.startswith("\u0301") for line in cue.lines)


# The clock


def test_another_run_begins_where_the_last_cue_ends():
    made = cues_of(spoken(("one", 5.0, 6.0), run="a"), spoken(("two", 0.5, 2.0), run="b"))
    assert made == [Cue(5000, 6000, ("one",)), Cue(6500, 8000, ("two",))]


def test_the_offset_is_that_of_the_first_run():
    made = cues_of(spoken(("one", 5.0, 6.0), run="a"), spoken(("two", 0.5, 2.0), run="b"), offset_ms=-3000)
    assert made == [Cue(2000, 3000, ("one",)), Cue(3500, 5000, ("two",))]


def test_what_ends_before_the_beginning_is_left_out():
    made = cues_of(spoken(("out", 1.0, 2.0)), spoken(("half", 2.0, 4.0)), spoken(("in", 5.0, 6.0)), offset_ms=-3000)
    assert made == [Cue(0, 1000, ("half",)), Cue(2000, 3000, ("in",))]


@pytest.mark.parametrize(("start_s", "start_ms"), [(12.0, 12000), (9.0, 19000)])
def test_behind_cues_of_nobody_knows_which_run_an_earlier_one_is_another(start_s, start_ms):
    cues = Cues()
    cues.go_on(None, 0, 10000)
    said = spoken(("word", start_s, start_s + 1), run="a")
    assert cues.meet("a", said.start_s)
    assert cues.of(said)[0].start_ms == start_ms


# Names


def test_names_are_shown_when_they_change():
    words = [Word(word=word, start_s=at, end_s=at + 1, speaker=who) for word, at, who in (("a", 0, 0), ("b", 1, 1))]
    said = [final("a b", 0.0, 2.0, words, user_name="Ann"), spoken(("c", 2, 3), user_name="Ann")]
    assert texts(cues_of(*said, with_names=True)) == ["Ann #0: a", "Ann #1: b", "Ann: c"]
    assert texts(cues_of(*said, said[-1], with_names=True))[3:] == ["c"]
    assert texts(cues_of(*said)) == ["a", "b", "c"]


def test_a_speaker_with_a_name_is_shown_by_it():
    words = [Word(word="a", start_s=0, end_s=1, speaker="Bob\n"), Word(word="b", start_s=1, end_s=2, speaker=1)]
    said = final("a b", 0.0, 2.0, words, user_name="Ann")
    assert texts(cues_of(said, with_names=True)) == ["Bob: a", "Ann #1: b"]


# Whatever comes

seconds = st.floats(min_value=-10.0, max_value=1e12, allow_nan=False) | st.floats(min_value=0.0, max_value=100.0)
letters = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("語e\u0301 \u093f.,!"), max_size=60)
several_words = st.lists(
    st.builds(
        Word,
        word=letters,
        start_s=seconds,
        end_s=seconds,
        punctuated_word=st.none() | letters,
        speaker=st.none() | st.integers(0, 3) | letters,
    ),
    max_size=30,
)


@st.composite
def any_final(draw):
    words = draw(several_words)
    spelled = [word.punctuated_word or word.word for word in words]
    text = draw(st.sampled_from([" ".join(spelled), "".join(spelled)]) | letters.map(lambda text: text * 20))
    run = draw(st.sampled_from("ab"))
    return final(text, draw(seconds), draw(seconds), words, run=run, user_name=draw(letters))


def squeezed(text):
    """A line may end within what has no space: what counts are the letters."""
    return "".join(text.split())


@pytest.mark.slow
@given(st.lists(any_final(), max_size=6))
def test_any_finals_become_cues_in_order_with_all_their_words(finals):
    made = cues_of(*finals)
    assert squeezed("".join(line for cue in made for line in cue.lines)) == squeezed(
        "".join(harmless(each.text) for each in finals)
    )
    last_ms = 0
    for cue in made:
        assert last_ms <= cue.start_ms
        assert LEAST_MS <= cue.end_ms - cue.start_ms <= LONGEST_MS
        last_ms = cue.end_ms
        assert 1 <= len(cue.lines) <= 2
        for shown in cue.lines:
            assert shown.strip()
            assert "\n" not in shown
            assert width(shown) <= LINE_COLUMNS


@pytest.mark.slow
@given(st.lists(any_final(), max_size=4), st.integers(-(10**12), 10**12))
def test_with_names_and_whatever_offset_they_are_in_order_too(finals, offset_ms):
    made = cues_of(*finals, with_names=True, offset_ms=offset_ms)
    times = [time for cue in made for time in (cue.start_ms, cue.end_ms)]
    assert times == sorted(times)
    assert all(time >= 0 for time in times)
