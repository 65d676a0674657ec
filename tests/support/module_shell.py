"""`module` in a new login shell, with environment-modules or with Lmod."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

INITS = {
    "environment-modules": Path("/usr/share/modules/init/bash"),
    "Lmod": Path(os.environ.get("LMOD_INIT", "/usr/share/lmod/lmod/init/bash")),
}
VERSION = "1.0.0"
LOAD_LINE = f"[+] Loading biogans {VERSION}\n"
SHOW = (r'for v in BG_HOME BG_BIN BG_SRC BG_DATA BG_DATA_48; do printf "%s=%s\n" $v "${!v}"; done; '
        r'echo "first=${PATH%%:*}"')


def shown(home):
    """The output of SHOW after the module of the installation `home` was loaded."""
    return (f"BG_HOME={home}\nBG_BIN={home}/bin\nBG_SRC={home}/src/biogans/core\nBG_DATA={home}/data\n"
            f"BG_DATA_48={home}/data_48\nfirst={home}/bin\n")


class ModuleShell:
    """Runs commands in a shell where `module` finds biogans: shell("module load biogans; …") -> CompletedProcess.

    The shell has the environment of a new login, without settings of the tests. Skips the test if the program for
    modules, one of INITS, is not installed.
    """

    def __init__(self, name, folder):
        self.name, self.init, self.work = name, INITS[name], folder / "work"
        if not self.init.is_file():
            pytest.skip(f"no {name} on this machine ({self.init}; for Lmod elsewhere set LMOD_INIT)")
        self.environment = {"HOME": str(folder), "PATH": f"{Path(sys.executable).parent}:{os.defpath}", "TERM": "dumb",
                            "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}

    def __call__(self, commands, prefix=ROOT, use=None):
        """Run `commands` in the folder `work`, after `module use` of the folder `use` or of an installation's."""
        self.work.mkdir(exist_ok=True)
        script = f". '{self.init}'; module use '{use or prefix / 'modulefiles'}'; {commands}"
        return subprocess.run(["bash", "--norc", "--noprofile", "-c", script], cwd=self.work, env=self.environment,
                              capture_output=True, text=True, timeout=120)
