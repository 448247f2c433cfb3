"""Which OpenAI-compatible server to ask, how, and with which key."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import Field

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.escaping import visible

OWN_KEY, OPENAI_KEY = "RANKONE_API_KEY", "OPENAI_API_KEY"


class Pace(Config):
    """How a server is asked."""

    timeout: float = Field(default=120.0, gt=0, description="seconds per request, in all")
    concurrency: int = Field(default=8, ge=1, le=256, description="requests at once")
    reply_tokens: int = Field(default=1000, ge=16, description="cap of one reply; more for reasoning models")


class Server(Pace):
    """A chat-completions server (vLLM, Ollama, llama.cpp, OpenRouter, OpenAI, ...).

    base_url: what stands before `/chat/completions`, such as http://localhost:8000/v1. retries: further attempts after the
    first. patience: the longest wait between two attempts, seconds. max_failures: share of failed requests above which a
    run stops.
    """

    base_url: str
    model: str = Field(min_length=1)
    retries: int = Field(default=4, ge=0)
    backoff: float = Field(default=1.0, ge=0)
    patience: float = Field(default=60.0, ge=0)
    max_failures: float = Field(default=0.2, ge=0, le=1)

    @property
    def whole_time(self) -> float:
        """The most seconds that one question takes in all: every attempt timed out and every pause the longest."""
        return (self.timeout + self.patience) * (self.retries + 1)


def check_url(base_url: str) -> None:
    """Raise unless it is an http(s) address of a host, without a name, password or query in it."""
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RankOneError(f"--base-url '{visible(base_url)}' is not an address: {error}.") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise RankOneError(
            f"--base-url may hold no name, password, query or fragment (it is stored with the labels): "
            f"give scheme, host and path alone, and the key as {OWN_KEY}."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise RankOneError(
            f"--base-url '{visible(base_url)}' is not the address of a server. Give one such as http://localhost:8000/v1."
        )


def read_key(base_url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The key for this server: RANKONE_API_KEY, else OPENAI_API_KEY, else None. It is never printed or stored.

    OPENAI_API_KEY is meant for another place: it is not sent without encryption to another machine.
    """
    ours = environment.get(OWN_KEY, "").strip()
    other = environment.get(OPENAI_KEY, "").strip()
    key, name = (ours, OWN_KEY) if ours else (other, OPENAI_KEY)
    if not key or (name == OPENAI_KEY and _in_clear(base_url)):
        return None
    if not (key.isascii() and key.isprintable()):
        raise RankOneError(f"{name} holds characters that no key has. Set it again.")
    return key


def _in_clear(base_url: str) -> bool:
    parts = urlsplit(base_url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True
