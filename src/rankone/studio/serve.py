"""Starting the studio: a socket, a token, the address for the browser."""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import socket
import webbrowser
from pathlib import Path

from rankone.core.claims import claim
from rankone.core.errors import RankOneError
from rankone.core.optional import optional
from rankone.opening import OpenOptions
from rankone.runtime.progress import console


def serve(
    options: OpenOptions,
    folder: Path,
    port: int = 0,
    browser: bool = True,
    host: str = "127.0.0.1",
    public_host: str | None = None,
) -> None:
    """Serve until interrupted; RankOneError for a taken port, no such workspace, and an open host without a name.

    port 0 takes a free one. A host that is not a loopback address needs `public_host`, the name it is reached by.
    """
    uvicorn = optional("uvicorn", "studio", "the studio")
    optional("starlette", "studio", "the studio")
    from rankone.studio.security import LOOPBACK, Door

    if not _is_loopback(host) and public_host is None:
        raise RankOneError(
            f"'{host}' can be reached from other machines: say by which name (--public-host NAME), and mind that whoever "
            "has the address controls the model."
        )
    if not folder.is_dir():
        raise RankOneError(f"no workspace at '{folder}'. Make the folder, or name another.")
    kept = folder / "studio"
    with claim(kept), _socket(host, port) as listening:
        here = listening.getsockname()[1]
        names = (public_host, *LOOPBACK) if public_host is not None else LOOPBACK
        door = Door(here, secrets.token_urlsafe(32), names, public_host)
        console.print(f"studio: {door.address}", markup=False, soft_wrap=True)
        console.print(f"workspace {folder}; Ctrl-C ends it", markup=False, soft_wrap=True)
        if browser:
            webbrowser.open(door.address)  # it waits at the socket while the rest is imported
        from rankone.studio.app import Studio, make_app

        settings = uvicorn.Config(
            make_app(Studio(options, folder), door),
            log_level="error",  # not a line for each request that is not HTTP
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        # Whoever ends it while something is under way has ended that too.
        logging.getLogger("uvicorn.error").addFilter(lambda line: "graceful shutdown" not in str(line.msg))
        uvicorn.Server(settings).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _socket(host: str, port: int) -> socket.socket:
    # asyncio sends at once only on sockets that say they are TCP's; else each answer waits 40 ms for a delayed ACK.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # elsewhere it would share a port that another holds
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # before the browser is opened: what it asks until the server runs waits
    except (OSError, OverflowError) as error:
        listening.close()
        raise RankOneError(
            f"port {port} of '{host}' is not available ({error}). Choose another with --port."
        ) from error
    return listening
