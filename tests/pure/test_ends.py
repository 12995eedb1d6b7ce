"""How often the end of a file is tried."""

from mpengine.supervisor.decide.ends import MOST_TRIES, Ends


def test_three_ends_that_brought_nothing_are_enough():
    ends = Ends()
    for _ in range(MOST_TRIES):
        assert ends.may_try_again
        ends.sent(acknowledged=100)
    assert not ends.may_try_again


def test_a_recogniser_that_gets_on_is_merely_slow():
    ends = Ends()
    for acknowledged in range(100):
        ends.sent(acknowledged)
        assert ends.may_try_again
