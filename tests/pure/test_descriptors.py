"""The descriptors that are kept back for new children."""

import os

from mpengine.supervisor.host.descriptors import Reserve


def count():
    return len(os.listdir("/proc/self/fd"))


def test_the_reserve_is_free_while_it_is_used_and_small_where_there_are_few():
    before = count()
    reserve = Reserve(1024)
    assert count() == before + 12
    with reserve.used():
        assert count() == before
    assert count() == before + 12
    reserve.close()
    reserve = Reserve(40)
    assert count() == before + 2
    reserve.close()
    assert count() == before
