"""A session whose history a test makes by hand: what its peer does, the audio, and time."""

import json

from mpengine.dialects.deepgram import ByokConfig
from mpengine.dialects.managed import ManagedConfig
from mpengine.shared.config_tables import AudioConfig, Secret
from mpengine.shared.frames import Frame
from mpengine.streaming.actions import Mention, SendClose, SendText, Tell
from mpengine.streaming.placing import Placing
from mpengine.streaming.session import Session, State
from mpengine.streaming.websocket.events import Failed, Opened, PongReceived, Received
from tests.pure.support import RUN, of_kind, pcm

S = 16000
BYOK_REMOTE = ByokConfig(byok_url="wss://service/v1/listen", byok_api_key=Secret("KEY"))
BYOK = BYOK_REMOTE.dialect(AudioConfig())
MANAGED = ManagedConfig(server_url="proxy", auth_token=Secret("TOKEN")).dialect(AudioConfig())
READY = Received('{"type":"ready"}')
READY_TO_FINALIZE = Received('{"type":"ready","features":["finalize"]}')
TRANSCRIPT = Received('{"type":"transcript","text":"words","is_final":true}')
SESSION_END = Received('{"type":"session_end","seconds_used":1}')
METADATA = Received('{"type":"Metadata","duration":1.0}')


def new_session(
    dialect=BYOK,
    *,
    now=100.0,
    pace=None,
    chance=1.0,
    first_connection=1,
    expects_audio=True,
    sent_before=0,
    hold_s=3.0,
    refusals_end=True,
):
    return Session(
        dialect=dialect,
        placing=Placing(sample_rate=S, sample_bytes=2, hold_s=hold_s, sent_before=sent_before),
        pace=pace,
        first_connection=first_connection,
        expects_audio=expects_audio,
        chance=lambda: chance,
        now=now,
        refusals_end=refusals_end,
    )


def ready_session(dialect=BYOK, *, now=100.0, ready=READY, **options):
    """A session whose recogniser takes audio."""
    session = new_session(dialect, now=now, **options)
    session.tick(now)
    session.event(Opened({"dg-request-id": "r-1"}), now)
    if dialect is MANAGED:
        session.event(ready, now)
    assert session.state is State.READY
    return session


def closing_session():
    """A session that has waited for a proxy's last words and then sent its close frame, at second 103."""
    session = finishing_session(MANAGED)
    assert acted(session.tick(103.0)) == [SendClose(1000)]
    return session


def finishing_session(dialect=BYOK, *, now=100.0, **options):
    """A session that has sent a second of audio and the end mark."""
    session = ready_session(dialect, now=now, **options)
    session.audio(frame(0, S), now)
    session.end(end_mark(S), now)
    return session


def frame(first, end, grant=1):
    return Frame(RUN, grant, first, pcm(first, end))


def end_mark(sample, grant=1):
    return Frame(RUN, grant, sample, b"", is_last=True)


def results(start, duration, *, is_final=True, text="words"):
    alternatives = [{"transcript": text}]
    message = {"type": "Results", "start": start, "duration": duration, "is_final": is_final}
    return Received(json.dumps({**message, "channel": {"alternatives": alternatives}}))


def told(actions, *kinds):
    """The messages to the supervisor, of these kinds."""
    messages = [action.message for action in of_kind(actions, Tell, Mention)]
    return of_kind(messages, *kinds) if kinds else messages


def acted(actions):
    """What is done, without what is told."""
    return [action for action in actions if not isinstance(action, (Tell, Mention))]


def keep_alives(session, first, end):
    """When a KeepAlive went out, of ticks at every tenth of a second."""
    ticks = [now / 10 for now in range(round(first * 10), round(end * 10))]
    answered = [(now, session.tick(now), session.event(PongReceived(b""), now)) for now in ticks]
    return [now for now, actions, _ in answered if SendText('{"type":"KeepAlive"}') in actions]


def waiting_session(**options):
    """A session whose connection was lost at second 101; the next try is due at 101.5."""
    session = ready_session(**options)
    session.event(Failed("reset"), 101.0)
    return session
