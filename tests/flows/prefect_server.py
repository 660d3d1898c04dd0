"""A Prefect server of a test's own on loopback, and the commands of docs/nightly.md run on it."""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from conftest import ROOT

URL = "http://127.0.0.1:4200/api"  # the page's
NAME = "nightly/every-night"
ALERT = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
PAGE = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")


def fenced(language, containing):
    """The one example of the page in this language that contains this."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (example,) = [text for text in found if containing in text]
    return example


class Mailbox(HTTPServer):
    """Keeps what is posted to it on loopback, until the end of its `with`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.letters = []
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.letters.append(json.loads(sent)["text"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server:
    """A server on loopback, its environment, and questions to it."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}/api"
        known = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        self.environment = {
            **known,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{known['PATH']}",
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": self.api,
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "2",
            "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "CLEANPIPE_ALERT": f'{sys.executable} -c "{ALERT}" {folder / "alerts"}',
        }
        self.folder = folder
        self.begun = []

    def start(self, log, *words):
        """A process that goes on, until `stop`."""
        with (self.folder / log).open("ab") as file:
            process = subprocess.Popen(
                [str(word) for word in words],
                env=self.environment,
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.begun.append(process)
        return process

    def stop(self, *processes):
        """End processes that this began, by their ids, and wait for them."""
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def call(self, *words, good=True):
        """A command that ends."""
        done = subprocess.run(
            [str(word) for word in words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert not good or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def follow_the_page(self):
        """Its commands in order; only the port and, of what stays, the terminal are the test's."""
        worker = None
        for line in fenced("sh", "prefect server start").splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] == ["export", f"PREFECT_API_URL={URL}"]:
                continue
            if "=" in words[0]:
                words = words[1:]  # CLEANPIPE_ALERT: the test's own
            if words[:3] == ["prefect", "server", "start"]:
                own = [word for word in words if word != "--background"]
                self.start("server.log", *own, "--host", "127.0.0.1", "--port", self.port)
                self.until(lambda _: True)
            elif words[:3] == ["prefect", "worker", "start"]:
                worker = self.start("worker.log", *words)
            else:
                self.call(*words)
        assert worker is not None
        return worker, words

    def ask(self, path, **body):
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.api}/{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        for attempt in range(5):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                    said = answer.read()
                    return json.loads(said) if said else None
            except urllib.error.HTTPError as error:  # 503: SQLite is locked; clients ask again
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or attempt == 4:
                    raise
                time.sleep(1)
        return None

    def runs(self):
        """Nightly's runs."""
        return self.ask("flow_runs/filter", flows={"name": {"any_": ["nightly"]}})

    def until(self, good, seconds=60, look=None):
        """Ask until `good` is true of what is found, by default of the runs."""
        end = time.monotonic() + seconds
        found = None
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if good(found := (look or self.runs)()):
                    return found
            time.sleep(0.5)
        logs = [path.read_text()[-3000:] for path in self.folder.glob("*.log")]
        return pytest.fail("\n".join(["not within the time", str(found)[:6000], *logs]))


@contextlib.contextmanager
def deployed(folder):
    """A server and a worker with our prefect.yaml, by the page's commands; both end with it."""
    for name in ("flows", "configs"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "incoming").mkdir()
    shutil.copy(ROOT / "sample_data" / "news.parquet", folder / "incoming")
    shutil.copy(ROOT / "prefect.yaml", folder)
    known = Server(folder)
    try:
        known.worker, known.worker_words = known.follow_the_page()
        yield known
    finally:
        known.stop(*reversed(known.begun))
