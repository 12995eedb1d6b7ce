"""An HTTP proxy that opens tunnels to one server, whatever host it is asked for, and says back what it was told."""

import base64
import contextlib
import select
import socket
import threading
from typing import Self

from tests.rig.serving import reserve_port
from tests.rig.waiting import PREFIX

_MOST_BYTES = 65536
_TURN_S = 0.2


class Tunnel:
    """Context manager. `server_port`: where all tunnels of 127.0.0.1 lead. `user` and `password` are asked for.

    The first `refusals` requests are refused, with all that they said in the answer.
    """

    def __init__(self, server_port: int, *, user: str, password: str, refusals: int = 0) -> None:
        self.port = reserve_port()
        self.asked: list[str] = []
        """the first line of each request that was granted"""
        self._server_port, self._refusals = server_port, refusals
        self._basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._threads: list[threading.Thread] = []
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(_TURN_S)
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for each in self._threads:
            each.join()
        self._listener.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name=f"{PREFIX}tunnel")  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(TimeoutError):
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(10.0)
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(_MOST_BYTES)
            said = request.decode()
            if self._refusals > 0 or self._basic not in said:
                self._refusals -= 1
                told = said.replace("\r\n", " ").strip()
                head = f"HTTP/1.1 407 {told}\r\nX-You-Said: {told}\r\nContent-Length: {len(told)}\r\n\r\n{told}"
                client.sendall(head.encode())
                return
            self.asked.append(said.partition("\r\n")[0])
            with socket.create_connection(("127.0.0.1", self._server_port)) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._pump(client, server)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        while not self._is_over.is_set():
            for each in select.select(list(other), [], [], _TURN_S)[0]:
                if not (data := each.recv(_MOST_BYTES)):
                    return
                other[each].sendall(data)
