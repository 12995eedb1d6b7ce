"""`mpengine version` prints the version, as `mpengine --version` does."""

import argparse

import mpengine
from mpengine.shared.errors import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def main(_: argparse.Namespace) -> int:
    """Print the version."""
    print(f"mpengine {mpengine.__version__}")
    return int(ExitCode.OK)
