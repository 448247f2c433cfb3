"""A Hub on this machine: the endpoints that huggingface_hub asks to make, fill and read repositories, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_this_test"


@dataclass
class Repository:
    """Commits oldest first: path → content. private: asks for the token."""

    private: bool = True
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def head(self):
        return list(self.commits)[-1] if self.commits else "0" * 40

    def files(self, revision):
        return self.commits.get(
            self.head if revision == "main" else revision, {} if revision == "main" else None
        )


class FakeHub:
    """`fail_after`: uploads of blobs that succeed before the way breaks; `sent`: blobs received, in order."""

    def __init__(self):
        self.repositories, self.blobs, self.sent, self.fail_after = {}, {}, [], None
        self.asked = []
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _reply(self, status, value=None, headers=None, body=None):
        content = body if body is not None else json.dumps(value).encode()
        self.send_response(status)
        for name, said in (headers or {}).items():
            self.send_header(name, said)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repository(self, name):
        held = self.hub.repositories.get(name)
        if held is None or (held.private and not self._known()):
            self._reply(
                404 if self._known() else 401,
                {"error": "Repository not found"},
                {"X-Error-Code": "RepoNotFound"},
            )
            return None
        return held

    def do_POST(self):
        path, body = unquote(urlsplit(self.path).path), self._body()
        self.hub.asked.append(("POST", path))
        if not self._known():
            return self._reply(401, {"error": "Invalid username or password."})
        if path == "/api/validate-yaml":
            return self._reply(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if match := re.fullmatch(r"/api/models/(.+?/.+?)/preupload/main", path):
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith((".safetensors", ".parquet")) else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            return self._reply(200, {"files": modes})
        if path.endswith("/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        if match := re.fullmatch(r"/api/models/(.+?/.+?)/commit/main", path):
            return self._commit(match[1], body)
        return self._reply(404, {"error": path})

    def _create(self, asked):
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        if name in self.hub.repositories:
            return self._reply(409, {"error": "exists", "url": f"{self.hub.address}/{name}"})
        self.hub.repositories[name] = Repository(
            asked.get("visibility") == "private" or bool(asked.get("private"))
        )
        return self._reply(200, {"url": f"{self.hub.address}/{name}", "name": name})

    def _batch(self, asked):
        objects = []
        for one in asked["objects"]:
            entry = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.blobs:
                entry["actions"] = {"upload": {"href": f"{self.hub.address}/blobs/{one['oid']}"}}
            objects.append(entry)
        return self._reply(200, {"transfer": "basic", "objects": objects})

    def do_PUT(self):
        body = self._body()
        if self.hub.fail_after is not None and len(self.hub.sent) >= self.hub.fail_after:
            return self._reply(400, {"error": "broken"})
        name = hashlib.sha256(body).hexdigest()
        self.hub.blobs[name] = body
        self.hub.sent.append(name)
        return self._reply(200, {})

    def _commit(self, name, body):
        held = self._repository(name)
        if held is None:
            return None
        files = dict(held.files("main") or {})
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        commit = hashlib.sha1(body + held.head.encode()).hexdigest()
        held.commits[commit] = files
        return self._reply(
            200, {"commitUrl": f"{self.hub.address}/{name}/commit/{commit}", "commitOid": commit}
        )

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._info(match[1], match[2] or "main")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            return self._tree(match[1], match[2])
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(match[1], match[2], match[3])
        return self._reply(404, {"error": path})

    def _files(self, name, revision):
        held = self._repository(name)
        if held is None:
            return None, None
        files = held.files(revision)
        if files is None:
            self._reply(404, {"error": "no such revision"}, {"X-Error-Code": "RevisionNotFound"})
        return held, files

    def _info(self, name, revision):
        held, files = self._files(name, revision)
        if files is None:
            return
        sha = held.head if revision == "main" else revision
        siblings = [{"rfilename": n} for n in files]
        self._reply(200, {"id": name, "sha": sha, "private": held.private, "siblings": siblings})

    def _tree(self, name, revision):
        _, files = self._files(name, revision)
        if files is None:
            return
        entries = [
            {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
            for n, c in files.items()
        ]
        self._reply(200, entries)

    def _file(self, name, revision, file):
        held, files = self._files(name, revision)
        if files is None:
            return
        if file not in files:
            self._reply(404, {"error": "no entry"}, {"X-Error-Code": "EntryNotFound"})
            return
        commit = held.head if revision == "main" else revision
        tag = f'"{hashlib.sha256(files[file]).hexdigest()}"'
        self._reply(
            200, body=files[file], headers={"ETag": tag, "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        )
