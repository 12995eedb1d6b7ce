"""The descriptors that are kept back for new children."""

import os
import resource

import pytest

from mpengine.shared.errors import MpengineError
from mpengine.supervisor.host.descriptors import Reserve, raise_limit


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


@pytest.mark.parametrize(
    ("soft", "hard", "raised"), [(1024, 4096, 4096), (1024, 1 << 30, 65_536), (100_000, -1, 100_000)]
)
def test_the_limit_is_raised_as_far_as_the_system_allows_and_is_of_use(monkeypatch, soft, hard, raised):
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.append(both))
    assert raise_limit() == raised
    assert limits == ([(raised, hard)] if raised != soft else [])


def test_too_few_descriptors_are_told_in_words(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, 32))
    with pytest.raises(MpengineError, match="allows 32 descriptors, and an engine needs 64"):
        raise_limit()
