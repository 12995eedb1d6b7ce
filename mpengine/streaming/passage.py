"""How far the recogniser is with the audio of a connection, also where it says nothing in silence. Pure."""

import bisect
import collections

_NEAR_S = 1.0
_MUTE_S, _DELAYS = 10.0, 4
_LOG_STEP_S, _LOGGED = 0.5, 600
_MOST_ANSWERS = 1000  # in a second


class Passage:
    """Decides up to which sample the recogniser of the current connection is done: no words will come for that audio.

    It is done with audio that lies a second before audio of which it has spoken, with words or without. Some
    recognisers say nothing in silence. Such a one is done with audio that was sent ten seconds ago, or four times its
    longest delay, whichever is more, if it has answered a later ping and had words on this connection. A recogniser may
    need as long for audio as the audio lasts: what is sent faster counts as sent in real time.

    `answers`: channel, count of channels, the end of the samples that the message is about (None: it has no times),
    whether it has words, whether these may change, and when it came.
    """

    def __init__(self, sample_rate: int, hold_s: float) -> None:
        self._rate = sample_rate
        self._hold_s = hold_s
        self._longest_delay_s = 0.0
        self.connected()

    def connected(self) -> None:
        """A new connection begins."""
        self.answers: collections.deque[tuple[int, int, int | None, bool, bool, float]]
        self.answers = collections.deque(maxlen=_MOST_ANSWERS)
        self._ends: dict[int, int] = {}  # of the samples that were spoken of, by channel
        self._channels = 1
        self._has_words = False
        self._count = 0
        self._times: list[float] = []  # when audio counts as sent, in steps, and the end of that audio
        self._sent: list[int] = []

    def sent(self, end_sample: int, count: int, now: float) -> None:
        """`count` samples have been sent on this connection; the last of them ends at `end_sample`."""
        if self._times and now < self._times[-1] + _LOG_STEP_S and count - self._count < _LOG_STEP_S * self._rate:
            return
        in_real_time = (self._times[-1] if self._times else now) + (count - self._count) / self._rate
        self._times.append(max(now, in_real_time))
        self._sent.append(end_sample)
        self._count = count
        del self._times[:-_LOGGED], self._sent[:-_LOGGED]

    def end(self, now: float, answered_ping: float) -> int:
        """The recogniser is done with the audio before this sample. `answered_ping`: when that ping was sent."""
        ends, rate = self._ends, self._rate
        for channel, channels, end, has_words, may_change, came_at in self.answers:
            if end is not None and not may_change:
                self._channels, ends[channel] = channels, max(ends.get(channel, 0), end)
            if has_words:
                self._has_words = True
                self._longest_delay_s = max(self._longest_delay_s, self._delay_s(end, came_at))
        self.answers.clear()
        counted = range(self._channels) if self._channels > 1 else ends  # some servers give no count of channels
        spoken_of = min([ends.get(channel, 0) for channel in counted], default=0) - round(_NEAR_S * rate)
        sent_by = min(answered_ping, now - max(_MUTE_S, _DELAYS * self._longest_delay_s))
        number = bisect.bisect_right(self._times, sent_by)
        return max(0, spoken_of, self._sent[number - 1] if number and self._has_words else 0)

    def _delay_s(self, end: int | None, came_at: float) -> float:
        """How long after its audio, which ends at sample `end`, a message came."""
        if end is None:
            return self._hold_s
        number = bisect.bisect_left(self._sent, end)
        return came_at - self._times[number] if number < len(self._sent) else 0.0
