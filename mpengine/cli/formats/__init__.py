"""What `mpengine listen` writes: each format is one module, and one line in `FORMATS`. Nothing is loaded but by `load`.

A format is a subclass of `base.Format`.
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpengine.cli.formats.base import Format


# By their names, which end the names of their files, too: MODULE.CLASS, and what users are told of it.
FORMATS = {
    "text": ("captions.Text", "captions"),
    "jsonl": ("jsonl.JsonLines", "every message, a line each"),
    "srt": ("subtitles.SubRip", "subtitles"),
    "vtt": ("subtitles.WebVtt", "subtitles, with notes on what is lost"),
}


def name_for(path: str) -> str:
    """The name of the format that a file at `path` has by its name; that of text if it does not say."""
    ending = os.path.splitext(path)[1][1:].lower()
    return ending if ending in FORMATS else "text"


def load(name: str) -> "type[Format]":
    """The format of that name."""
    module, _, class_name = FORMATS[name][0].partition(".")
    found: type[Format] = getattr(importlib.import_module(f"{__name__}.{module}"), class_name)
    return found
