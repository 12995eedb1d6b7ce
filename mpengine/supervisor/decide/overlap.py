"""Finals without times that are heard again after a drop: the words both have are kept once. Pure.

Where a recogniser gives times, the ledger cuts by them. Without times only the words themselves tell: of a final of
replayed audio, the longest run of words that it shares with the finals of connections before its own (as far as they
are not acknowledged, and so were sent again) is cut. A word that was heard again once is not expected a second time.
"""

import difflib
from typing import NamedTuple

# One word in common says nothing.
_LEAST_WORDS = 2
_MOST_FINALS = 100


class _Final(NamedTuple):
    connection: int
    end: int
    words: list[str]


class Overlap:
    """The words of finals without times that may be heard again."""

    def __init__(self) -> None:
        self._finals: list[_Final] = []

    def published(self, connection: int, end: int, text: str) -> None:
        """A final of `connection` whose audio ends (by estimate) at `end` was published."""
        self._finals.append(_Final(connection, end, _plain(text.split())))
        del self._finals[:-_MOST_FINALS]

    def acknowledged(self, sample: int) -> None:
        """Nothing before `sample` will be sent again."""
        self._finals = [final for final in self._finals if final.end > sample]

    def cut(self, connection: int, text: str) -> str:
        """`text`, heard on `connection` of replayed audio, without what was published before."""
        earlier = [final for final in self._finals if final.connection < connection]
        before = [word for final in earlier for word in final.words]
        words = text.split()
        matcher = difflib.SequenceMatcher(None, before, _plain(words), autojunk=False)
        common = matcher.find_longest_match()
        if common.size < min(_LEAST_WORDS, len(words)) or not common.size:
            return text
        # In order: what was said before the words that came again has come again, or will not.
        self._forget(earlier, common.a + common.size)
        return " ".join(words[: common.b] + words[common.b + common.size :])

    def _forget(self, finals: list[_Final], count: int) -> None:
        """Take the first `count` words out of `finals`."""
        for final in finals:
            taken = min(count, len(final.words))
            del final.words[:taken]
            count -= taken


def _plain(words: list[str]) -> list[str]:
    """`words` as they compare: punctuation and case may come out differently the second time."""
    return [word.strip(".,;:!?\"'()").casefold() for word in words]
