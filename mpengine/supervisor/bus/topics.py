"""Which subscriptions are taken: so many of each connection, and none that are too long. Pure.

A connection is known by its descriptor and its socket's inode: another one may get the same descriptor later.
"""

import enum


class Verdict(enum.Enum):
    """What becomes of a subscription."""

    TAKEN = enum.auto()
    TOO_LONG = enum.auto()  # told once for each connection
    REFUSED = enum.auto()  # without a word
    TOO_MANY = enum.auto()  # its connection is to be ended
    LATE = enum.auto()  # its connection was ended


class Topics:
    """The topics of all connections."""

    def __init__(self, *, most: int, longest: int) -> None:
        self._most, self._longest = most, longest
        self._peers: dict[int, _Peer] = {}  # by descriptor, so that there are no more than connections

    def wanted(self, peer: tuple[int, int], topic: bytes) -> Verdict:
        """The connection `peer` (descriptor, inode) wants `topic`."""
        fd, inode = peer
        if not inode:
            return Verdict.LATE
        known = self._peers.get(fd)
        if known is None or known.inode != inode:
            known = self._peers[fd] = _Peer(inode)
        if known.is_expelled:
            return Verdict.LATE
        known.topics.add(topic)
        if len(known.topics) > self._most:
            known.is_expelled = True
            known.topics.clear()
            return Verdict.TOO_MANY
        if len(topic) <= self._longest:
            return Verdict.TAKEN
        is_first, known.is_told = not known.is_told, True
        return Verdict.TOO_LONG if is_first else Verdict.REFUSED

    def ended(self, peer: tuple[int, int], topic: bytes) -> None:
        """The connection wants `topic` no longer."""
        known = self._peers.get(peer[0])
        if known is not None and known.inode == peer[1]:
            known.topics.discard(topic)


class _Peer:
    def __init__(self, inode: int) -> None:
        self.inode = inode
        self.topics: set[bytes] = set()
        self.is_told = self.is_expelled = False
