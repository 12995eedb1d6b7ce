"""Two hosts on one machine: network namespaces with a cable between them, which end with their holders."""

import shutil
import subprocess
from types import TracebackType
from typing import Self

from tests.rig.waiting import wait_until

FIRST, SECOND = "10.77.16.1", "10.77.16.2"


class TwoHosts:
    """As a context manager: `first` and `second` are the commands that run another one there."""

    def __init__(self) -> None:
        self._holders: list[subprocess.Popen[bytes]] = []

    @staticmethod
    def trouble() -> str:
        """Why there can be none here; empty if there can."""
        missing = [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]
        if missing:
            return f"no {missing[0]} here"
        try:
            with TwoHosts():
                return ""
        except (subprocess.CalledProcessError, AssertionError) as error:
            return f"this system makes no network namespaces with a cable: {error}"

    def __enter__(self) -> Self:
        try:
            for _ in range(2):
                holder = subprocess.Popen(
                    ["unshare", "--net", "sh", "-c", "echo; exec cat"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
                self._holders.append(holder)
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"\n", "unshare"
            one, two = (str(holder.pid) for holder in self._holders)
            cable = ["ip", "link", "add", "cable", "netns", one, "type", "veth", "peer", "name", "cable", "netns", two]
            _do(*cable)
            for inside, address in ((self.first, FIRST), (self.second, SECOND)):
                _do(*inside, "ip", "addr", "add", f"{address}/24", "dev", "cable")
                _do(*inside, "ip", "link", "set", "cable", "up")
                _do(*inside, "ip", "link", "set", "lo", "up")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for holder in self._holders:
            with holder:  # closes its input, upon which it ends
                pass

    @property
    def first(self) -> tuple[str, ...]:
        """Runs a command on the host FIRST."""
        return self._inside(0)

    @property
    def second(self) -> tuple[str, ...]:
        """Runs a command on the host SECOND."""
        return self._inside(1)

    def _inside(self, number: int) -> tuple[str, ...]:
        return ("nsenter", "--target", str(self._holders[number].pid), "--net", "--")


def _do(*words: str) -> None:
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)


def listens(inside: tuple[str, ...], address: str, timeout: float) -> None:
    """Wait until somebody accepts connections at `address` (HOST:PORT), as seen from there."""
    host, _, port = address.rpartition(":")
    words = [*inside, "bash", "-c", f": < /dev/tcp/{host}/{port}"]
    wait_until(lambda: not subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode, timeout, address)
