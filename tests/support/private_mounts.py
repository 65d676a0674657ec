"""Mounts that only one process sees: small disks, and system folders that are empty or can't be written."""

import os
import shutil
import subprocess

import pytest


def unshared(script):
    """The words that run the mounts in a shell script before a command; skips the test where they are not allowed."""
    words = ["unshare", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]), "--mount", "sh", "-c"]
    attempt = [*words, "mount -t tmpfs none /mnt"]
    if not shutil.which("unshare") or subprocess.run(attempt, capture_output=True).returncode:
        pytest.skip("this system does not allow private mounts (unshare)")
    return [*words, f"set -e; {script}; exec \"$@\"", "sh"]
