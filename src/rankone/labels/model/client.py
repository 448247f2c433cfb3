"""Questions to an OpenAI-compatible server: many at once, asked again where it helps, kept, within a budget."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from pydantic import JsonValue

from rankone.core.errors import RankOneError
from rankone.core.escaping import prompt_text, visible
from rankone.labels.model.budget import Budget, Estimate, likely_tokens, most_tokens
from rankone.labels.model.connection import LONGEST_CONNECT, Broken, Connection, Refused, Unreachable
from rankone.labels.model.dialect import Dialect
from rankone.labels.model.replies import Replies
from rankone.labels.model.reply import (
    BadReply,
    Reply,
    json_schema,
    parse,
    quotes_key,
    read_body,
    server_message,
)
from rankone.labels.model.server import OWN_KEY, Server

T = TypeVar("T")
_TRY_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
# The share of failures says something from this many on.
_FAILURES_FROM = 5


@dataclass(frozen=True)
class Question:
    """One request: instructions, material, and the form of the reply."""

    system: str
    user: str
    form: type[Reply]

    @property
    def text(self) -> str:
        """All that is sent and counted."""
        return self.system + self.user + json.dumps(json_schema(self.form))


@dataclass(frozen=True)
class Unanswered:
    """Why a question has no reply; capped when it was not sent because the budget was used up."""

    reason: str
    capped: bool = False


class _Failed(Exception):
    """This question failed; others may not."""


class _Capped(Exception):
    """The budget does not allow this request."""


class _Again(Exception):
    """Worth another attempt after `wait` seconds; `used` is what the attempt cost, None for its worst case."""

    def __init__(self, reason: str, used: tuple[int, int] | None, wait: float | None = None) -> None:
        super().__init__(reason)
        self.used, self.wait = used, wait


class ChatClient:
    """Asks questions of one server. Threads may share it; a key goes nowhere but into the request header."""

    def __init__(self, server: Server, key: str | None, budget: Budget, replies: Replies) -> None:
        self.server, self.budget, self.replies = server, budget, replies
        self._key = key
        self._dialect = Dialect()
        self._stop = threading.Event()
        self._connection = Connection(server, key)

    def __enter__(self) -> ChatClient:
        self._connection.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.__exit__()

    def require_server(self) -> None:
        """Raise RankOneError where nothing answers, or the key is refused: to be said before any work is done."""
        try:
            self._connection.models(LONGEST_CONNECT)
        except Unreachable as error:
            raise self._absent(str(error)) from error
        except Refused as refused:
            if refused.status == 401:
                self._refused(refused, self._dialect)
        except Broken:
            pass  # it may be slow, or know no models: the first question will tell

    def _absent(self, why: str) -> RankOneError:
        return RankOneError(
            f"no server answers at {self.server.base_url} ({self._safe(why)}). Start it, or mend --base-url; "
            "what was done before is kept."
        )

    def _cache_key(self, question: Question) -> str:
        return Replies.key(
            {
                "model": self.server.model,
                "system": question.system,
                "user": question.user,
                "schema": json_schema(question.form),
                "reply_tokens": self.server.reply_tokens,
            }
        )

    def cached(self, question: Question) -> Reply | None:
        """The stored reply, if there is one that still fits the form."""
        stored = self.replies.get(self._cache_key(question))
        try:
            return None if stored is None else question.form.model_validate(stored)
        except ValueError:
            return None

    def estimate(self, question: Question, reply_tokens: int) -> Estimate:
        """What asking will likely take, at so many tokens per reply; nothing if the reply is stored."""
        if self.cached(question) is not None:
            return Estimate()
        return Estimate(
            requests=1,
            tokens_in=likely_tokens(question.text),
            tokens_out=min(reply_tokens, self.server.reply_tokens),
        )

    def ask_all(self, questions: Iterable[tuple[T, Question]]) -> Iterator[tuple[T, Reply | Unanswered]]:
        """Ask many, `concurrency` at a time, in the order of arrival of the replies; `questions` is read lazily.

        Raises RankOneError when the server refuses the key, is not there, or fails too often; replies that came before
        are stored, and are read from the store when the same is asked again.
        """
        self._stop.clear()
        waiting: dict[Future[Reply | Unanswered], T] = {}
        tally = _Tally(self.server)
        with ThreadPoolExecutor(self.server.concurrency) as pool:
            try:
                for name, question in questions:
                    waiting[pool.submit(self.ask, question)] = name
                    if len(waiting) >= 2 * self.server.concurrency:
                        yield from self._finished(waiting, tally)
                while waiting:
                    yield from self._finished(waiting, tally)
                tally.check(at_end=True)
            except BaseException:
                self._stop.set()
                self._connection.abandon()
                for future in waiting:
                    future.cancel()
                raise

    def _finished(
        self, waiting: dict[Future[Reply | Unanswered], T], tally: _Tally
    ) -> Iterator[tuple[T, Reply | Unanswered]]:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=list(waiting).index):
            name, outcome = waiting.pop(future), future.result()
            tally.count(outcome)
            yield name, outcome
        tally.check()

    def ask(self, question: Question) -> Reply | Unanswered:
        """Ask one question; RankOneError if no question can be answered (no server, wrong key, wrong model)."""
        stored = self.cached(question)
        if stored is not None:
            return stored
        try:
            return self._attempts(question)
        except _Capped:
            return Unanswered("the cap is reached", capped=True)
        except _Failed as failure:
            return Unanswered(str(failure))

    def _attempts(self, question: Question) -> Reply:
        complaint: str | None = None
        last = _Again("not asked", (0, 0))
        for attempt in range(self.server.retries + 1):
            try:
                return self._attempt(question, complaint)
            except _Again as again:
                complaint = str(again) if isinstance(again.__cause__, BadReply) else complaint
                last = again
            if attempt < self.server.retries:
                self._pause(attempt, last)
        if isinstance(last.__cause__, Unreachable):
            raise self._absent(str(last.__cause__))
        raise _Failed(f"{last} (after {self.server.retries + 1} attempts)")

    def _pause(self, attempt: int, last: _Again) -> None:
        """Wait as long as the server says, else twice as long as before with some jitter; stop when the run stops."""
        seconds = (
            self.server.backoff * 2**attempt * random.uniform(0.5, 1) if last.wait is None else last.wait
        )
        if seconds > self.server.whole_time:
            raise _Failed(f"{last}; the server asks for {seconds:,.0f} s of patience")
        if self._stop.wait(min(seconds, self.server.patience)):
            raise _Failed("stopped")

    def _attempt(self, question: Question, complaint: str | None) -> Reply:
        """One request, repeated at once in another dialect as long as the server refuses a part of it by name."""
        while True:
            if self._stop.is_set():
                raise _Failed("stopped")
            dialect = self._dialect
            bound = (most_tokens(question.text + (complaint or "")), self.server.reply_tokens)
            if not self.budget.reserve(*bound):
                raise _Capped
            used: tuple[int, int] | None = None
            try:
                answer = self._connection.complete(
                    self._body(question, complaint, dialect), self.server.timeout
                )
                reply, used = self._read(question, answer)
                return reply
            except Refused as refused:
                used = (0, 0)
                self._refused(refused, dialect)
            except Unreachable as error:
                used = (0, 0)
                raise _Again(f"cannot connect: {self._safe(str(error))}", used) from error
            except Broken as error:
                raise _Again(self._safe(str(error)), None) from error
            except _Again as again:
                used = again.used
                raise
            finally:
                self.budget.settle(bound, bound if used is None else used)

    def _body(self, question: Question, complaint: str | None, dialect: Dialect) -> dict[str, JsonValue]:
        user = question.user
        if complaint:
            user += f"\n\nYour last reply could not be used: {prompt_text(complaint)}. Reply with the JSON object alone."
        return {
            "model": self.server.model,
            "messages": [{"role": "system", "content": question.system}, {"role": "user", "content": user}],
            "stream": False,
            **dialect.fields(question.form.__name__, json_schema(question.form), self.server.reply_tokens),
        }

    def _safe(self, said: str) -> str:
        return server_message(said.encode("utf8", "replace"), self._key)

    def _read(self, question: Question, body: bytes) -> tuple[Reply, tuple[int, int] | None]:
        used: tuple[int, int] | None = None
        try:
            content, finish, used = read_body(body)
            if quotes_key(content, self._key):
                raise BadReply("it holds a part of the key")
            try:
                reply = parse(content, question.form)
            except BadReply as error:
                if finish == "length":
                    raise BadReply(f"{error}; it was cut at {self.server.reply_tokens} tokens") from None
                raise
        except BadReply as error:
            raise _Again(str(error), used, 0.0) from error
        bound = used or (most_tokens(question.text), self.server.reply_tokens)
        self.replies.put(self._cache_key(question), reply.model_dump(mode="json"), bound)
        return reply, used

    def _refused(self, refused: Refused, dialect: Dialect) -> None:
        """Return if the request may go out again in another dialect; raise otherwise."""
        status, said = refused.status, server_message(refused.body, self._key)
        where = f"{self.server.base_url} (status {status})"
        if status in (401, 403):
            raise RankOneError(f"the server refuses the key: {where}. Set {OWN_KEY} to one that it knows.")
        if status == 404:
            raise RankOneError(
                f"nothing for model '{visible(self.server.model)}' at {where}: {said}. Check --model and "
                "--base-url (it usually ends in /v1)."
            )
        if status == 402 or (status == 429 and "quota" in said.lower()):
            raise RankOneError(f"the account has no credit left at {where}: {said}")
        if 300 <= status < 400:
            raise RankOneError(
                f"the server redirects to another address: {where}. Give the address itself as --base-url."
            )
        if status in _TRY_AGAIN:
            raise _Again(f"status {status}: {said}", (0, 0), refused.retry_after)
        other = dialect.after(said) if status in (400, 422) else None
        if other is None:
            raise _Failed(f"status {status}: {said}")
        # Another thread may have changed it for the same reason already.
        if self._dialect == dialect:
            self._dialect = other


class _Tally:
    """Counts failed questions and ends the run when they are too many."""

    def __init__(self, server: Server) -> None:
        self._server, self._finished, self._failed, self._last = server, 0, 0, ""

    def count(self, outcome: Reply | Unanswered) -> None:
        if isinstance(outcome, Unanswered):
            if outcome.capped:
                return
            self._failed += 1
            self._last = outcome.reason
        self._finished += 1

    def check(self, at_end: bool = False) -> None:
        enough = self._failed >= _FAILURES_FROM or (at_end and self._failed > 0)
        if enough and self._failed > self._server.max_failures * self._finished:
            raise RankOneError(
                f"{self._failed} of {self._finished} requests to {self._server.base_url} failed; the last: "
                f"{self._last}. The replies that came are kept: run the same command to go on."
            )
