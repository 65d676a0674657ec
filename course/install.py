# @title Install BioGANs where it is missing (some minutes; elsewhere this does nothing)
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

REPOSITORY = ""         # address from which to clone, if the notebook is alone


def install():
    """Install BioGANs from the repository around the notebook, or else from a clone; returns "" or what went wrong."""
    around = [folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "src" / "biogans").is_dir()]
    folder = around[0] if around else Path("BioGANs").resolve()
    commands = [[sys.executable, "-m", "pip", "install", "--editable", str(folder)]]
    if not folder.exists():
        if not REPOSITORY:
            return "no copy of its repository is around this notebook"
        commands.insert(0, ["git", "clone", "--depth", "1", REPOSITORY, str(folder)])
    for command in commands:
        last = f"{command[0]} failed"
        try:
            with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
                for line in filter(str.strip, process.stdout):
                    last = line.strip()
                    print(f"\r{last:100.100}", end="")
        except OSError as error:
            return str(error)
        print(f"\r{'':100}", end="\r")
        if process.returncode:
            return last
    sys.path.insert(0, str(folder / "src"))
    importlib.invalidate_caches()
    return ""


if importlib.util.find_spec("biogans") is None and (problem := install()):
    print(f"BioGANs can't be installed here ({problem}): start Jupyter by `make lab` in the repository of BioGANs, or "
          "choose that environment under Kernel > Change kernel")
