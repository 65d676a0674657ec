#!/usr/bin/env python3
import sys; from pathlib import Path; sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")
sys.dont_write_bytecode = True      # `cp $BG_SRC/* .` is to find files only
from biogans import commands; commands.run("predict")
