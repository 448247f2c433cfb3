"""The studio's socket: a port that somebody holds is not shared with him."""

from __future__ import annotations

import os
import socket

import pytest

from rankone.core.errors import RankOneError
from rankone.studio.serve import _socket


def reuses(listening: socket.socket) -> bool:
    """Whether a socket takes an address that is in use: harmless where it means one whose connections are ending."""
    with listening:
        return bool(listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))


def test_an_address_is_taken_again_only_where_that_is_no_sharing(monkeypatch):
    assert reuses(_socket("127.0.0.1", 0)) is (os.name == "posix")
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        assert not reuses(_socket("127.0.0.1", 0))


def test_a_port_that_is_held_is_refused():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(RankOneError, match=r"is not available .*--port"):
            _socket("127.0.0.1", other.getsockname()[1])
