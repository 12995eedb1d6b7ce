"""When a device is lost, and when one that is missing is tried again."""

from mpengine.capture.absence import Absence, Patience


def test_a_device_is_lost_when_nothing_comes_for_three_seconds():
    patience = Patience(100.0)
    assert not any(patience.is_over(100 + n / 10, has_come=False) for n in range(1, 29))
    assert not patience.is_over(102.9, has_come=True)
    assert not any(patience.is_over(102.9 + n / 10, has_come=False) for n in range(1, 29))
    assert patience.is_over(105.95, has_come=False)


def test_the_time_that_this_process_was_stopped_is_not_the_silence_of_the_device():
    patience = Patience(100.0)
    assert not patience.is_over(100.2, has_come=False)
    assert not patience.is_over(3700.0, has_come=False)
    assert not patience.is_over(3700.2, has_come=True)


def test_a_missing_device_is_tried_sooner_at_first():
    absence = Absence()
    assert not absence.is_due(1e9)
    waits = []
    for _ in range(5):
        waits.append(absence.failed(10.0))
        assert absence.next_try_at == 10.0 + waits[-1]
        assert not absence.is_due(10.0)
        assert absence.is_due(10.0 + waits[-1])
        absence.tries()
        assert not absence.is_due(1e9)
    assert waits == [0.5, 1.0, 2.0, 2.0, 2.0]
    assert absence.lasts
    absence.ended()
    assert not absence.lasts
    assert absence.failed(20.0) == 0.5


def test_a_reason_is_news_once_until_the_device_is_back():
    absence = Absence()
    assert absence.is_news("it has gone")
    assert absence.is_news("busy")
    assert not absence.is_news("busy")
    absence.ended()
    assert absence.is_news("busy")
