"""How far a recording is: the share, the pace, the time left, and a line of them in any width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.cli.terminal.progress import Progress, h_mm_ss
from mpengine.shared.text import width

HOUR_S = 3600.0


def after(looks, total_s=HOUR_S, name="talk.mp3"):
    """The progress after these looks: time, and seconds done."""
    progress = Progress(name)
    for now, done_s in looks:
        progress.heard(now, done_s, total_s)
    return progress


def steady(until_s, pace, *, begin_s=0.0, start_s=0.0):
    """Looks each second; for `start_s` nothing goes on."""
    return [(100.0 + at, begin_s + pace * max(0.0, at - start_s)) for at in range(int(until_s) + 1)]


def test_nothing_is_known_before_the_first_look():
    progress = Progress("talk.mp3")
    assert (progress.share, progress.pace, progress.left_s) == (0.0, 0.0, None)


@pytest.mark.parametrize("begin_s", [0.0, 1800.0])
@pytest.mark.parametrize("start_s", [0.0, 5.0])
def test_pace_and_rest_are_right_wherever_it_begins_and_however_long_the_start_takes(begin_s, start_s):
    progress = after(steady(60, 12.0, begin_s=begin_s, start_s=start_s))
    assert progress.pace == pytest.approx(12.0, rel=0.05)
    assert progress.left_s == pytest.approx((HOUR_S - progress.done_s) / 12.0, rel=0.05)


def test_the_pace_of_long_ago_does_not_count():
    fast, slow = steady(100, 20.0), [(200.0 + at, 2000.0 + 2.0 * at) for at in range(1, 120)]
    assert after(fast + slow).pace == pytest.approx(2.0, rel=0.05)


def test_a_moment_changes_the_time_left_little_when_much_is_done():
    steadily = steady(1000, 2.0)
    stopped = [(1100.0 + at, 2000.0) for at in range(1, 20)]
    assert after(steadily + stopped).left_s == pytest.approx(1600.0 / 2.0, rel=0.05)


def test_an_hour_is_remembered_in_little_and_tells_as_much():
    progress = after(steady(3600, 0.5))
    assert progress.pace == pytest.approx(0.5)
    assert len(progress._looks) <= 1000


def test_a_pace_is_not_guessed_from_a_moment():
    assert after(steady(9, 12.0)).left_s is None
    assert after(steady(11, 12.0)).left_s is not None


@pytest.mark.parametrize("heap_s", [0.0, 12.0, 200.0, 1000.0])
def test_a_heap_at_the_beginning_is_no_pace(heap_s):
    """The first results often come together: the time left is shown once what follows has shown a pace."""
    progress = Progress("talk.mp3")
    for number, (now, done_s) in enumerate(steady(70, 12.0)):
        progress.heard(now, done_s + (heap_s if number else 0.0), HOUR_S)
        if progress.left_s is not None:
            break
    assert 10 <= number <= 60
    assert progress.left_s == pytest.approx((HOUR_S - progress.done_s) / 12.0, rel=0.25)


def test_results_that_come_seldom_show_a_pace_after_some_of_them():
    progress = Progress("talk.mp3")
    for number in range(60):
        progress.heard(100.0 + number, 60.0 * (number // 5), HOUR_S)
        if progress.left_s is not None:
            break
    assert number // 5 == 6
    assert progress.left_s == pytest.approx((HOUR_S - progress.done_s) / 12.0, rel=0.1)


def test_what_was_shown_once_stays():
    progress = after(steady(20, 12.0))
    progress.heard(121.0, 900.0, HOUR_S)
    assert progress.left_s is not None


def test_where_it_stands_still_the_rest_becomes_longer():
    going = steady(20, 12.0)
    still = [(120.0 + at, going[-1][1]) for at in range(1, 20)]
    assert after(going + still).left_s > after(going).left_s


def test_more_than_all_is_all():
    assert after([(100.0, 20.5)], total_s=20.0).share == 1.0


LINES = [
    (120, "talk.mp3   20 %  ████····················  0:12:00 of 1:00:00  12 x real time  0:04:00 left"),
    (80, "talk.mp3   20 %  ██········  0:12:00 of 1:00:00  12 x real time  0:04:00 left"),
    (70, "talk.mp3   20 %  0:12:00 of 1:00:00  12 x real time  0:04:00 left"),
    (60, "talk.mp3   20 %  12 x real time  0:04:00 left"),
    (43, "20 %  0:12:00 of 1:00:00  0:04:00 left"),
    (20, "20 %  0:04:00 left"),
    (9, "20 %"),
    (3, "20"),
]


@pytest.mark.parametrize(("columns", "line"), LINES)
def test_what_does_not_fit_is_left_out_the_least_important_first(columns, line):
    assert after(steady(60, 12.0)).line(columns) == line


def test_a_terminal_without_blocks_gets_other_letters():
    assert "####......" in after([(100.0, 0.4 * HOUR_S)]).line(60, is_ascii=True)


def test_a_note_stands_for_the_pace():
    line = after(steady(60, 12.0)).line(120, note="connecting to wss://service")
    assert line.endswith("0:12:00 of 1:00:00  connecting to wss://service")
    line = after(steady(60, 12.0)).line(80, note="\x1b[2J" + 100 * "n")
    assert line == "talk.mp3   20 %  \ufffd[2J" + 56 * "n"


def test_a_name_cannot_act_upon_the_terminal_and_is_cut():
    line = after([(100.0, 0.0)], name="\x1b[2J" + 50 * "n").line(200)
    assert line.startswith("\ufffd[2J" + 24 * "n" + "    0 %")


@pytest.mark.parametrize(("seconds", "shown"), [(0.9, "0:00:00"), (61, "0:01:01"), (86_399.9, "23:59:59")])
def test_a_clock(seconds, shown):
    assert h_mm_ss(seconds) == shown


@given(
    st.integers(1, 300),
    st.text(max_size=60),
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=5),
    st.floats(0.01, 1e6),
    st.text(max_size=60),
)
def test_a_line_always_fits(columns, name, looks, total_s, note):
    progress = after(sorted(looks), total_s=total_s, name=name)
    assert width(progress.line(columns, note=note)) < max(columns, 2)
