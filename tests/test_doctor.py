"""What `cleanpipe doctor` says of a machine and of a Prefect server, and to whom it talks."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest

from cleanpipe import doctor, kernels
from cleanpipe.cli.cli import app


@pytest.fixture
def server():
    """A function that starts a server with these answers, by path, and gives its address."""
    servers = []

    def start(answers, **headers):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(answers[self.path.partition("?")[0]])
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/api"

    yield start
    for one in servers:
        one.shutdown()
        one.server_close()


def verdicts():
    return {one.what: one.verdict for one in doctor.examine() if one.what.startswith("Prefect")}


OPEN = {"/api/admin/version": 200, "/api/csrf-token": 422}
CLOSED = {"/api/admin/version": 401, "/api/csrf-token": 401}


@pytest.mark.parametrize(
    ("answers", "origin", "expected"),
    [
        (OPEN, "*", {"Prefect": "bad", "Prefect's pages": "bad", "Prefect's forms": "note"}),
        (CLOSED, "", {"Prefect": "good"}),
        ({**OPEN, "/api/csrf-token": 200}, "", {"Prefect": "bad"}),
        ({"/api/admin/version": 502}, "*", {"Prefect": "bad"}),
    ],
)
def test_an_open_server_is_bad_and_a_closed_one_good(
    server, monkeypatch, answers, origin, expected
):
    """By what it says to somebody without a password, and to the page of another site."""
    named = {"access_control_allow_origin": origin} if origin else {}
    monkeypatch.setenv("PREFECT_API_URL", server(answers, **named))
    assert verdicts() == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, {"Prefect": "good"}),
        ("http://127.0.0.1:9/api", {"Prefect": "bad"}),
        ("ftp://127.0.0.1/api", {"Prefect": "bad"}),
    ],
)
def test_no_server_and_one_that_does_not_answer(monkeypatch, tmp_path, address, expected):
    """None is good, one that is named and silent is not."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    if address:
        monkeypatch.setenv("PREFECT_API_URL", address)
    assert verdicts() == expected


def test_an_address_on_the_network_wants_encryption(monkeypatch):
    """Without https a password travels in the open; loopback needs none."""
    monkeypatch.setattr(doctor, "_ask", lambda _: (401, {}))
    for address, verdict in (
        ("http://prefect.invalid:4200/api", "bad"),
        ("https://x.invalid", None),
    ):
        monkeypatch.setenv("PREFECT_API_URL", address)
        assert verdicts().get("Prefect's address") == verdict


def test_the_active_profile_counts(server, monkeypatch, tmp_path):
    """As Prefect has it: a profile's server, unless the environment names another."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    profiles = f'active = "ours"\n[profiles.ours]\nPREFECT_API_URL = "{server(CLOSED)}"\n'
    (tmp_path / "profiles.toml").write_text(profiles)
    assert verdicts() == {"Prefect": "good"}
    monkeypatch.setenv("PREFECT_API_URL", server(OPEN))
    assert verdicts()["Prefect"] == "bad"


def test_the_verb_names_what_to_do(monkeypatch, tmp_path, capsys):
    """Exit code 1, the finding and the next move, as text and as JSON; nothing is left behind."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)
    monkeypatch.setattr(kernels, "CACHE_FOLDER", folder)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert app(["doctor"], result_action="return_value") == 1
    assert f"chmod go-w {folder}" in capsys.readouterr().out.replace("\n", " ")
    folder.chmod(0o700)
    output = tmp_path / "not" / "yet"
    assert app(["doctor", "--output", str(output), "--json"], result_action="return_value") == 0
    found = {line["what"]: line for line in orjson.loads(capsys.readouterr().out)}
    assert found["kernels"]["verdict"] == "note"
    assert str(tmp_path) in found["output"]["found"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]
