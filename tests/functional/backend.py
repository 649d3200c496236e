# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that tells what it was asked, for test_streams.py: backend.py ADDRESS PORT [CERT KEY]"""
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PIECE = b"x" * 65536


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def body(self):
        """Takes the request's body; returns its beginning and its length."""
        start, n = b"", 0
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                data = self.rfile.read(size)
                start, n = (start + data)[:1000], n + len(data)
                self.rfile.readline()
            self.rfile.readline()
        else:
            left = int(self.headers.get("Content-Length", 0))
            while left:
                data = self.rfile.read(min(left, 65536))
                start, n, left = (start + data)[:1000], n + len(data), left - len(data)
        return start.decode(errors="replace"), n

    def answer(self, code, headers, data=b""):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def upgrade(self):
        self.send_response_only(101)
        for name, value in (("Connection", "Upgrade"), ("Upgrade", "shout"), ("X-Backend", "yes"),
                            ("X-Protocol", ",".join(self.headers.get_all("Sec-WebSocket-Protocol", [])))):
            self.send_header(name, value)
        self.end_headers()
        while data := self.rfile.readline():
            self.wfile.write(data.upper())
        self.wfile.write(b"end")
        self.close_connection = True

    def stream(self, pieces):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(pieces):
            self.wfile.write(b"10000\r\n" + PIECE + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def serve(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if self.headers.get("Upgrade"):
            self.upgrade()
        elif url.path == "/redirect":
            self.answer(302, [("Location", query["to"][0])])
        elif url.path == "/stream":
            self.stream(int(query["pieces"][0]))
        elif url.path == "/cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            self.close_connection = True
        elif url.path == "/page":
            self.answer(200, [("Content-Type", "text/html; charset=utf-8"), ("X-Encodings", self.headers.get("Accept-Encoding", ""))],
                        b'<!DOCTYPE html><a href="/one?a=1&amp;b=2">x</a><script>"<a href=\'/no\'>"</script><img src=two><!-- <a href="/">'
                        b'--><form action=/three>')
        elif url.path == "/empty":
            self.send_response(204)
            self.end_headers()
        else:
            body, length = self.body()
            told = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body,
                    "length": length}
            self.answer(200, [("Content-Type", "application/json"), ("Keep-Alive", "timeout=5"), ("X-Backend", "yes"),
                              ("Access-Control-Allow-Origin", "*")], json.dumps(told).encode())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = serve


def main():
    server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3], sys.argv[4])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


main()
