"""A line to PostgreSQL that can fall silent, or lose one answer and break."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress

SOCKET = ".s.PGSQL.5432"
# ReadyForQuery, without its last byte: the end of every answer.
_ANSWERED = b"Z\x00\x00\x00\x05"


class Line:
    """Listens in `folder` as the server does, and forwards to the one that listens in `to`."""

    def __init__(self, folder, to):
        folder.mkdir(mode=0o700)
        self.folder, self.to = folder, str(to / SOCKET)
        self.silent = False
        # How many answers arrive before one is lost; None: all of them.
        self.loses = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen()
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self):
        self.silent = False
        self._listener.close()

    def _listen(self):
        with suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client):
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(self.to)
            while True:
                ready, _, _ = select.select([client, server], [], [], 5)
                while self.silent:
                    time.sleep(0.05)
                if client in ready:
                    said = client.recv(1 << 16)
                    if not said:
                        return
                    server.sendall(said)
                if server in ready:
                    answer = server.recv(1 << 16)
                    if not answer:
                        return
                    whole = answer[-6:-1] == _ANSWERED
                    if self.loses == 0:
                        if whole:
                            self.loses = None
                            return
                        continue
                    if whole and self.loses is not None:
                        self.loses -= 1
                    client.sendall(answer)
