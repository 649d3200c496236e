# SPDX-License-Identifier: Apache-2.0
"""A WebSocket of a client over the API's local socket (RFC 6455), for what no client at hand speaks."""
import base64
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Refused(Exception):
    def __init__(self, code, body):
        super().__init__(f"{code}: {body}")
        self.code, self.body = code, body


class WebSocket:
    def __init__(self, address, path, protocols=(), timeout=30):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(address)
        self.key = base64.b64encode(os.urandom(16)).decode()
        offer = f"Sec-WebSocket-Protocol: {', '.join(protocols)}\r\n" if protocols else ""
        self.s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                       f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self.key}\r\n{offer}\r\n".encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        self.code = int(lines[0].split()[1])
        self.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        if self.code != 101:
            while len(self.buffer) < int(self.headers.get("content-length", 0)):
                self.fill()
            raise Refused(self.code, self.buffer.decode())
        self.protocol = self.headers.get("sec-websocket-protocol")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.s.close()

    def fill(self):
        piece = self.s.recv(65536)
        if not piece:
            raise EOFError("the server has hung up")
        self.buffer += piece

    def take(self, n):
        while len(self.buffer) < n:
            self.fill()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def send(self, opcode, data, fin=True):
        n = len(data)
        length = bytes([0x80 | n]) if n < 126 else struct.pack(">BH", 0xfe, n) if n < 65536 else \
            struct.pack(">BQ", 0xff, n)
        mask = os.urandom(4)
        self.s.sendall(bytes([(0x80 if fin else 0) | opcode]) + length + mask +
                       bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def receive(self):
        """The next frame as (opcode, data)."""
        first, n = self.take(2)
        if n in (126, 127):
            n = int.from_bytes(self.take(2 if n == 126 else 8), "big")
        return first & 15, self.take(n)

    def all(self):
        """All messages until the server closes properly; its code comes last."""
        found = []
        while True:
            opcode, data = self.receive()
            if opcode == CLOSE:
                self.send(CLOSE, data)
                return found + [int.from_bytes(data[:2], "big")]
            found.append((opcode, data))
