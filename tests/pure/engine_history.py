"""A coordinator whose history a test makes by hand: time, its children, and the words they say."""

from mpengine.shared import control
from mpengine.shared.config import Config
from mpengine.supervisor.decide.actions import Child, LookAt, Publish, Send, Spawn, Terminate
from mpengine.supervisor.decide.coordinator import Coordinator
from tests.pure.support import of_kind, result

CAPTURE, STREAMING, RECOGNISER = Child.CAPTURE, Child.STREAMING, Child.RECOGNISER
S = 16000
BYOK = {"remote": {"mode": "byok", "byok_api_key": "k"}}
CONNECTED_FIRST = {**BYOK, "audio": {"start": "connected"}}
FILE = {**BYOK, "audio": {"source": "talk.wav"}}
LOCAL = {"remote": {"mode": "local"}}
SIGKILL = -9


class Engine:
    """A coordinator, with children that exist as long as it is told so; time is set by hand."""

    def __init__(self, tables=BYOK, now=100.0):
        self.now = now
        self.coordinator = Coordinator(Config.parse(tables), chance=lambda: 1.0, now=now)
        self._next_pid = 1000
        self.looks = {}  # what is to be seen of a child at a time; nothing, as without /proc

    def tick(self, now=None):
        """Let time pass; what is decided. Children that are to be spawned are, and so are those to be looked at."""
        self.now = self.now if now is None else now
        actions = []
        for action in self.coordinator.tick(self.now):
            if isinstance(action, LookAt):
                see = self.looks.get(action.child, lambda _: None)
                actions += self.coordinator.lives.looked(action.child, see(self.now), self.now)
            else:
                actions.append(action)
        for spawn in of_kind(actions, Spawn):
            self._next_pid += 1
            self.coordinator.spawned(spawn.child, self._next_pid, self.now)
        return actions

    def says(self, child, *several):
        """A child says these; what is decided."""
        return [action for message in several for action in self.coordinator.heard(child, message, self.now)]

    def beats(self, *, captured, sent=None):
        self.says(CAPTURE, control.CaptureBeat(captured=captured))
        sent = captured if sent is None else sent
        self.says(STREAMING, control.StreamBeat(sent=sent, highest_sent=sent, replayed=0))

    def ends(self, child, status):
        return self.coordinator.exited(child, status, self.now)

    def stop(self):
        return self.coordinator.stop(self.now, "SIGTERM")

    def status(self):
        coordinator = self.coordinator
        return coordinator.situation.status(coordinator.lives, coordinator.phase.name, self.now)

    # Whole stretches of a history

    def start(self):
        """Everything is spawned and has said hello."""
        self.tick()
        for child in self.coordinator.lives:
            self.says(child, hello())
        return self

    def connect(self, number=1):
        return self.says(STREAMING, connecting(number), ready(number))

    def hears(self, captured=S):
        """The device is open, and has given the audio before sample `captured`; what is decided."""
        return self.says(CAPTURE, device_opened(), control.CaptureBeat(captured=captured))

    def run(self):
        """Everything runs: the device is open, the recogniser connected, two seconds were sent."""
        self.start()
        self.says(CAPTURE, device_opened())
        self.connect()
        self.beats(captured=2 * S)
        self.status()  # as in every turn of the supervisor's loop
        return self


def hello():
    return control.Hello(pid=1)


def device_opened():
    return control.DeviceOpened(name="USB", sample_rate=S, channels=1, latency_s=0.08)


def connecting(number):
    return control.Connecting(connection=number, endpoint="wss://service")


def ready(number):
    return control.ConnectionReady(connection=number, endpoint="wss://service", request_id="r")


def down(number, reason="reset"):
    return control.ConnectionDown(connection=number, reason=reason, next_try_in_s=0.5)


def heard(first, end, *, connection=1, is_final=True, text="words", acknowledges=None, **fields):
    if is_final and acknowledges is None:
        acknowledges = end
    return result(first, end, text, is_final=is_final, acknowledges=acknowledges, connection=connection, **fields)


def published(actions, kind=None):
    found = [action.message for action in of_kind(actions, Publish)]
    return of_kind(found, kind) if kind else found


def sent(actions):
    """The commands, but for what streaming is to expect."""
    return [send for send in of_kind(actions, Send) if not isinstance(send.message, control.Expect)]


def expected(actions):
    """What streaming is told of the audio to come, in order."""
    assert all(send.child is STREAMING for send in of_kind(actions, Send) if send not in sent(actions))
    return [send.message.audio for send in of_kind(actions, Send) if send not in sent(actions)]


def resumes(actions):
    """The grants to send, in order."""
    return [send.message for send in sent(actions) if isinstance(send.message, control.Grant)]


def leaves(actions):
    """Who is told to end now."""
    return {action.child for action in of_kind(actions, Terminate)}


def ended_file(*, connected=True):
    """A file of three seconds is over; two of them were sent, one is acknowledged."""
    engine = Engine(FILE).run() if connected else Engine(FILE).start()
    engine.says(CAPTURE, control.SourceEnded(end=3 * S))
    if connected:
        engine.says(STREAMING, heard(0, S))
    return engine


def quiet(engine, until, **beats):
    """Time passes; both say that they are well, and how far they are."""
    actions = []
    while engine.now < until:
        engine.now += 1.0
        engine.beats(**{name: value(engine.now) for name, value in beats.items()})
        actions += engine.tick()
    return actions
