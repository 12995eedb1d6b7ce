"""Links to pages of the reference, in words: a terminal has no others. Pure."""

import re

_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<page>\w+)\.md(?:#[\w-]+)?\)")


def in_words(text: str, command: str) -> str:
    """`text`, in Markdown, that names the page of a link behind it, as in ``devices (mpengine help microphones)``.

    `command` stands before the page's name.
    """
    return _LINK.sub(rf"\g<text> ({command} \g<page>)", text)
