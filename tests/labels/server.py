"""A real HTTP server on this machine that answers chat completions as a script says, well or badly."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = {"label": "German articles", "reasoning": "They follow der.", "confidence": 0.8}


def completion(content, tokens_in=100, tokens_out=20, finish="stop", usage=True):
    """The body of a good chat completion."""
    body = {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": finish}]}
    if usage:
        body["usage"] = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
    return body


def ok(value=None, **kwargs):
    """A step of a script: status 200 with `value` as the message's JSON."""
    return 200, completion(json.dumps(GOOD if value is None else value), **kwargs), {}


def says(status, message, **headers):
    """A step: an error in OpenAI's form."""
    return status, {"error": {"message": message}}, headers


class Script:
    """What the server does: a list of steps, the last repeated, or a function of the request's body.

    A step is (status, body, headers); body is a value (sent as JSON) or bytes. `sleep` delays every answer.
    """

    def __init__(self, steps, sleep=0.0):
        self.steps, self.sleep = steps, sleep
        self.bodies, self.headers, self.paths = [], [], []
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    def step(self, body):
        if callable(self.steps):
            return self.steps(body)
        return self.steps[min(len(self.bodies) - 1, len(self.steps) - 1)]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        script = self.server.script
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with script.lock:
            script.bodies.append(body)
            script.headers.append(dict(self.headers))
            script.paths.append(self.path)
            step = script.step(body)
            script.at_once += 1
            script.most_at_once = max(script.most_at_once, script.at_once)
        time.sleep(script.sleep)
        with script.lock:
            script.at_once -= 1
        status, value, headers = step
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that has given up is no news."""


@contextmanager
def serving(steps, sleep=0.0):
    """(base URL, script) of a server that runs while the block does."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.script = Script(steps, sleep)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", server.script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def dripping(start):
    """Base URL of a server that sends `start` at once and then a byte every tenth of a second, for good."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(start)
                while not ended.wait(0.1):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            ended.set()
            thread.join(timeout=5)
