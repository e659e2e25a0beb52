"""The Hub's HTTP protocol on this machine: repositories in memory, faults on demand, a log of every request.

What it speaks is what huggingface_hub asks for: HEAD and GET resolve (X-Repo-Commit, ETag, X-Linked-ETag, ranges,
redirects of LFS files to another host), model info, revision, tree, paths-info, errors with X-Error-Code, repository
creation, validate-yaml, preupload, LFS batch, upload and verify, commit.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_good"  # of the pretended user


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repo:
    """Commits by hash, each a mapping of paths to content; branches and tags."""

    commits: dict = field(default_factory=dict)
    refs: dict = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files, branch="main"):
        """Add a commit with these files and nothing else; its hash."""
        listing = json.dumps([branch, len(self.commits), {path: sha256(data) for path, data in files.items()}])
        name = hashlib.sha1(listing.encode()).hexdigest()
        self.commits[name] = dict(files)
        self.refs[branch] = name
        return name

    def resolve(self, revision):
        return revision if revision in self.commits else self.refs.get(revision)


class Hub:
    """The server. `url` is its endpoint; large files are served by the same port under another host name."""

    def __init__(self):
        self.repos, self.lfs, self.log, self.faults = {}, {}, [], []
        self.tokens_at_cdn, self.ranges = [], []
        hub = self

        class Bound(Handler):
            pass

        Bound.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.cdn = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def repo(self, name, files=None, **kwargs):
        self.repos[name] = Repo(**kwargs)
        if files is not None:
            self.repos[name].commit(files)
        return self.repos[name]

    def requests(self):
        """What was asked since the last call, as "METHOD path"."""
        asked, self.log[:] = list(self.log), []
        return asked

    def fault(self, part, kind, value=0):
        """The next GET whose path holds `part` is cut after `value` bytes, ends early, has a bit flipped, or fails."""
        self.faults.append((part, kind, value))

    def take_fault(self, path):
        for fault in self.faults:
            if fault[0] in path:
                self.faults.remove(fault)
                return fault[1:]
        return None, 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.route("HEAD")

    def do_GET(self):
        self.route("GET")

    def do_POST(self):
        self.route("POST")

    def do_PUT(self):
        self.route("PUT")

    def route(self, method):
        path = unquote(urlsplit(self.path).path)
        self.hub.log.append(f"{method} {path}")
        self.body = self.read_body()
        for pattern, action in ROUTES:
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return getattr(self, action)(*match.groups())
        return self.error(404, None, f"the test server has no {method} {path}")

    def read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    # --- answers

    def answer(self, status, data=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def json(self, value, status=200):
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def error(self, status, code, message=""):
        headers = {"X_Error_Code": code} if code else {}
        self.answer(status, json.dumps({"error": message}).encode(), X_Error_Message=message or str(code), **headers)

    def authorised(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def find(self, name, revision):
        """Repository and commit, or an error that has been sent and None."""
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self.authorised()):
            return self.error(404 if self.authorised() else 401, "RepoNotFound", "Repository not found")
        commit = repo.resolve(revision)
        if commit is None:
            return self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo, commit

    def content(self, data, **headers):
        """A file's bytes, or the rest of them, or what a fault makes of them."""
        kind, value = self.hub.take_fault(self.path) if self.command == "GET" else (None, 0)
        status, start = 200, 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            status, start = 206, int(match[1])
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        data = data[start:]
        if kind == "flip":
            data = data[:value] + bytes([data[value] ^ 1]) + data[value + 1 :]
        elif kind == "short":
            data = data[:value]
        elif kind == "status":
            return self.error(value, None, "a fault")
        elif kind == "cut":
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name.replace("_", "-"), text)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:value])
            self.wfile.flush()
            self.close_connection = True
            return None
        return self.answer(status, data, Accept_Ranges="bytes", **headers)

    # --- reading

    def resolve(self, name, revision, path):
        found = self.find(name, revision)
        if found is None:
            return None
        repo, commit = found
        if repo.gated and not self.authorised():
            return self.error(403 if self.headers.get("Authorization") else 401, "GatedRepo", "Access is restricted")
        data = repo.commits[commit].get(path)
        if data is None:
            return self.error(404, "EntryNotFound", "Entry not found")
        if path.endswith(".safetensors"):
            digest = sha256(data)
            self.hub.lfs[digest] = data
            linked = {"X_Linked_ETag": f'"{digest}"', "X_Linked_Size": str(len(data))}
            return self.answer(302, X_Repo_Commit=commit, Location=f"{self.hub.cdn}/cdn/{digest}", **linked)
        return self.content(data, X_Repo_Commit=commit, ETag=f'"{git_sha1(data)}"')

    def from_cdn(self, digest):
        self.hub.tokens_at_cdn.append(self.headers.get("Authorization"))
        self.hub.ranges.append(self.headers.get("Range"))
        self.content(self.hub.lfs[digest], ETag='"of the store, not of the Hub"')

    def info(self, name, revision="main"):
        found = self.find(name, revision)
        if found is not None:
            repo, commit = found
            siblings = [{"rfilename": path} for path in repo.commits[commit]]
            self.json({"id": name, "modelId": name, "sha": commit, "siblings": siblings, "private": repo.private})

    def tree(self, name, revision):
        found = self.find(name, revision)
        if found is not None:
            repo, commit = found
            self.json([entry(path, data) for path, data in repo.commits[commit].items()])

    def paths_info(self, name, revision):
        found = self.find(name, revision)
        if found is not None:
            repo, commit = found
            wanted = parse_qs(self.body.decode())["paths"]
            self.json([entry(path, repo.commits[commit][path]) for path in wanted if path in repo.commits[commit]])

    # --- writing

    def create(self):
        if not self.authorised():
            return self.error(401, None, "Invalid credentials in Authorization header")
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.hub.repos:
            return self.json({"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"}, 409)
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.repo(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=bool(private))
        return self.json({"url": f"{self.hub.url}/{name}"})

    def validate(self):
        text = json.loads(self.body)["content"]
        problems = [] if text.startswith("---\n") and "\nlicense: " in text else [{"message": "no license"}]
        self.json({"errors": problems, "warnings": []}, 400 if problems else 200)

    def preupload(self, name, revision):
        if not self.authorised():
            return self.error(403, None, "You need write access")
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        return self.json({"files": modes})

    def batch(self, name):
        objects = [
            {
                "oid": wanted["oid"],
                "size": wanted["size"],
                "actions": {
                    "upload": {"href": f"{self.hub.url}/upload/{wanted['oid']}"},
                    "verify": {"href": f"{self.hub.url}/verify"},
                },
            }
            for wanted in json.loads(self.body)["objects"]
        ]
        self.json({"transfer": "basic", "objects": objects})

    def upload(self, digest):
        if sha256(self.body) != digest:
            return self.error(422, None, "content does not match")
        self.hub.lfs[digest] = self.body
        return self.answer(200)

    def verify(self):
        wanted = json.loads(self.body)
        stored = self.hub.lfs.get(wanted["oid"])
        good = stored is not None and len(stored) == wanted["size"]
        self.json({}, 200 if good else 422)

    def commit(self, name, revision):
        repo = self.hub.repos[name]
        files = dict(repo.commits[repo.refs[revision]])
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
        commit = repo.commit(files, revision)
        self.json({"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}"})


def entry(path, data):
    listed = {"type": "file", "path": path, "size": len(data), "oid": git_sha1(data)}
    if path.endswith(".safetensors"):
        listed["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
    return listed


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [  # the first that matches
    (rf"(?:HEAD|GET) /{NAME}/resolve/(refs/pr/\d+|[^/]+)/(.+)", "resolve"),
    (r"(?:HEAD|GET) /cdn/(\w+)", "from_cdn"),
    (rf"GET /api/models/{NAME}", "info"),
    (rf"GET /api/models/{NAME}/revision/(.+)", "info"),
    (rf"GET /api/models/{NAME}/tree/([^/]+)", "tree"),
    (rf"POST /api/models/{NAME}/paths-info/(.+)", "paths_info"),
    (r"POST /api/repos/create", "create"),
    (r"POST /api/validate-yaml", "validate"),
    (rf"POST /api/models/{NAME}/preupload/(.+)", "preupload"),
    (rf"POST /{NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"PUT /upload/(\w+)", "upload"),
    (r"POST /verify", "verify"),
    (rf"POST /api/models/{NAME}/commit/(.+)", "commit"),
]
