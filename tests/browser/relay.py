"""A wire between a browser and a server that can go dead without a word, as a phone's does behind a door."""

from __future__ import annotations

import socket
import threading


class Relay:
    """Passes on what comes at `port` to the server's port and back, as long as it is not cut."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._whole = threading.Event()
        self._whole.set()
        self._plugs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where the server is found through the wire."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """From now on nothing passes; no connection is closed, and new ones are taken."""
        self._whole.clear()

    def mend(self) -> None:
        """All passes again, what was held too."""
        self._whole.set()

    def close(self) -> None:
        """Hang up everything."""
        self.mend()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        for plug in (self._listener, *self._plugs):
            plug.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._plugs += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                self._whole.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return
