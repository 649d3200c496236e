#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Load: HTTP requests to one address, a connection each, until stdin ends. Prints an empty line once
the first request has come to its end, and at last a JSON object: answers as [start, end, text] and
failures as [start, end, why], times of CLOCK_MONOTONIC.

    load.py HOST PORT THREADS [PATH]"""
import json
import socket
import sys
import threading
import time

answers, failures = [], []
stop, first = threading.Event(), threading.Event()


def request(host, port, path):
    with socket.create_connection((host, port), timeout=10) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while True:
            part = s.recv(65536)
            if not part:
                break
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise OSError(f"answer {data[:80]!r}")
    return body.decode()


def loop(host, port, path):
    while not stop.is_set():
        start = time.monotonic()
        try:
            text = request(host, port, path)
            answers.append([start, time.monotonic(), text.strip()])
        except OSError as e:
            failures.append([start, time.monotonic(), str(e)])
            time.sleep(0.01)
        first.set()
        time.sleep(0.002)


def main():
    host, port, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    path = sys.argv[4] if len(sys.argv) > 4 else "/"
    threads = [threading.Thread(target=loop, args=(host, port, path)) for _ in range(n)]
    for t in threads:
        t.start()
    first.wait()
    print(flush=True)
    sys.stdin.read()
    stop.set()
    for t in threads:
        t.join()
    json.dump({"answers": answers, "failures": failures}, sys.stdout)


if __name__ == "__main__":
    main()
