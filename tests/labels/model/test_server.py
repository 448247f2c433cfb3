"""Addresses and keys: what is refused, and which key goes where."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from rankone.core.errors import RankOneError
from rankone.labels.model.server import Server, check_url, read_key


@pytest.mark.parametrize(
    "url", ["http://localhost:8000/v1", "https://api.openai.com/v1", "http://[::1]:1/v1/"]
)
def test_addresses(url):
    check_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://a/v1", "http://", "file:///etc/passwd", "http://a:99999/v1", "http://[::1"],
)
def test_what_is_no_address(url):
    with pytest.raises(RankOneError, match="base-url"):
        check_url(url)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(RankOneError) as caught:
        check_url("https://me:hunter2@host/v1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "environment", "key"),
    [
        ("http://node7:8000/v1", {"RANKONE_API_KEY": "own", "OPENAI_API_KEY": "other"}, "own"),
        ("https://api.openai.com/v1", {"OPENAI_API_KEY": " other\n"}, "other"),
        ("http://localhost:8000/v1", {"OPENAI_API_KEY": "other"}, "other"),
        ("http://127.0.0.1:8000/v1", {"OPENAI_API_KEY": "other"}, "other"),
        ("http://node7:8000/v1", {"OPENAI_API_KEY": "other"}, None),
        ("http://10.0.0.7:8000/v1", {"OPENAI_API_KEY": "other"}, None),
        ("https://host/v1", {}, None),
        ("https://host/v1", {"RANKONE_API_KEY": "  "}, None),
    ],
)
def test_keys(url, environment, key):
    assert read_key(url, environment) == key


@pytest.mark.parametrize("key", ["a\nb", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(key):
    with pytest.raises(RankOneError, match="RANKONE_API_KEY") as caught:
        read_key("https://host/v1", {"RANKONE_API_KEY": key})
    assert key not in str(caught.value)


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError):
        Server(base_url="http://a/v1", model="m", speed=3)
