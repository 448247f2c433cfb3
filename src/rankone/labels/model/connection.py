"""The official `openai` client, held to one address, one key, so much time and so many bytes, whatever a server sends.

That client reads keys, organisations and headers from the environment, waits as long as a server goes on sending, and reads
errors of any size. So every request's headers are reduced to ours and a deadline runs over the whole of it, for
which the client runs in an event loop of its own; its retries are off, since each one has to fit into the budget.
"""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx2
from pydantic import JsonValue

from rankone.core.errors import RankOneError
from rankone.core.escaping import visible
from rankone.core.optional import optional
from rankone.labels.model.server import Server, check_url

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from openai import AsyncOpenAI

Request = Callable[[], Awaitable[bytes]]
LARGEST_BODY = 4 * 2**20
LONGEST_CONNECT = 10.0  # seconds
_OUR_HEADERS = ("host", "accept", "connection", "content-type", "content-length", "user-agent")
# Sent to the client, which insists on a key, and never to the server: `_reduce` sets the real one or none.
_PLACEHOLDER = "unused"


class Refused(Exception):
    """The server answered with another status than 200; `retry_after` is in seconds, None where it says nothing usable."""

    def __init__(self, status: int, body: bytes, retry_after: float | None) -> None:
        super().__init__(f"status {status}")
        self.status, self.body, self.retry_after = status, body, retry_after


class Unreachable(Exception):
    """No connection was made: nothing was sent."""


class Broken(Exception):
    """No usable answer came, though the request may have been read, and charged for."""


class _TooLarge(Exception):
    pass


class Connection:
    """Requests to one server, from any thread, while the context is entered."""

    def __init__(self, server: Server, key: str | None) -> None:
        check_url(server.base_url)
        self._openai = optional("openai", "label", "labels by a language model")
        self.server, self._key = server, key
        self._stack = ExitStack()
        self._running: set[Future[bytes]] = set()

    def __enter__(self) -> Connection:
        from anyio.from_thread import start_blocking_portal

        self._portal: BlockingPortal = self._stack.enter_context(start_blocking_portal())
        self._client: AsyncOpenAI = self._portal.call(self._open)
        self._stack.callback(lambda: self._portal.call(self._client.close))
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()
        self._stack.close()

    async def _open(self) -> AsyncOpenAI:
        timeout = httpx2.Timeout(
            self.server.timeout, connect=min(self.server.timeout, LONGEST_CONNECT), pool=None
        )
        http = httpx2.AsyncClient(
            timeout=timeout,
            limits=httpx2.Limits(max_connections=self.server.concurrency),
            follow_redirects=False,  # the key is for this address alone
            event_hooks={"request": [self._reduce], "response": [_bound]},
        )
        return self._openai.AsyncOpenAI(
            base_url=self.server.base_url,
            api_key=_PLACEHOLDER,
            timeout=timeout,
            max_retries=0,
            http_client=http,
        )

    async def _reduce(self, request: httpx2.Request) -> None:
        """Nothing of the environment goes out, and the key as this server's own."""
        for name in set(request.headers) - set(_OUR_HEADERS):
            del request.headers[name]
        request.headers["Accept-Encoding"] = "identity"  # what is compressed has no bound
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"

    def complete(self, body: dict[str, JsonValue], seconds: float) -> bytes:
        """Ask for a chat completion and return the body of the answer.

        seconds: for all of it, connecting and every byte. Raises Refused, Unreachable or Broken, and RankOneError for an
        address that cannot be used.
        """
        return self._wait(lambda: self._completion(body), seconds)

    def models(self, seconds: float) -> bytes:
        """Ask which models there are: it costs nothing and tells whether a server is there. Raises as `complete` does."""
        return self._wait(self._models, seconds)

    def abandon(self) -> None:
        """Break off what is running; the threads that wait for it get Broken."""
        for future in tuple(self._running):
            future.cancel()

    async def _completion(self, body: dict[str, JsonValue]) -> bytes:
        return (await self._client.post("/chat/completions", cast_to=httpx2.Response, body=body)).content

    async def _models(self) -> bytes:
        return (await self._client.get("/models", cast_to=httpx2.Response)).content

    def _wait(self, request: Request, seconds: float) -> bytes:
        future = self._portal.start_task_soon(self._held, request, seconds)
        self._running.add(future)
        try:
            return future.result()
        except CancelledError:
            raise Broken("stopped") from None
        finally:
            self._running.discard(future)

    async def _held(self, request: Request, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await request()
        except self._openai.APIStatusError as error:
            headers = error.response.headers
            raise Refused(error.status_code, error.response.content, _retry_after(headers)) from None
        except (TimeoutError, self._openai.APITimeoutError) as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                raise Unreachable("no connection in time") from None
            raise Broken(f"no reply within {seconds:g} s") from None
        except self._openai.APIConnectionError as error:
            raise self._failed(error.__cause__ or error) from None
        except (_TooLarge, httpx2.InvalidURL) as error:  # neither is a failure of a request to that client
            raise self._failed(error) from None

    def _failed(self, cause: BaseException) -> Exception:
        said = str(cause) or type(cause).__name__
        if isinstance(cause, httpx2.ConnectError):
            return Unreachable(said)
        if isinstance(cause, _TooLarge):
            return Broken(said)
        if isinstance(cause, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
            return RankOneError(f"cannot use --base-url '{visible(self.server.base_url)}': {visible(said)}")
        return Broken(f"the connection broke: {said}")


async def _bound(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _TooLarge("the reply is compressed, though it was asked not to be")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._stream:
            received += len(chunk)
            if received > LARGEST_BODY:
                raise _TooLarge(f"the reply is larger than {LARGEST_BODY} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that a Retry-After header asks for (a number or a date); None without a usable one."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal() and value.isascii() and len(value) < 9:
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, when - time.time())
