"""The verbs `cleanpipe push` and `cleanpipe fetch`: what is published, on S3-compatible storage."""

import sys
from pathlib import Path


def push(output: Path, address: str, *, alone: bool = False) -> int:
    """Put what an output folder publishes on S3-compatible storage; readers see all of it or none.

    AWS_ENDPOINT_URL names storage that is not Amazon's. A push that broke off goes on.

    Parameters
    ----------
    output
        The output folder of a published run.
    address
        Where to, as s3://bucket/prefix.
    alone
        Also to storage that knows no conditional puts: nobody else publishes to this place.
    """
    from cleanpipe.storage import publication  # noqa: PLC0415 - heavy; --help needs none

    sent = publication.push(output, address, alone=alone)
    sys.stdout.write(f"{sent['files']} files, {sent['bytes']:,} bytes sent to {address}\n")
    return 0


def fetch(address: str, output: Path) -> int:
    """Make an output folder of what is published on S3-compatible storage, to go on from it.

    Parameters
    ----------
    address
        Where from, as s3://bucket/prefix.
    output
        A new folder.
    """
    from cleanpipe.storage import publication  # noqa: PLC0415 - heavy; --help needs none

    got = publication.fetch(address, output)
    sys.stdout.write(f"{got['files']} files in {output}\n")
    return 0
