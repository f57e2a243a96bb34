#!/usr/bin/env python3
"""Follows a link and uses the API until SIGTERM, then says in one line of JSON what came back.   load.py URL KEY CODE ID

Eight clients keep their connections, four open one for each request, two create and read links and statistics. Every answer that is not the
right one has failed, and every connection that breaks. But one thing: a server may close a kept connection that is idle, and a client that notices while it
sends asks again on another, as RFC 9112 §9.3.1 has it (`sent_again`).
"""
import collections
import http.client
import json
import signal
import sys
import threading
import time
import urllib.parse

KEPT, FRESH, API = 8, 4, 2
# Of each client, between requests: what counts is that somebody always asks.
PAUSE_S = 0.04
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
url, key, code, link_id = sys.argv[1:]
at = urllib.parse.urlsplit(url)
ended = threading.Event()


class Client(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.outcomes, self.failures, self.failed, self.again, self.slowest_s = collections.Counter(), [], 0, 0, 0.0
        self.connection = None

    def send(self, method, path, body, headers):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(at.hostname, at.port or 80, timeout=15)
        self.connection.request(method, path, body, {"User-Agent": BROWSER} | headers)
        answer = self.connection.getresponse()
        answer.read()
        if answer.will_close:
            self.close()
        return answer.status

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def ask(self, expected, method, path, body=None, headers=None):
        began, kept = time.monotonic(), self.connection is not None
        try:
            try:
                status = self.send(method, path, body, headers or {})
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.close()
                if not kept:
                    raise
                self.again += 1
                status = self.send(method, path, body, headers or {})
        except (OSError, http.client.HTTPException) as error:
            self.close()
            status = type(error).__name__
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.outcomes[str(status)] += 1
        if status != expected:
            self.failed += 1
            self.failures.append(f"{time.strftime('%X')} {method} {path}: {status}")

    def run(self):
        while not ended.wait(PAUSE_S):
            self.turn()


class Follower(Client):
    def turn(self):
        self.ask(302, "GET", "/" + code)


class FreshFollower(Client):
    def turn(self):
        self.ask(302, "GET", "/" + code, headers={"Connection": "close"})
        self.close()


class User(Client):
    def turn(self):
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.ask(201, "POST", "/api/v1/links", json.dumps({"target": "https://example.com/load"}), headers)
        self.ask(200, "GET", f"/api/v1/links/{link_id}", None, headers)
        self.ask(200, "GET", f"/api/v1/links/{link_id}/stats", None, headers)
        ended.wait(0.5)


def main():
    clients = [Follower() for _ in range(KEPT)] + [FreshFollower() for _ in range(FRESH)] + [User() for _ in range(API)]
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    began = time.monotonic()
    for client in clients:
        client.start()
    while not ended.wait(0.5):
        pass
    for client in clients:
        client.join(30)
    outcomes = sum((client.outcomes for client in clients), collections.Counter())
    print(json.dumps({
        "requests": sum(outcomes.values()),
        "failed": sum(client.failed for client in clients),
        "followed": sum(client.outcomes["302"] for client in clients),
        "seconds": round(time.monotonic() - began, 1),
        "outcomes": dict(outcomes),
        "sent_again": sum(client.again for client in clients),
        "slowest_s": round(max(client.slowest_s for client in clients), 2),
        "failures": [failure for client in clients for failure in client.failures][:20],
    }))


if __name__ == "__main__":
    main()
