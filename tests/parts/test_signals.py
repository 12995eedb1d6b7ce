"""The supervisor's signals: whose they are while it works, and behind it."""

import os
import signal

import pytest

from mpengine.supervisor.host.signals import StopSignals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@pytest.fixture(autouse=True)
def untouched():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers():
    return [signal.getsignal(number) for number in NUMBERS]


def test_in_a_program_that_goes_on_everything_is_as_before():
    before = handlers()
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.take() == ["SIGTERM"]
        assert handlers() != before
    assert handlers() == before


def test_where_the_process_ends_late_requests_change_nothing_more():
    children = signal.getsignal(signal.SIGCHLD)
    with StopSignals(ends_process=True):
        pass
    assert handlers() == [signal.SIG_IGN] * 3 + [children]
    os.kill(os.getpid(), signal.SIGINT)


def test_a_hangup_that_was_ignored_stays_so():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
