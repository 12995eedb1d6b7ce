"""A service manager's end of sd_notify(3)."""

import os
import socket

from tests.rig.waiting import PATIENCE_S, wait_until


class Manager:
    """A datagram socket at a path or, with @, at an abstract name; without an address at an abstract one of its own."""

    def __init__(self, address: str = "", **environment: str) -> None:
        self.address = address or f"@mpengine-{os.urandom(8).hex()}"
        self.environment = {"NOTIFY_SOCKET": self.address, **environment}
        self.lines: list[str] = []
        self.listen()

    def listen(self) -> None:
        """Be there, perhaps again."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.address[1:]}" if self.address.startswith("@") else self.address)
        self._socket.setblocking(False)

    def received(self) -> list[dict[str, str]]:
        """The notices that wait, each as a dict."""
        notices = []
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                return notices
            self.lines += text.split("\n")
            notices.append(dict(line.split("=", 1) for line in text.split("\n")))

    def count(self, line: str) -> int:
        """How often `line` has come until now."""
        self.received()
        return self.lines.count(line)

    def wait_for(self, line: str, times: int = 1, timeout: float = PATIENCE_S) -> None:
        """Wait until `line` has come so often."""
        wait_until(lambda: self.count(line) >= times, timeout, f"{times} x {line}")

    def vanish(self) -> None:
        """Be gone, the path too."""
        self._socket.close()
        os.unlink(self.address)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
