"""The outage: which refusals end the process, how long it waits, and what is told."""

import pytest

from mpengine.dialects import causes
from mpengine.shared.errors import ExitCode
from mpengine.streaming.outage import Outage, Verdict

LOST = causes.lost("reset by peer")
REFUSED = (400, 401, 402, 403, 404, 405)
CLOSED = (1002, 1003, 1007, 1008)
PASSING = (408, 429, 499, 500, 502, 503)


def upgrade(status, *, signed):
    return causes.refused(status, "", "", "r-1" if signed else None)


def close(code, *, signed):
    return causes.closed(code, "", None, name="data-0000" if signed else "")


def complaint(code):
    """An Error of the recogniser, then a close, right after the upgrade."""
    return causes.complained(causes.closed(code, "", None), code, "", "16 kHz only", is_young=True)


LASTING = [upgrade(status, signed=signed) for status in REFUSED for signed in (True, False)]
LASTING += [close(code, signed=signed) for code in CLOSED for signed in (True, False)]
LASTING += [complaint(4400), complaint(4401)]
PASSING_CAUSES = [upgrade(status, signed=signed) for status in PASSING for signed in (True, False)]
PASSING_CAUSES += [close(code, signed=signed) for code in (1000, 1001, 1011, 1012, 4400) for signed in (True, False)]
PASSING_CAUSES += [complaint(4429), complaint(4503), LOST]


def new_outage(*, refusals_end=True, chance=1.0):
    return Outage(lambda: chance, refusals_end=refusals_end)


def tries(outage, cause, count):
    return [outage.failed(cause) for _ in range(count)]


def name(cause):
    return f"{cause.code}{' signed' if cause.signed else ''}"


# What ends the process


@pytest.mark.parametrize("cause", LASTING, ids=name)
def test_before_the_first_result_a_signed_refusal_ends_it_at_once_and_a_bare_one_at_the_third_time(cause):
    ends = [verdict.ends for verdict in tries(new_outage(), cause, 3)]
    assert ends == ([True, True, True] if cause.signed else [False, False, True])


@pytest.mark.parametrize("cause", LASTING, ids=name)
def test_three_tries_take_less_than_five_seconds(cause):
    assert sum(verdict.wait_s for verdict in tries(new_outage(), cause, 2)) < 4.0


@pytest.mark.parametrize("is_final", [True, False])
@pytest.mark.parametrize("cause", LASTING, ids=name)
def test_after_the_first_result_no_refusal_ends_it(cause, is_final):
    outage = new_outage()
    outage.heard(is_final=is_final)
    assert not any(verdict.ends for verdict in tries(outage, cause, 100))


@pytest.mark.parametrize("cause", LASTING, ids=name)
def test_where_it_is_to_wait_no_refusal_ends_it(cause):
    assert not any(verdict.ends for verdict in tries(new_outage(refusals_end=False), cause, 100))


@pytest.mark.parametrize("cause", PASSING_CAUSES, ids=name)
def test_passing_trouble_never_ends_it(cause):
    assert not any(verdict.ends for verdict in tries(new_outage(), cause, 100))


@pytest.mark.parametrize("between", [LOST, upgrade(503, signed=False), upgrade(404, signed=False)], ids=name)
def test_bare_refusals_count_only_in_a_row(between):
    outage = new_outage()
    for _ in range(10):
        assert not any(verdict.ends for verdict in tries(outage, upgrade(403, signed=False), 2))
        assert not outage.failed(between).ends


@pytest.mark.parametrize("cause", LASTING, ids=name)
def test_what_a_connection_hears_that_had_been_accepted_is_no_refusal(cause):
    outage = new_outage()
    assert not any(outage.failed(cause, is_young=False).ends for _ in range(10))
    assert outage.failed(cause).ends is cause.signed


