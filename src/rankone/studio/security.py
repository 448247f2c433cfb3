"""Who may ask the studio's server what: the gate that every request passes before anything is done with it.

A web page of anyone can send requests to this machine's ports, also by a name that it lets point here (DNS rebinding).
So the Host is one of ours, the Origin is our own page, state changes are JSON by POST, and a token of 256 bits, which
the command prints, is asked for by constant-time comparison: once in the address, then in a cookie.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rankone.core.escaping import clipped, visible
from rankone.runtime.progress import log

# Bytes of a request's body, and of its address.
MAX_BODY, MAX_ADDRESS = 64 * 1024, 4096
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types lit-html"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Door:
    """Where the server is reached: its port, the names that lead to it, and the token that opens it.

    public: the name that a proxy before it goes by, on a port of its own.
    """

    port: int
    token: str
    names: tuple[str, ...] = LOOPBACK
    public: str | None = None

    @property
    def hosts(self) -> frozenset[str]:
        """Values of the Host header that are ours."""
        bare = self.names if self.port in (80, 443) else ()
        public = () if self.public is None else (self.public,)
        return frozenset([*(f"{name}:{self.port}" for name in self.names), *bare, *public])

    @property
    def origins(self) -> frozenset[str]:
        """Origins of our own page."""
        return frozenset(f"{scheme}://{host}" for host in self.hosts for scheme in ("http", "https"))

    @property
    def cookie(self) -> str:
        """Name of the cookie; browsers keep one jar for all ports, so the port is part of it."""
        return f"rankone_{self.port}"

    @property
    def address(self) -> str:
        """What opens the studio in a browser."""
        return f"http://{self.names[0]}:{self.port}/?token={self.token}"

    def opens(self, given: str | None) -> bool:
        """Whether this is the token, in constant time."""
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())


class Gate:
    """ASGI middleware: refuses what is not ours, hands out the cookie, bounds bodies, adds the headers to every reply."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door
        self._logged: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it here."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        guarded = _with_headers(send)
        refused = (
            PlainTextResponse("only http", 400) if scope["type"] != "http" else self._refusal(scope)
        ) or self._admission(scope)
        if refused is not None:
            self._log_refusal(refused, scope)
            await refused(scope, receive, guarded)
            return
        await self.app(scope, _bounded(receive), guarded)

    def _log_refusal(self, refused: Response, scope: Scope) -> None:
        """Log a refusal of who asks, once of each kind: whoever is at the door must not fill the log."""
        said = bytes(refused.body)
        if refused.status_code not in (400, 401, 403) or scope["type"] != "http" or said in self._logged:
            return
        self._logged.add(said)
        headers = Headers(scope=scope)
        asked = ", ".join(
            f"{name} {visible(clipped(headers.get(name, 'none'), 100))}" for name in ("host", "origin")
        )
        log.warning(
            f"a request was refused: {said.decode()} ({refused.status_code}; {asked}). More of this kind are not reported."
        )

    def _refusal(self, scope: Scope) -> Response | None:
        """What is wrong with where a request comes from or what it carries."""
        headers, method = Headers(scope=scope), scope["method"]
        if headers.get("host", "").lower() not in self.door.hosts or len(_all(headers, "host")) != 1:
            return PlainTextResponse("this server does not go by that name", 400)
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_ADDRESS:
            return PlainTextResponse("address too long", 414)
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return PlainTextResponse("another site may not ask", 403)
        if any(origin not in self.door.origins for origin in _all(headers, "origin")):
            return PlainTextResponse("another origin may not ask", 403)
        if method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("only GET and POST", 405)
        if method == "POST":
            return _body_refusal(headers)
        return None

    def _admission(self, scope: Scope) -> Response | None:
        """The cookie for whoever shows the token in the address; a refusal for whoever shows nothing."""
        headers, door = Headers(scope=scope), self.door
        asked = parse_qs(scope["query_string"].decode("latin1")).get("token", [None])[0]
        if scope["path"] == "/" and scope["method"] == "GET" and door.opens(asked):
            welcome = RedirectResponse("/", 303)
            welcome.set_cookie(door.cookie, door.token, httponly=True, samesite="strict", path="/")
            return welcome
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and door.opens(bearer.strip()):
            return None
        if not door.opens(_cookie(headers, door.cookie)):
            return PlainTextResponse("open the address that `rankone studio` printed", 401)
        if scope["method"] == "POST" and not headers.get("origin"):
            return PlainTextResponse("a page says its origin", 403)
        return None


def _body_refusal(headers: Headers) -> Response | None:
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return PlainTextResponse("only application/json", 415)
    length = headers.get("content-length")
    if length is None or not length.isdecimal():
        return PlainTextResponse("say how long the body is", 411)
    return PlainTextResponse("body too large", 413) if int(length) > MAX_BODY else None


def _all(headers: Headers, name: str) -> Sequence[str]:
    return headers.getlist(name)


def _cookie(headers: Headers, name: str) -> str | None:
    """As browsers read them: an odd cookie of another server on this machine does not take ours away."""
    return cookie_parser(headers.get("cookie", "")).get(name)


def _bounded(receive: Receive) -> Receive:
    """The body as it comes, cut off where it is longer than it said it would be."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > MAX_BODY else message

    return bounded


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return guarded
