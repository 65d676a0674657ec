#!/usr/bin/env python3
import sys; from pathlib import Path; sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")
from biogans.launch import run_installed; run_installed("predict")
