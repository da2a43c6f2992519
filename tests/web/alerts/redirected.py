"""`python -m tests.web.alerts.redirected`, in a network of its own: a public address redirects a message inward.

Prints what came of it as JSON. The loopback has been given PUBLIC.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.web.alerts.sinks import Webhook, served

PUBLIC = "8.8.8.9"  # nobody's here: this network reaches nothing


def main() -> None:
    with served(Webhook()) as inner, served(Webhook(PUBLIC)) as outer:
        found = {}
        for name, behavior in (("taken", "take"), ("redirected", f"http://127.0.0.1:{inner.port}/")):
            outer.behavior = behavior
            asked = {"target": f"json://{PUBLIC}:{outer.port}", "title": "t", "body": "b", "allow_private": False}
            command = [sys.executable, "-m", "app.alerts.send"]
            done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=60)
            found[name] = {"status": done.returncode, "error": done.stderr.strip().splitlines()[-1:]}
        sys.stdout.write(json.dumps({**found, "outer": outer.asked, "inner": inner.asked}))


if __name__ == "__main__":
    main()
