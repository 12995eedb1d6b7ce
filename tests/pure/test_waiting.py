"""Full jitter under an exponential ceiling."""

import pytest

from mpengine.shared.deciding import full_jitter_s


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (8, 30.0), (60, 30.0), (10**6, 30.0)],
)
def test_the_longest_wait_doubles_up_to_the_ceiling(attempt, ceiling):
    assert full_jitter_s(attempt, base_s=0.5, ceiling_s=30.0, chance=1.0) == ceiling


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.999])
def test_the_wait_is_the_share_that_chance_says(chance):
    assert full_jitter_s(3, base_s=0.5, ceiling_s=30.0, chance=chance) == pytest.approx(2.0 * chance)


def test_a_base_above_the_ceiling_is_cut():
    assert full_jitter_s(1, base_s=10.0, ceiling_s=2.0, chance=0.5) == 1.0
