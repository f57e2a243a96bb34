#!/usr/bin/env python3
"""What a user does, one thing after the other, through the public port.   walk.py URL KEY

Says what went well, line by line; the first thing that does not ends it with 1.
"""
import concurrent.futures
import http.client
import json
import secrets
import sys
import time
import urllib.parse

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
# For what travels between processes: a click to the statistics, a change to every cache.
ARRIVES_WITHIN_S = 30


class Unexpected(Exception):
    pass


class Site:
    def __init__(self, url, key):
        self.at, self.key = urllib.parse.urlsplit(url), key

    def ask(self, method, path, body=None, headers=None, key=None):
        connection = http.client.HTTPConnection(self.at.hostname, self.at.port or 80, timeout=15)
        headers = {"User-Agent": BROWSER} | (headers or {})
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if body is not None:
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def api(self, method, path, expected, body=None, headers=None):
        answer, content = self.ask(method, "/api/v1" + path, body, headers, self.key)
        if answer.status != expected:
            raise Unexpected(f"{method} {path} answered {answer.status}, not {expected}: {content[:500]!r}")
        return answer, json.loads(content) if content else None

    def follow(self, code):
        answer, _ = self.ask("GET", "/" + code)
        return answer.status, answer.getheader("Location")

    def create(self, **fields):
        return self.api("POST", "/links", 201, {"target": "https://example.com/a"} | fields)[1]


def is_(what, found, expected):
    if found != expected:
        raise Unexpected(f"{what}: {found!r}, not {expected!r}")


def until(what, look, expected):
    end = time.monotonic() + ARRIVES_WITHIN_S
    while (found := look()) != expected:
        if time.monotonic() > end:
            raise Unexpected(f"{what}: {found!r} after {ARRIVES_WITHIN_S} s, not {expected!r}")
        time.sleep(0.2)


def create_and_follow(site):
    link = site.create(target="https://example.com/a?b=c")
    is_("the short URL", link["short_url"], f"{site.at.scheme}://{site.at.netloc}/{link['code']}")
    is_("the redirect", site.follow(link["code"]), (302, "https://example.com/a?b=c"))
    is_("an unknown code", site.follow("0000000")[0], 404)


def click_is_counted(site):
    link = site.create()
    for _ in range(3):
        site.follow(link["code"])
    count = lambda: [site.api("GET", f"/links/{link['id']}/stats", 200)[1][field] for field in ("total", "humans", "visitors")]
    until("total, humans and visitors", count, [3, 3, 1])


def alias(site):
    name = "E2E-" + secrets.token_hex(6)
    site.create(alias=name, target="https://example.com/alias")
    is_("the alias", site.follow(name), (302, "https://example.com/alias"))
    is_("the alias in lower case", site.follow(name.lower()), (302, "https://example.com/alias"))
    _, problem = site.api("POST", "/links", 409, {"target": "https://example.com", "alias": name})
    is_("the problem", problem["code"], "alias_taken")


def update(site):
    link = site.create(target="https://example.com/old")
    is_("the redirect", site.follow(link["code"]), (302, "https://example.com/old"))
    answer, _ = site.api("GET", f"/links/{link['id']}", 200)
    etag = answer.getheader("ETag")
    change = {"target": "https://example.com/new"}
    site.api("PATCH", f"/links/{link['id']}", 412, change, {"If-Match": '"another"'})
    answer, changed = site.api("PATCH", f"/links/{link['id']}", 200, change, {"If-Match": etag})
    is_("the version", changed["version"], link["version"] + 1)
    until("the redirect", lambda: site.follow(link["code"]), (302, "https://example.com/new"))
    site.api("PATCH", f"/links/{link['id']}", 412, change, {"If-Match": etag})


def delete(site):
    link = site.create()
    is_("the redirect", site.follow(link["code"])[0], 302)
    site.api("DELETE", f"/links/{link['id']}", 204)
    until("the deleted link", lambda: site.follow(link["code"])[0], 404)
    site.api("POST", f"/links/{link['id']}/restore", 200)
    until("the restored link", lambda: site.follow(link["code"])[0], 302)


def qr_code(site):
    link = site.create()
    for form, kind, begin in (("svg", "image/svg+xml", b"<"), ("png", "image/png", b"\x89PNG")):
        answer, content = site.ask("GET", f"/{link['code']}.qr?format={form}")
        is_(f"the QR code as {form}", (answer.status, answer.getheader("Content-Type").split(";")[0]), (200, kind))
        is_("its beginning", content[: len(begin)], begin)


def preview(site):
    link = site.create(target="https://example.com/shown")
    answer, content = site.ask("GET", f"/{link['code']}+", headers={"Accept": "application/json"})
    is_("the preview", (answer.status, json.loads(content)["target"]), (200, link["target"]))
    answer, content = site.ask("GET", f"/{link['code']}+", headers={"Accept": "text/html"})
    is_("the page", (answer.status, b"example.com" in content), (200, True))


def click_budget(site):
    link = site.create(max_clicks=5)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answered = list(pool.map(lambda _: site.follow(link["code"])[0], range(40)))
    is_("redirects of forty at once, five allowed", answered.count(302), 5)
    is_("the others", set(answered) - {302}, {410})


def main():
    site = Site(*sys.argv[1:])
    for step in (create_and_follow, click_is_counted, alias, update, delete, qr_code, preview, click_budget):
        began = time.monotonic()
        try:
            step(site)
        except (Unexpected, OSError, http.client.HTTPException) as error:
            sys.exit(f"walk: {step.__name__}: {error}")
        print(f"walk: {step.__name__.replace('_', ' ')}: as it should be, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
