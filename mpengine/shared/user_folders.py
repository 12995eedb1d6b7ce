"""The folders of this user for configurations, notes and caches, as the XDG Base Directory Specification has them."""

import os
from collections.abc import Mapping
from typing import Literal

from mpengine.shared.errors import MpengineError

_USUAL = {"CONFIG": "~/.config", "STATE": "~/.local/state", "CACHE": "~/.cache"}


def user_folder(kind: Literal["CONFIG", "STATE", "CACHE"], environment: Mapping[str, str]) -> str:
    """The folder of this user's files of `kind`: that of the variable, otherwise the usual one.

    It begins with ~ for a user without a home folder.
    """
    folder = environment.get(_variable(kind), "")
    # The specification has a relative path ignored.
    return folder if os.path.isabs(folder) else os.path.expanduser(_USUAL[kind])


def folder_to_write(kind: Literal["STATE", "CACHE"], environment: Mapping[str, str]) -> str:
    """See `user_folder`. Raises MpengineError for a user without a home folder."""
    folder = user_folder(kind, environment)
    if not os.path.isabs(folder):
        raise MpengineError(f"this user has no home folder; set {_variable(kind)}")
    return folder


def _variable(kind: str) -> str:
    return f"XDG_{kind}_HOME"
