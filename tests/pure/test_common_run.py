"""The longest common run of words, against the standard library's slower way."""

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.supervisor.decide.common_run import Run, longest_common_run
from tests.pure.support import within

words = st.lists(st.sampled_from("abc"), max_size=30)


@given(a=words, b=words)
def test_it_is_that_of_the_standard_library(a, b):
    match = difflib.SequenceMatcher(None, a, b, autojunk=False).find_longest_match()
    found = longest_common_run(a, b)
    assert found.size == match.size
    if match.size:
        assert found == Run(match.a, match.b, match.size)


@pytest.mark.parametrize(("a", "b"), [([], []), (["a"], []), ([], ["a"]), (["a"], ["b"])])
def test_nothing_in_common_has_no_length(a, b):
    assert longest_common_run(a, b).size == 0


@pytest.mark.parametrize("period", [1, 2, 7])
def test_long_lists_of_few_words_take_no_long_time(period):
    a, b = ([str(n % period) for n in range(count)] for count in (50_000, 40_000))
    with within(10):
        assert longest_common_run(a, b) == Run(0, 0, 40_000)
