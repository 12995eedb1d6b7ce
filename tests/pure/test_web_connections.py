"""The connections of `mpengine web`: their number and their idle time are bounded."""

import pytest

from mpengine.web.connections import IDLE_S, MOST, Links, most_of


class Transport:
    """As much of a connection as is looked at."""

    def __init__(self, port):
        self.peer, self.is_aborted = ("127.0.0.1", port), False

    def get_extra_info(self, name):
        return self.peer

    def abort(self):
        self.is_aborted = True


@pytest.fixture
def links():
    return Links()


def test_one_connection_too_many_is_ended_and_the_others_stay(links):
    transports = [Transport(port) for port in range(MOST + 1)]
    for each in transports:
        links.came(each, 0.0)
    assert [each.is_aborted for each in transports] == [False] * MOST + [True]
    assert links.of(transports[-1].peer) is None
    links.went(transports[-1])
    links.went(transports[0])
    links.came(another := Transport(9999), 0.0)
    assert not another.is_aborted


def test_a_connection_is_ended_when_it_has_had_no_request_for_too_long(links):
    silent, busy, done = (Transport(port) for port in range(3))
    for each in (silent, busy, done):
        links.came(each, 0.0)
    links.of(busy.peer).busy()
    links.of(done.peer).busy()
    links.of(done.peer).idle(10.0)
    links.end_idle(IDLE_S)
    assert not silent.is_aborted
    links.end_idle(IDLE_S + 1)
    assert [each.is_aborted for each in (silent, busy, done)] == [True, False, False]
    links.end_idle(IDLE_S + 11)
    assert [each.is_aborted for each in (busy, done)] == [False, True]


def test_who_reads_is_told_of_the_end(links):
    told = []
    links.came(transport := Transport(1), 0.0)
    links.of(transport.peer).on_end = lambda: told.append(True)
    link = links.of([*transport.peer, 0, 0])  # as of an IPv6 address
    assert not link.is_gone
    links.went(transport)
    assert (told, link.is_gone, links.of(transport.peer)) == ([True], True, None)
    links.went(None)


def test_a_connection_from_where_another_has_just_ended_is_not_taken_for_that_one(links):
    told = []
    links.came(before := Transport(1), 0.0)
    links.of(before.peer).on_end = lambda: told.append(True)
    links.came(after := Transport(1), 1.0)
    assert told == [True]
    links.went(before)  # this comes late
    link = links.of(after.peer)
    assert not link.is_gone
    links.went(after)
    assert (link.is_gone, links.of(after.peer)) == (True, None)


def test_where_descriptors_are_few_connections_are_fewer():
    assert [most_of(count, engines=1) for count in (65_536, 160, 20)] == [MOST, 100, 8]
    assert most_of(1024, engines=32) == MOST
    links = Links(2)
    transports = [Transport(port) for port in range(3)]
    for each in transports:
        links.came(each, 0.0)
    assert [each.is_aborted for each in transports] == [False, False, True]
