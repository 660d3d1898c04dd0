"""Alerts that a Prefect server gives by itself: a night failed, a gate failed, none succeeded.

`python -m cleanpipe.flows.alerts URL` makes three automations on the server of PREFECT_API_URL.
Each posts {"text": ...} to URL, from the server: no worker has to be alive. Chats take that, and
so does any small web server of your own. Asked again, they are replaced.
"""

import contextlib
import os
import sys
from datetime import timedelta
from typing import Any

from cleanpipe.flows import embedded  # noqa: F401 - its settings come before prefect
from cleanpipe.flows.nightly import GATE_FAILED
from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger, Posture

from cleanpipe.errors import CleanpipeError, RecipeError
from cleanpipe.nights.status import seconds

BLOCK = "cleanpipe-alerts"
STATE = "prefect.flow-run."
ANY_RUN = {"prefect.resource.id": STATE + "*"}
OF_NIGHTLY = {"prefect.resource.role": "flow", "prefect.resource.name": "nightly"}
FAILED = {STATE + name for name in ("Failed", "Crashed", "TimedOut")}
SUCCEEDED = {STATE + "Completed"}
RUN = "{{ flow_run.name }}: {{ flow_run.state.message }}"
TEXTS = {
    "cleanpipe: night failed": f"nightly failed, {RUN}",
    "cleanpipe: gate failed": f"nightly was not published, {RUN}",
    "cleanpipe: no success": "no nightly run has completed for SILENCE",
}


def triggers(silence: timedelta) -> dict[str, dict[str, Any]]:
    """What each alert waits for; `silence` is how long no night may complete."""
    at_once = {"posture": Posture.Reactive, "threshold": 1, "within": timedelta(0)}
    # Counted from the last success; the first one ever starts it.
    absent = {"posture": Posture.Proactive, "threshold": 1, "within": silence}
    return {
        "cleanpipe: night failed": {"expect": FAILED, **at_once},
        "cleanpipe: gate failed": {"expect": {STATE + GATE_FAILED}, **at_once},
        "cleanpipe: no success": {"after": SUCCEEDED, "expect": SUCCEEDED, **absent},
    }


def create(url: str, silence: str = "26h") -> None:
    """Make the three automations, or replace them: each posts to `url`."""
    block = Webhook(method="POST", url=url, headers={"Content-Type": "application/json"})
    identifier = block.save(BLOCK, overwrite=True)
    for name, trigger in triggers(timedelta(seconds=seconds(silence))).items():
        text = TEXTS[name].replace("SILENCE", silence)
        said = f"{{% set text %}}cleanpipe: {text}\nsee docs/nightly.md{{% endset %}}"
        payload = said + '{"text": {{ text | string | tojson }}}'
        action = CallWebhook(block_document_id=identifier, payload=payload)
        with contextlib.suppress(ValueError):  # there was none
            Automation.read(name=name).delete()
        waits = EventTrigger(
            match={"prefect.resource.id": STATE + "*"}, match_related=OF_NIGHTLY, **trigger
        )
        Automation(name=name, trigger=waits, actions=[action]).create()
        sys.stdout.write(f"{name}: made\n")


def main(words: list[str]) -> int:
    """The command line: a URL, and how long no night may succeed."""
    try:
        if not 1 <= len(words) <= 2:
            raise RecipeError("usage: python -m cleanpipe.flows.alerts URL [26h]")
        if "PREFECT_API_URL" not in os.environ:
            raise RecipeError(
                "PREFECT_API_URL is not set: alerts live on a server that stays, such as "
                "http://127.0.0.1:4200/api"
            )
        create(*words)
    except CleanpipeError as error:
        sys.stderr.write(f"cleanpipe: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
