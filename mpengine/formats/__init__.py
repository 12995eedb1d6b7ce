"""The output formats of `mpengine listen`. Each is a subclass of `base.Format` and one line in `FORMATS`.

A format's module is loaded only by `load`.
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpengine.formats.base import Format


# Each name, but for "text", is also the ending of such a file's name. It maps to MODULE.CLASS and to the words for
# `--help`.
FORMATS = {
    "text": ("captions.Text", "captions"),
    "jsonl": ("jsonl.JsonLines", "every message, one JSON object per line"),
    "srt": ("subtitles.SubRip", "subtitles"),
    "vtt": ("subtitles.WebVtt", "subtitles, with notes on gaps and lost results"),
}


def name_for(path: str) -> str:
    """The name of the format that the ending of `path` names; "text" for any other ending."""
    ending = os.path.splitext(path)[1][1:].lower()
    return ending if ending in FORMATS else "text"


def ending_of(name: str) -> str:
    """The ending of a file in the format called `name`, without a dot."""
    return "txt" if name == "text" else name


def load(name: str) -> "type[Format]":
    """The format called `name`."""
    module, _, class_name = FORMATS[name][0].partition(".")
    found: type[Format] = getattr(importlib.import_module(f"{__name__}.{module}"), class_name)
    return found
