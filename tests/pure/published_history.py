"""An engine that publishes, a follower, and the wire between them, made by hand."""

import json

from mpengine.client.follow import Ask, Follower, Sync
from mpengine.client.position import Deliver, Report
from mpengine.shared.messages import FINALS, KEPT, SnapshotAnswer


class Engine:
    """Publishes, keeps a history, is killed and started again: the wire contract in a few lines."""

    def __init__(self, most=None):
        self.runs = 0
        self.most = most
        self.published = []  # (run, topic, seq)
        self.boot_of = {}  # of those
        self.start_run()

    def start_run(self):
        self.runs += 1
        self.run, self.seq, self.boots = f"r{self.runs}", 0, 0
        self.kept = {topic: [] for topic in KEPT}
        self.forgotten = dict.fromkeys(KEPT, 0)
        self.start_boot()

    def start_boot(self):
        self.boots += 1
        self.boot = f"{self.run}b{self.boots}"
        self.began, self.last = self.seq, {}
        self.status = []  # the last one: a new subscription is answered with it

    def kill(self):
        """Its successor goes on with the run, and repeats the last final, as if it had not gone out."""
        self.seq += 10
        self.start_boot()
        again = [json.loads(body) | {"boot": self.boot} for _, body in self.kept[FINALS][-1:]]
        return [(FINALS, json.dumps(each).encode()) for each in again]

    def publish(self, topic, **fields):
        self.seq += 1
        fields |= {"run": self.run, "boot": self.boot, "seq": self.seq, "prev": self.last.get(topic, 0)}
        fields |= {"type": topic.split(".")[0], "is_final": topic == FINALS}
        if topic == "metrics":
            fields["last"] = {f"n.{other}": seq for other, seq in self.last.items()}
        self.last[topic] = self.seq
        body = json.dumps(fields).encode()
        if topic == "status":
            self.status = [(topic, body)]
        self.published.append((self.run, topic, self.seq))
        self.boot_of[self.published[-1]] = self.boots
        if topic in KEPT:
            shelf = self.kept[topic]
            shelf.append((self.seq, body))
            if self.most is not None and len(shelf) > self.most:
                self.forgotten[topic] = shelf.pop(0)[0]
        return [(topic, body)]

    def stop(self):
        """Its last words."""
        return [*self.publish("status", state="stopped"), *self.publish("metrics")]

    def snapshot(self, since, page=2):
        found = sorted(each for shelf in self.kept.values() for each in shelf if each[0] > since)
        messages = [body for _, body in found[:page]]
        return SnapshotAnswer(
            run=self.run,
            boot=self.boot,
            seq=self.seq,
            messages=messages,
            complete=dict(self.forgotten),
            more=len(found) > page,
        )


class Wire:
    """A follower, an engine, and what is on its way between them."""

    def __init__(self, engine, *, since="start", can_ask=True, topics=("",)):
        self.engine = engine
        self.follower = Follower(
            wants=lambda topic: any(topic.startswith(each) for each in topics), since=since, can_ask=can_ask
        )
        self.now = 0.0
        self.way, self.answers, self.replies = [], [], []
        self.connected = False
        self.syncs = 0
        self.got, self.holes = [], []
        self.first_boots = {}  # of each run the first that was heard

    def connect(self):
        self.connected = True
        self.way += self.engine.status
        if self.follower.asks:
            self.way += [("sync", self._sync(0)), ("sync", self._sync(self.syncs))]

    def disconnect(self):
        self.connected = False
        self.way.clear()

    def send(self, messages):
        if self.connected:
            self.way += messages

    def arrive(self, count=1):
        for _ in range(count):
            if not self.way:
                return
            topic, body = self.way.pop(0)
            if topic == "sync":
                self.perform(self.follower.synced(*body))
            else:
                stamp = json.loads(body)
                self.first_boots.setdefault(stamp["run"], int(stamp["boot"].rpartition("b")[2]))
                self.perform(self.follower.heard(topic, body))

    def answer(self):
        """The engine answers; or its answer arrives, and what was published meanwhile is newer."""
        if self.answers:
            number, since = self.answers.pop(0)
            self.replies.append((number, self.engine.snapshot(since)))
        elif self.replies:
            number, answer = self.replies.pop(0)
            self.perform(self.follower.answered(number, answer))

    def look(self):
        """As a feed does: what was published, what was answered, then the time. What it asks is answered later."""
        asked, self.answers = self.answers, []
        self.arrive(len(self.way))
        for number, since in asked:
            self.perform(self.follower.answered(number, self.engine.snapshot(since)))
        self.perform(self.follower.tick(self.now))

    def perform(self, actions):
        for action in actions:
            match action:
                case Sync(number):
                    self.syncs = number
                    self.send([("sync", self._sync(number))])
                case Ask(number, since):
                    self.answers.append((number, since))
                case Report(hole):
                    self.holes.append(hole)
                case Deliver(topic, body):
                    stamp = json.loads(body)
                    self.got.append((stamp["run"], topic, stamp["seq"]))

    def run_dry(self):
        """Let everything arrive that is on its way."""
        for _ in range(1000):
            if not (self.way or self.answers or self.replies):
                return
            self.arrive()
            self.answer()
        raise AssertionError("it asks for ever")

    def settle(self):
        """No more faults: connected, a few metrics, and time."""
        if not self.connected:
            self.connect()
        for _ in range(15):
            self.send(self.engine.publish("metrics"))
            self.run_dry()
            self.now += 1.0
            self.perform(self.follower.tick(self.now))
        assert self.follower.is_live

    def _sync(self, number):
        return number, self.engine.run, self.engine.boot, self.engine.seq, self.engine.began

    def seqs(self, topic=FINALS):
        return [seq for _, each, seq in self.got if each == topic]


def connected(engine, **options):
    wire = Wire(engine, **options)
    wire.connect()
    wire.run_dry()
    return wire
