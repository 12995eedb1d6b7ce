"""Who is let in, who must leave, and what is told of it."""

from mpengine.shared.door import Crowd, Door, Guest, Stranger


def filled(count, limit=10, pid=7):
    door = Door("ipc://x", limit)
    stay = [door.came(fd, Guest(1000 + fd, pid), 100.0) for fd in range(count)]
    door.look(100.0)
    return door, stay


def test_at_the_limit_the_door_is_shut_and_who_is_inside_stays():
    door, stay = filled(9)
    assert (door.is_shut, all(stay), door.news()) == (False, True, [])
    door, stay = filled(10)
    assert (door.is_shut, all(stay)) == (True, True)
    assert door.news() == [Crowd("ipc://x", 10, False, 7, 10, 0)]


def test_what_came_in_before_it_was_shut_must_leave_and_is_told_once():
    door, stay = filled(13)
    assert stay == [True] * 10 + [False] * 3
    assert len(door.news()) == 1
    assert not door.came(20, Guest(1, 8), 101.0)
    assert door.news() == []


def test_it_opens_when_a_fifth_has_gone_and_the_crowd_is_over_ten_seconds_later():
    door, _ = filled(12)
    door.news()
    door.went([10, 11], 101.0)
    door.went([0, 1], 102.0)
    assert door.is_shut
    door.went([2], 103.0)
    assert not door.is_shut
    door.look(111.9)
    assert (door.is_crowded, door.news()) == (True, [])
    door.look(112.1)
    assert (door.is_crowded, door.news()) == (False, [Crowd("ipc://x", 10, True, 7, 7, 2)])


def test_a_crowd_that_comes_back_is_the_same_crowd():
    door, _ = filled(10)
    door.news()
    for now in (105.0, 110.0):
        door.went(range(5), now)
        for fd in range(5):
            door.came(fd, Guest(fd, 8), now + 1)
        door.look(now + 1)
        assert (door.is_shut, door.news()) == (True, [])


def test_a_descriptor_that_is_used_again_counts_once():
    door, _ = filled(5)
    for inode in range(20):
        assert door.came(3, Guest(inode, 9), 100.0)
    assert len(door.guests) == 5
    assert not door.is_shut


def test_a_stranger_must_leave_and_is_told_once():
    door = Door("ipc://x", 10)
    assert not door.came(1, Guest(1, 66), 100.0, is_stranger=True)
    assert not door.came(2, Guest(2, 66), 100.0, is_stranger=True)
    assert door.came(3, Guest(3, 67), 100.0)
    assert door.news() == [Stranger("ipc://x", 66)]


def test_connections_that_nobody_has_looked_at_yet_may_fill_it():
    door, _ = filled(7)
    assert not door.may_be_full(0)
    assert not door.may_be_full(2)
    assert door.may_be_full(3)
    full, _ = filled(12)
    assert not full.may_be_full(0)
    assert full.may_be_full(1)
