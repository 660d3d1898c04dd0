"""The nightly deployment on a real Prefect server of its own: deployed, scheduled, executed."""

import json
import os
import signal
import sys
import time
from datetime import datetime, timedelta
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from prefect_server import NAME, Mailbox, deployed, fenced

BERLIN = ZoneInfo("Europe/Berlin")
# Days around a change of clocks in Berlin: to summer time, and back.
CHANGES = [("2027-03-26", "2027-03-31"), ("2027-10-29", "2027-11-03")]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server and a worker, begun by the commands of docs/nightly.md."""
    with deployed(tmp_path_factory.mktemp("night")) as known:
        yield known


def planned(runs):
    return [run for run in runs if run["state_name"] == "Scheduled" and run["auto_scheduled"]]


def local(run):
    return datetime.fromisoformat(run["expected_start_time"]).astimezone(BERLIN)


@pytest.fixture(scope="module")
def deployment(server):
    """What the server knows of the deployment."""
    (found,) = server.ask("deployments/filter", deployments={"name": {"any_": ["every-night"]}})
    return found


@pytest.mark.skipif(
    not version("sqlalchemy").startswith("2.0."),
    reason="Prefect 3.8 schedules nothing on SQLAlchemy 2.1, and pyproject.toml refuses that",
)
def test_the_schedule_is_at_half_past_three_of_its_time_zone(server, deployment):
    """Three nights and more at 03:30 in Berlin; one a day, too, where clocks change."""
    runs = planned(server.until(lambda runs: len(planned(runs)) >= 3))
    assert {local(run).strftime("%H:%M") for run in runs} == {"03:30"}
    for first, last in CHANGES:
        span = {"start_time": f"{first}T00:00:00Z", "end_time": f"{last}T00:00:00Z"}
        server.ask(f"deployments/{deployment['id']}/schedule", **span, min_runs=5, max_runs=5)
    runs = server.ask(
        "flow_runs/filter", flow_runs={"expected_start_time": {"after_": "2027-03-01T00:00:00Z"}}
    )
    times = sorted(local(run) for run in runs)
    for first, last in CHANGES:
        found = [when for when in times if first <= when.strftime("%Y-%m-%d") <= last]
        days = [when.strftime("%Y-%m-%d") for when in found]
        assert len(days) == len(set(days)) == 5, days
        assert {when.strftime("%H:%M") for when in found} == {"03:30"}
        assert len({when.utcoffset() for when in found}) == 2, "the clocks did not change"


def test_one_night_at_a_time_is_what_was_deployed(deployment):
    """The server holds the limit, what happens on overlap, the recipe for nights and the pool."""
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert deployment["parameters"] == {"recipe": "configs/nightly.yaml", "incremental": True}
    assert deployment["work_pool_name"] == "cleanpipe"


def end_a_run(server, flow, name, kind, message):
    """A run of a flow of this name that ends so, as a worker would tell the server."""
    identifier = server.ask("flows/", name=flow)["id"]
    run = server.ask("flow_runs/", flow_id=identifier, name=f"{flow}-{name}")["id"]
    state = {"type": kind, "name": name, "message": message}
    server.ask(f"flow_runs/{run}/set_state", state=state, force=True)


def make_alerts(server, url, silence="26h"):
    """The page's command, with another address."""
    words = fenced("sh", "cleanpipe.flows.alerts").replace("https://chat.example.org/hook", url)
    said = server.call(*words.replace("26h", silence).split())
    assert said.count(": made") == 3
    names = [found["name"] for found in server.ask("automations/filter")]
    assert len(names) == len(set(names)) == 3
    time.sleep(2)  # the service of triggers learns of automations a little later


def test_the_server_alerts_by_itself(server):
    """A failed night and a failed gate are posted; other flows and other states are not."""
    gate, crash = "gate kept_share is 0.1, below low 0.2", 'the "machine" went down'
    with Mailbox() as box:
        make_alerts(server, box.url)

        def crashed():
            end_a_run(server, "nightly", "Crashed", "CRASHED", crash)
            return box.letters

        end_a_run(server, "another", "Failed", "FAILED", "not ours")
        server.until(bool, look=crashed)  # automations are heard of a little later
        end_a_run(server, "another", "Failed", "FAILED", "not ours")
        end_a_run(server, "nightly", "Completed", "COMPLETED", "good")
        end_a_run(server, "nightly", "GateFailed", "FAILED", gate)
        night = f"cleanpipe: nightly failed, nightly-Crashed: {crash}\nsee docs/nightly.md"
        not_published = "cleanpipe: nightly was not published, nightly-GateFailed: "
        published = f"{not_published}{gate}\nsee docs/nightly.md"
        server.until(lambda letters: published in letters, look=lambda: box.letters)
        time.sleep(1)
        assert set(box.letters) == {night, published}
        assert box.letters.count(published) == 1


@pytest.mark.proof
def test_silence_alerts(server):
    """Alerts made anew replace the old; a success, then none for 12 s: one letter, not sooner."""
    with Mailbox() as box:
        make_alerts(server, box.url, "12s")
        end_a_run(server, "nightly", "Completed", "COMPLETED", "good")
        time.sleep(6)
        end_a_run(server, "nightly", "Completed", "COMPLETED", "good")
        time.sleep(9)
        assert not box.letters
        server.until(lambda letters: letters, 30, lambda: box.letters)
        time.sleep(14)
        text = "cleanpipe: no nightly run has completed for 12s\nsee docs/nightly.md"
        assert box.letters == [text]


