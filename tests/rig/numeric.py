"""numpy and soxr, loaded without OpenBLAS's threads: from Python 3.12 on, a process with threads must not fork."""

import os

_before = os.environ.get("OPENBLAS_NUM_THREADS")
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np  # noqa: E402
import soxr  # noqa: E402

if _before is None:  # what the tests start must find its own way
    del os.environ["OPENBLAS_NUM_THREADS"]
else:
    os.environ["OPENBLAS_NUM_THREADS"] = _before

__all__ = ["np", "soxr"]
