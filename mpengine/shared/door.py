"""Counts the connections of one endpoint, and decides who must leave and when nobody may come in. Pure.

A connection is known by its descriptor, which another one may have later: a new connection takes the place of the old.
"""

import collections
from collections.abc import Iterable
from typing import NamedTuple

# At the limit the door is shut. It opens when so much of the limit is left, or it would open and shut all the time.
_OPENS_AT = 0.8
# So long after the last time that somebody was too much, the crowd is over.
_OVER_S = 10.0
_MOST_NEWS = 10


class Guest(NamedTuple):
    """One connection. `inode`: of its socket. `pid`: its process's, 0 where the system does not say it."""

    inode: int
    pid: int


class Crowd(NamedTuple):
    """What there is to tell about an endpoint with too many connections.

    `is_over`: no longer. `pid`: the process with the most connections, which has `most` of them; 0: unknown.
    `refused`: how many connections were ended.
    """

    endpoint: str
    limit: int
    is_over: bool
    pid: int
    most: int
    refused: int


class Stranger(NamedTuple):
    """A process that has no business at an endpoint came there, and its connection was ended."""

    endpoint: str
    pid: int


class Door:
    """The door of `endpoint`, which lets in `limit` connections."""

    def __init__(self, endpoint: str, limit: int) -> None:
        self._endpoint, self._limit = endpoint, limit
        self._guests: dict[int, Guest] = {}
        self.is_shut = False
        """Whether nobody may come in. Who is inside stays."""
        self.is_crowded = False
        """Whether there are, or were a moment ago, too many."""
        self._crowded_at = 0.0
        self._refused = 0
        self._stranger = 0  # the one that was told last
        self._news: list[Crowd | Stranger] = []

    @property
    def guests(self) -> dict[int, Guest]:
        """The connections by descriptor."""
        return self._guests

    def came(self, fd: int, guest: Guest, now: float, *, is_stranger: bool = False) -> bool:
        """A connection has been accepted. False: it must be ended, as one too many or as a stranger's."""
        self._guests[fd] = guest
        is_surplus = len(self._guests) > self._limit
        if is_surplus or (self.is_shut and not is_stranger):
            self._is_shut_at(now)
        if is_surplus:
            self._refused += 1
        if is_stranger and guest.pid != self._stranger and len(self._news) < _MOST_NEWS:
            self._stranger = guest.pid
            self._news.append(Stranger(self._endpoint, guest.pid))
        return not (is_surplus or is_stranger)

    def may_be_full(self, count: int) -> bool:
        """Whether `count` connections that have been accepted, and are not known yet, may reach the limit."""
        return bool(count) and len(self._guests) + count >= self._limit

    def went(self, fds: Iterable[int], now: float) -> None:
        """These connections have ended."""
        for fd in fds:
            self.forget(fd)
        self.look(now)

    def forget(self, fd: int) -> None:
        """No connection of this endpoint has `fd` any more."""
        self._guests.pop(fd, None)

    def look(self, now: float) -> None:
        """Shut or open the door by the number of connections."""
        if len(self._guests) >= self._limit:
            self._is_shut_at(now)
        elif len(self._guests) < self._limit * _OPENS_AT:
            self.is_shut = False
        if self.is_shut:
            self._crowded_at = now
        if self.is_crowded and not self.is_shut and now - self._crowded_at > _OVER_S:
            self.is_crowded = False
            self._news.append(self._crowd(is_over=True))
            self._refused = 0

    def news(self) -> list[Crowd | Stranger]:
        """What has come up since the last call."""
        news, self._news = self._news, []
        return news

    def _is_shut_at(self, now: float) -> None:
        self.is_shut = True
        self._crowded_at = now
        if not self.is_crowded:
            self.is_crowded = True
            self._news.append(self._crowd(is_over=False))

    def _crowd(self, *, is_over: bool) -> Crowd:
        pids = collections.Counter(guest.pid for guest in self._guests.values() if guest.pid)
        ((pid, most),) = pids.most_common(1) or ((0, 0),)
        return Crowd(self._endpoint, self._limit, is_over, pid, most, self._refused)
