"""The nightly deployment on a real Prefect server of its own: deployed, scheduled, executed."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import version

import pytest
from conftest import ROOT

PREFECT = [sys.executable, "-m", "prefect"]
NAME = "nightly/every-night"
ALERT = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


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
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": self.api,
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "CLEANPIPE_ALERT": f'{sys.executable} -c "{ALERT}" {folder / "alerts"}',
        }
        self.folder = folder

    def start(self, log, *words):
        with (self.folder / log).open("wb") as file:
            return subprocess.Popen(
                [*PREFECT, *words],
                env=self.environment,
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def call(self, *words):
        done = subprocess.run(
            [*PREFECT, "--no-prompt", *map(str, words)],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path, **body):
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.api}/{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def runs(self):
        """Nightly's runs, by name: they are subflows' parents, not `clean` itself."""
        return self.ask("flow_runs/filter", flows={"name": {"any_": ["nightly"]}})

    def until(self, good, seconds=60):
        """Ask until `good` is true of the runs."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if good(found := self.runs()):
                    return found
            time.sleep(0.5)
        logs = [path.read_text()[-3000:] for path in self.folder.glob("*.log")]
        pytest.fail("\n".join(["not within the time", *logs]))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server and a worker, and our prefect.yaml deployed to them with the sample's recipe."""
    folder = tmp_path_factory.mktemp("night")
    for name in ("flows", "configs", "sample_data"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "prefect.yaml", folder)
    known = Server(folder)
    server = known.start(
        "server.log", "server", "start", "--host", "127.0.0.1", "--port", str(known.port), "--no-ui"
    )
    worker = None
    try:
        known.until(lambda _: True)
        known.call("work-pool", "create", "cleanpipe", "--type", "process")
        known.call("deploy", "--all")
        worker = known.start("worker.log", "worker", "start", "--pool", "cleanpipe")
        yield known
    finally:
        for process in filter(None, (worker, server)):
            process.terminate()
        for process in filter(None, (worker, server)):
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.mark.skipif(
    not version("sqlalchemy").startswith("2.0."),
    reason="Prefect 3.8 schedules nothing on SQLAlchemy 2.1, and pyproject.toml refuses that",
)
def test_the_schedule_is_at_two_in_the_morning_of_its_time_zone(server):
    """At least three nights stand in the calendar, each at 02:00 in Berlin."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    def planned(runs):
        return [run for run in runs if run["state_name"] == "Scheduled" and run["auto_scheduled"]]

    runs = planned(server.until(lambda runs: len(planned(runs)) >= 3))
    for run in runs:
        when = datetime.fromisoformat(run["expected_start_time"])
        local = when.astimezone(ZoneInfo("Europe/Berlin"))
        assert (local.hour, local.minute) == (2, 0)


@pytest.mark.proof
def test_a_night_cleans_the_next_is_quiet_and_a_failed_one_alerts(server):
    """Run by the worker: published; then confirmed in seconds; then a gate's alert, HEAD stays."""
    output = server.folder / "out"
    common = ["deployment", "run", NAME, "--watch", "--param", f"output={json.dumps(str(output))}"]
    server.call(*common)
    head = (output / "_cleanpipe" / "HEAD.json").read_bytes()
    assert not (output / "_cleanpipe" / "confirmed.json").exists()
    server.call(*common)
    assert (output / "_cleanpipe" / "confirmed.json").exists()
    assert sorted(path.name for path in (output / "data").iterdir()) == ["0001"]
    notes = server.folder / "sample_data" / "notes.csv"
    notes.write_bytes(notes.read_bytes() * 2)  # all it holds is known: the night keeps little
    settings = json.dumps({"gates.kept_share.low": "0.99"})
    subprocess.run(
        [*PREFECT, "--no-prompt", *common, "--param", f"settings={settings}"],
        env=server.environment,
        cwd=server.folder,
        check=False,
        capture_output=True,
        timeout=200,
    )
    assert "gate kept_share" in (server.folder / "alerts").read_text()
    assert (output / "_cleanpipe" / "HEAD.json").read_bytes() == head
    states = sorted(run["state_name"] for run in server.runs() if not run["auto_scheduled"])
    assert states == ["Completed", "Completed", "Failed"]
