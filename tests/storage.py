"""S3-compatible storage on loopback: moto's server in a process of its own, ended by its id.

Buckets named `forgets...` ignore the conditions of a put, as some servers do, and `refuses...`
answer that they know none.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from clusters import PATIENCE

KEYS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def a_store(bucket: str = "corpora") -> Iterator[dict[str, str]]:
    """Storage with one empty bucket; what the environment says of it."""
    port = free_port()
    words = [sys.executable, __file__, str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(words, **quiet, env={**os.environ, **KEYS})
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            assert server.poll() is None, f"it ended with {server.returncode}"
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(0.05)
        environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        for name in (bucket, "forgets", "refuses"):
            client(environment).create_bucket(Bucket=name)
        yield environment
    finally:
        server.terminate()
        server.wait(10)


def free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def client(environment: dict[str, str]):
    """Amazon's own library, to look at what is there and to spoil it."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(request_checksum_calculation="when_required"),
    )


def serve(port: int) -> None:
    """Moto's server, with buckets that honour no conditions."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    moto = DomainDispatcherApplication(create_backend_app)
    conditions = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")
    refusal = b"<Error><Code>NotImplemented</Code><Message>no conditions</Message></Error>"

    def application(environ, start_response):
        asked = environ["REQUEST_METHOD"] == "PUT" and any(name in environ for name in conditions)
        if asked and environ["PATH_INFO"].startswith("/refuses"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("501 Not Implemented", [("Content-Length", str(len(refusal)))])
            return [refusal]
        if asked and environ["PATH_INFO"].startswith("/forgets"):
            for name in conditions:
                environ.pop(name, None)
        return moto(environ, start_response)

    run_simple("127.0.0.1", port, application, threaded=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
