"""The gate: of all combinations of host, origin, site, token, method and path only the permitted ones answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket

import pytest
from tests.studio.serving import Served

from rankone.studio.security import MAX_BODY, Door, Gate
from rankone.studio.serve import _socket

PATHS = ("/", "/static/main.js", "/api/workspace", "/api/columns", "/api/edits", "/api/verbs", "/api/exports")


def _hosts(port: int) -> dict[str, bool]:
    return {
        f"127.0.0.1:{port}": True,
        f"localhost:{port}": True,
        f"evil.example:{port}": False,
        "127.0.0.1": False,
        f"127.0.0.1.evil.example:{port}": False,
    }


def _origins(port: int) -> dict[str | None, bool]:
    return {
        None: True,
        f"http://127.0.0.1:{port}": True,
        "http://evil.example": False,
        "null": False,
        f"http://127.0.0.1:{port + 1}": False,
    }


SITES = {None: True, "same-origin": True, "none": True, "cross-site": False, "same-site": False}
TOKENS = {"right": True, "wrong": False, "none": False}


def test_only_the_permitted_cells_of_the_matrix_are_answered(served: Served):
    asked = 0
    cells = itertools.product(
        _hosts(served.port).items(), _origins(served.port).items(), SITES.items(), TOKENS.items()
    )
    for (host, host_ok), (origin, origin_ok), (site, site_ok), (token, token_ok) in cells:
        path = PATHS[asked % len(PATHS)]
        shown = {"right": f"Bearer {served.token}", "wrong": "Bearer " + "x" * 43, "none": None}[token]
        headers = {"host": host, "origin": origin, "sec-fetch-site": site, "authorization": shown}
        status, sent, _ = served.ask(path, headers=headers)
        permitted = host_ok and origin_ok and site_ok and token_ok
        assert (status == 200) == permitted, (path, headers, status)
        assert permitted or status == (400 if not host_ok else 403 if not (origin_ok and site_ok) else 401)
        assert "access-control-allow-origin" not in sent
        assert "default-src 'none'" in sent["content-security-policy"]
        asked += 1
    assert asked >= 300


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(served: Served, method):
    assert served.ask("/api/edits", method=method)[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/pages/../../etc/passwd",
        "/pages/%2fetc",
        "/api/none",
    ],
)
def test_a_path_reaches_nothing(served: Served, path):
    assert served.ask(path)[0] == 404


def test_a_post_is_json_of_a_said_and_bounded_length(served: Served):
    body = {"scales": {}, "name": "", "after": 0}
    assert served.ask("/api/edits", body, {"content-type": "text/plain"})[0] == 415
    assert served.ask("/api/edits", b" " * (MAX_BODY + 1))[0] == 413
    assert served.ask("/api/edits", b"{}", {"content-length": None, "transfer-encoding": "chunked"})[0] in (
        400,
        411,
    )
    assert served.ask("/api/edits", b"[[[[")[0] == 400


def test_a_page_with_the_cookie_must_say_its_origin_to_post(served: Served):
    cookie = f"rankone_{served.port}={served.token}"
    headers = {"authorization": None, "cookie": cookie}
    assert served.ask("/api/edits", headers=headers)[0] == 200
    body = {"after": 0}
    assert served.ask("/api/undo", body, headers)[0] == 403
    ours = {**headers, "origin": f"http://127.0.0.1:{served.port}"}
    status, _, said = served.ask("/api/undo", body, ours)
    assert (status, json.loads(said)["error"]) == (400, "there is nothing to undo.")


def test_a_cookie_of_another_server_does_not_take_ours_away(served: Served):
    for other in ('other={"a": 1}', "bare", "a=b=c; =; x=é"):
        cookie = f"{other}; rankone_{served.port}={served.token}"
        assert served.ask("/api/edits", headers={"authorization": None, "cookie": cookie})[0] == 200, other


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_it(served: Served):
    status, headers, _ = served.ask(f"/?token={served.token}", headers={"authorization": None})
    assert (status, headers["location"]) == (303, "/")
    assert "HttpOnly" in headers["set-cookie"]
    assert "samesite=strict" in headers["set-cookie"].lower()
    status, headers, _ = served.ask("/?token=wrong", headers={"authorization": None})
    assert status == 401
    assert "set-cookie" not in headers


def test_a_door_goes_by_its_names_alone():
    door = Door(8080, "t", ("studio.example", "127.0.0.1"))
    assert door.hosts == {"studio.example:8080", "127.0.0.1:8080"}
    assert not door.opens(None)
    assert not door.opens("tt")
    assert door.opens("t")


def test_behind_a_proxy_the_public_name_has_no_port_of_ours():
    door = Door(8080, "t", ("studio.example", "127.0.0.1"), "studio.example")
    assert door.hosts == {"studio.example", "studio.example:8080", "127.0.0.1:8080"}
    assert "https://studio.example" in door.origins


def test_a_browser_that_is_faster_than_the_server_waits():
    with _socket("127.0.0.1", 0) as listening:
        socket.create_connection(listening.getsockname(), timeout=5).close()


def test_a_refusal_is_logged_once_of_each_kind_and_what_was_asked_is_inert(caplog):
    async def nothing(*_: object) -> None:
        return None

    gate = Gate(nothing, Door(8080, "t" * 43))

    def asks(**headers: str) -> None:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": raw,
        }
        asyncio.run(gate(scope, nothing, nothing))  # pyright: ignore[reportArgumentType]

    for _ in range(3):
        asks(host="evil.example:8080\x1b[2J")
        asks(host="127.0.0.1:8080", origin="http://evil.example")
        asks(host="127.0.0.1:8080")
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "a request was refused: this server does not go by that name",
        "a request was refused: another origin may not ask",
        "a request was refused: open the address that `rankone studio` printed",
    ]
    assert "\x1b" not in caplog.text
    assert "http://evil.example" in caplog.text
