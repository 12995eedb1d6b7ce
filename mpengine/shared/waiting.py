"""Times to wait: a deadline that never comes, and the backoff before the next try. Pure."""

NEVER = float("inf")


def full_jitter_s(attempt: int, *, base_s: float, ceiling_s: float, chance: float) -> float:
    """Seconds before try `attempt` + 1, after `attempt` (counted from 1) failed.

    `chance` is a random number in [0, 1): the wait is that share of ``min(ceiling_s, base_s * 2 ** (attempt - 1))``.
    It is called "full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    # The exponent is capped: after a month of tries 2 ** attempt would not fit a float.
    return chance * min(ceiling_s, base_s * 2.0 ** min(attempt - 1, 60))
