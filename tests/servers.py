"""Real servers of S3's requests on loopback, each ended by its ids: OpenStack's Swift, rclone."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clusters import PATIENCE
from storage import KEYS, answers, client, free_port

SWIFT = ("account", "container", "object", "proxy")
STORE = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
user = {user}
workers = 1
fallocate_reserve = 0
log_level = ERROR
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
user = {user}
workers = 1
log_level = ERROR
[pipeline:main]
pipeline = catch_errors cache s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:9
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_nobody = nothing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
HASHES = """[swift-hash]
swift_hash_path_suffix = one
swift_hash_path_prefix = two
[storage-policy:0]
name = only
default = yes
"""


def has_swift() -> bool:
    """Whether Debian's packages swift-proxy, -account, -container and -object are installed."""
    return all(shutil.which(f"swift-{name}-server") for name in SWIFT)


def has_rclone() -> bool:
    """Whether there is an rclone with `serve s3` (1.65 or later)."""
    words = ["rclone", "serve", "s3", "--help"]
    if shutil.which("rclone") is None:
        return False
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


@contextmanager
def swift(folder: Path) -> Iterator[dict[str, str]]:
    """Swift's four servers over one device, which is a folder; its file system keeps xattrs."""
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(HASHES)
    ports = {name: free_port() for name in SWIFT}
    for name, port in ports.items():
        told = {
            "port": port,
            "folder": folder,
            "user": os.environ.get("USER", "root"),
            "name": name,
        }
        text = (PROXY if name == "proxy" else STORE).format(**told)
        (folder / f"{name}.conf").write_text(text)
        if name != "proxy":
            device = f"r1z1-127.0.0.1:{port}/d1"
            for words in (("create", "4", "1", "0"), ("add", device, "1"), ("rebalance",)):
                ring = ["swift-ring-builder", str(folder / f"{name}.builder"), *words]
                subprocess.run(ring, check=True, capture_output=True)
    with ExitStack() as stack:
        for name, port in ports.items():
            words = [f"swift-{name}-server", str(folder / f"{name}.conf")]
            stack.enter_context(_served(words, port, folder / f"{name}.log"))
        yield _known(ports["proxy"], "test:nobody")


@contextmanager
def rclone(folder: Path) -> Iterator[dict[str, str]]:
    """Rclone's server over a folder."""
    port, log = free_port(), folder / "rclone.log"
    (folder / "buckets").mkdir(parents=True)
    address = ["--addr", f"127.0.0.1:{port}", "--auth-key", "nobody,nothing"]
    with _served(["rclone", "serve", "s3", *address, str(folder / "buckets")], port, log):
        yield _known(port, "nobody")


@contextmanager
def _served(words: Sequence[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as said:
        quiet = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        server = subprocess.Popen(words, stdout=said, stderr=said, env=quiet)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(20)


def _known(port: int, key: str) -> dict[str, str]:
    known = {**KEYS, "AWS_ACCESS_KEY_ID": key, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    client(known).create_bucket(Bucket="corpora")
    return known