def delivery(server, name, word):
    """Tonight's file: the sample's news with a word of the night in every sentence."""
    news = pl.read_parquet(server.folder / "incoming" / "news.parquet")
    told = pl.col("text").str.replace_all(". ", f" {word} of it. The {word} ", literal=True)
    news.with_columns(told, id=pl.col("id") + name).write_parquet(
        server.folder / "incoming" / f"{name}.parquet"
    )


@pytest.mark.proof
def test_a_night_cleans_the_next_is_quiet_and_a_failed_one_alerts(server):
    """Run by the worker: published; then confirmed in seconds; then a gate's alert, HEAD stays."""
    output = server.folder / "out"
    common = ["prefect", "--no-prompt", "deployment", "run", NAME, "--watch"]
    common += ["--param", f"output={json.dumps(str(output))}"]
    server.call(*common)
    head = (output / "_cleanpipe" / "HEAD.json").read_bytes()
    assert not (output / "_cleanpipe" / "confirmed.json").exists()
    server.call(*common)
    assert (output / "_cleanpipe" / "confirmed.json").exists()
    assert sorted(path.name for path in (output / "data").iterdir()) == ["0001"]
    delivery(server, "strange", "kettle")
    settings = json.dumps({"gates.kept_share.low": "0.9999"})
    server.call(*common, "--param", f"settings={settings}", good=False)
    (server.folder / "incoming" / "strange.parquet").unlink()
    assert "GateFailed: gate kept_share" in (server.folder / "alerts").read_text()
    assert (output / "_cleanpipe" / "HEAD.json").read_bytes() == head
    mine = [run for run in server.runs() if run["parameters"].get("output") == str(output)]
    assert sorted(run["state_name"] for run in mine) == ["Completed", "Completed", "GateFailed"]


def children(process):
    """The ids of a process's own processes."""
    tasks = Path(f"/proc/{process}/task")
    return [int(n) for task in tasks.iterdir() for n in (task / "children").read_text().split()]


@pytest.mark.proof
def test_a_killed_night_alerts_and_the_next_one_goes_on(server):
    """Killed while it works: the worker's side alerts (Crashed); started again, it is published."""
    output = server.folder / "killed"
    common = ["prefect", "--no-prompt", "deployment", "run", NAME]
    common += ["--param", f"output={json.dumps(str(output))}"]
    server.call(*common)
    begun = output / "_cleanpipe" / "runs" / "0001" / "identity.json"
    server.until(bool, 90, begun.exists)
    for child in children(server.worker.pid):
        os.kill(child, signal.SIGKILL)
    server.until(lambda alerts: "Crashed" in alerts, 60, (server.folder / "alerts").read_text)
    assert not (output / "_cleanpipe" / "HEAD.json").exists()
    server.call(*common, "--watch")
    assert (output / "_cleanpipe" / "HEAD.json").exists()


def scheduled(runs, state):
    return [run for run in runs if run["auto_scheduled"] and run["state_name"] == state]


def spans(runs):
    """When each run worked, in order."""
    when = datetime.fromisoformat
    return sorted((when(run["start_time"]), when(run["end_time"])) for run in runs)


@pytest.mark.proof
def test_scheduled_nights_follow_one_another_and_a_missed_one_is_caught_up(server):
    """Every four seconds: three nights one after the other, overlaps cancelled, a gap made up."""
    often = ["deployment", "schedule", "create", NAME, "--interval", "4", "--replace", "-y"]
    server.call("prefect", "--no-prompt", *often)
    server.until(lambda runs: len(scheduled(runs, "Completed")) >= 3, 150)
    found = server.until(lambda runs: scheduled(runs, "Cancelled"), 60)
    worked = spans(scheduled(found, "Completed"))
    assert all(one[1] <= other[0] for one, other in pairwise(worked))
    why = scheduled(found, "Cancelled")[0]["state"]["message"]
    assert "concurrency limit" in why
    clean = server.folder / "clean"
    assert [path.name for path in (clean / "data").iterdir()] == ["0001"]
    quiet = [ended - began for began, ended in worked[1:]]
    assert min(quiet) < timedelta(seconds=10), quiet

    server.stop(server.worker)
    delivery(server, "tonight", "lantern")
    missed = scheduled(server.until(lambda runs: scheduled(runs, "Late"), 60), "Late")
    assert [path.name for path in (clean / "data").iterdir()] == ["0001"]
    server.worker = server.start("worker.log", *server.worker_words)
    data = clean / "data"
    server.until(lambda names: "0002" in names, 90, lambda: [path.name for path in data.iterdir()])
    named = {run["id"] for run in missed}
    server.until(lambda runs: not named & {run["id"] for run in scheduled(runs, "Late")})
    server.call("prefect", "--no-prompt", "deployment", "schedule", "clear", NAME, "-y")


@pytest.mark.proof
def test_the_page_serves_nights_without_a_pool(server):
    """Its program, saved as a file: scheduled at the hour, runs a night, pauses when it ends."""
    (server.folder / "serve.py").write_text(fenced("python", "nightly.serve"))
    process = server.start("serve.log", sys.executable, "serve.py")

    def known():
        return server.ask("deployments/filter", deployments={"name": {"any_": ["served"]}})

    (found,) = server.until(lambda found: found, look=known)
    (schedule,) = found["schedules"]
    assert schedule["schedule"]["cron"] == "30 3 * * *"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    output = server.folder / "served"
    words = ["--watch", "--param", f"output={json.dumps(str(output))}"]
    server.call("prefect", "--no-prompt", "deployment", "run", "nightly/served", *words)
    assert (output / "_cleanpipe" / "HEAD.json").exists()
    server.stop(process)
    assert server.until(lambda found: found[0]["paused"], look=known)
