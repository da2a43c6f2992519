"""Print the path of a Chromium. If none is installed, install Debian's package (as root) or Playwright's build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def from_debian() -> str | None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        if subprocess.run(["apt-get", *arguments], stdout=sys.stderr, env=environment, check=False).returncode:
            return None
    return installed()


def from_playwright() -> str | None:
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


if __name__ == "__main__":
    found = os.environ.get("TRACKSIDE_TEST_BROWSER") or installed() or from_debian() or from_playwright()
    if found is None:
        sys.exit("No Chromium was found and none could be installed: the browser tests need one.")
    sys.stdout.write(found)
