"""Hypothesis in these tests: the same examples in every run, and nothing left on disk."""

from hypothesis import settings

settings.register_profile("pure", derandomize=True, deadline=None, database=None)
settings.load_profile("pure")
