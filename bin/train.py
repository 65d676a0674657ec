#!/bin/sh
''':'       # sh reads up to the next three quotes, which Python skips, and starts the Python of this installation
home=$(dirname "$(dirname "$(readlink -f "$0")")")
[ ! -x "$home/.venv/bin/python" ] || exec "$home/.venv/bin/python" -I -X utf8 "$0" "$@"
[ -z "$PYTHONHOME" ] || python3 -c "" 2> /dev/null || unset PYTHONHOME
exec python3 "$0" "$@"
'''
import sys; from pathlib import Path; sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.dont_write_bytecode = True      # `cp $BG_SRC/* .` is to find files only
from biogans import commands; commands.run("train")
