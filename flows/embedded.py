"""A quiet local Prefect server for one run: isolated, offline, nothing to install or start.

Import it before prefect: Prefect reads its settings once. Where PREFECT_API_URL names a server,
runs go there, and only the telemetry switches below still hold.
"""

import os
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # not ~/.prefect: somebody's active profile would send our runs to their server
    "PREFECT_HOME": str(CACHE / "cleanpipe" / "prefect"),
    # migrations of a first start took 19 s on two processors; Prefect's own limit is 20
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # one row a flush loses the tail of the task runs when the server stops
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "0.2",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}

for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)
