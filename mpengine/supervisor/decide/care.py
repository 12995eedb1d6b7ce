"""The children's lives: who is started, who hangs, who is due again. Pure; the coordinator says what is expected."""

from collections.abc import Callable, Iterable

from mpengine.shared import messages
from mpengine.shared.config.tables import SupervisorConfig
from mpengine.supervisor.decide.actions import Abort, Action, Child, Kill, Log, Publish, Spawn
from mpengine.supervisor.decide.life import Ended, Life


class Care:
    """One life a child. `chance` gives random numbers in [0, 1)."""

    def __init__(
        self, children: Iterable[Child], policy: SupervisorConfig, *, chance: Callable[[], float], now: float
    ) -> None:
        self.lives = {child: Life(policy, now) for child in children}
        self._chance = chance

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min(life.deadline for life in self.lives.values())

    @property
    def alive(self) -> list[Child]:
        """Those of which a process exists."""
        return [child for child, life in self.lives.items() if life.is_alive]

    def stands_still_s(self, now: float) -> float:
        """For how long nothing has come of work that is expected of a child."""
        return max(life.stands_still_s(now) for life in self.lives.values())

    def tick(self, now: float) -> list[Action]:
        """Spawn what is due, end what hangs."""
        actions: list[Action] = []
        for child, life in self.lives.items():
            if life.is_due(now):
                actions.append(Spawn(child))
            elif why := life.hangs(now):
                actions += self._hung(child, life, why, now)
        return actions

    def _hung(self, child: Child, life: Life, why: str, now: float) -> list[Action]:
        if life.has_complained:  # it did not end by that: it is stopped, or cannot die yet
            life.killing(now)
            return [Kill(child)]
        text = f"{child} hangs: {why}; restarting (the log has its stacks, if it can still tell)"
        life.complained(text)
        life.aborting(now)
        return [Log("error", "hung", {"child": child, "reason": why}), error(child, "hung", text), Abort(child)]

    def overslept(self, now: float) -> None:
        """The supervisor was not awake: nobody's silence counts."""
        for life in self.lives.values():
            life.overslept(now)

    def spawn_failed(self, child: Child, why: str, now: float) -> list[Action]:
        """A process could not be started; the next try obeys the same backoff."""
        life = self.lives[child]
        life.reason = why
        life.failed(now, self._chance())
        return [Log("error", "spawn_failed", {"child": child, "reason": why})]

    def exited(self, child: Child, status: int, now: float) -> Ended:
        """A process has ended."""
        return self.lives[child].exited(status, now, self._chance())

    def stopping(self) -> None:
        """All are told to end: none is started again."""
        for life in self.lives.values():
            life.stopping()


def error(child: Child, code: str, text: str, *, fatal: bool = False) -> Action:
    """What is published of a child's fault."""
    return Publish(messages.Error(source=child, code=code, message=text, fatal=fatal))