def test_a_bare_refusal_in_ever_new_words_is_the_same_one():
    outage = new_outage()
    ends = [outage.failed(causes.refused(403, "", f"Ray ID {number}", None)).ends for number in range(3)]
    assert ends == [False, False, True]


def test_with_another_secret_the_refusals_before_do_not_count():
    outage = new_outage()
    tries(outage, upgrade(401, signed=False), 2)
    outage.renewed()
    assert tries(outage, upgrade(401, signed=False), 1) == [Verdict(ends=False, wait_s=1.0, is_news=False)]


# How long it waits


def waits(outage, cause, count):
    return [verdict.wait_s for verdict in tries(outage, cause, count)]


@pytest.mark.parametrize("cause", LASTING, ids=name)
def test_the_waits_of_a_refusal_double_up_to_five_minutes(cause):
    expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert waits(new_outage(refusals_end=False), cause, 11) == expected


@pytest.mark.parametrize("cause", LASTING, ids=name)
def test_a_refusal_is_never_tried_again_at_once(cause):
    assert waits(new_outage(refusals_end=False, chance=0.0), cause, 3) == [0.5, 1, 2]


def test_a_refusal_is_tried_again_soon_however_long_the_network_was_away():
    outage = new_outage(refusals_end=False)
    tries(outage, LOST, 50)
    assert waits(outage, upgrade(404, signed=False), 3) == [1, 2, 4]


def test_a_connection_that_had_been_accepted_is_not_waited_for_long():
    outage = new_outage(refusals_end=False)
    assert [outage.failed(close(1008, signed=False), is_young=False).wait_s for _ in range(6)] == [0.5, 1, 2, 4, 8, 10]


@pytest.mark.parametrize("cause", [*LASTING, *PASSING_CAUSES], ids=name)
@pytest.mark.parametrize(("asked_s", "waited_s"), [(60.0, 60.0), (300.0, 300.0), (3600.0, 300.0)])
def test_a_peer_that_asks_for_patience_gets_five_minutes_at_most(cause, asked_s, waited_s):
    outage = new_outage(refusals_end=False, chance=0.0)
    assert outage.failed(cause._replace(retry_after_s=asked_s)).wait_s == waited_s


def test_a_peer_that_asks_for_less_than_the_wait_does_not_shorten_it():
    assert new_outage().failed(upgrade(429, signed=True)._replace(retry_after_s=0.5)).wait_s == 2.0


# What is told


def news(verdicts):
    return [verdict.is_news for verdict in verdicts]


def test_an_outage_is_told_once_and_once_more_when_it_turns_into_a_refusal():
    outage = new_outage(refusals_end=False)
    assert news(tries(outage, LOST, 3)) == [True, False, False]
    assert news(tries(outage, upgrade(401, signed=True), 3)) == [True, False, False]
    assert news(tries(outage, LOST, 3)) == [False] * 3
    assert news(tries(outage, upgrade(404, signed=False), 3)) == [False] * 3


def test_after_a_final_all_is_told_again():
    outage = new_outage()
    outage.heard(is_final=True)
    for _ in range(3):
        assert news(tries(outage, upgrade(401, signed=True), 2)) == [True, False]
        outage.heard(is_final=True)


def test_an_error_of_the_recogniser_and_its_close_are_told_once_in_an_outage():
    outage, told = new_outage(refusals_end=False), []
    for _ in range(10):
        told.append(outage.complains())
        told.append(outage.failed(complaint(4400), is_told=True).is_news)
    assert told == [True] + [False] * 19


def test_errors_on_a_connection_that_goes_on_are_all_told():
    outage = new_outage()
    assert [outage.complains() for _ in range(3)] == [True] * 3
    outage.heard(is_final=True)
    outage.failed(LOST)
    assert [outage.complains() for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("exit_code", [ExitCode.CONFIG, ExitCode.ACCOUNT])
def test_both_exit_codes_are_among_those_tried_here(exit_code):
    assert exit_code in {cause.exit_code for cause in LASTING}
