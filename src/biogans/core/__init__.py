"""The core of BioGANs, for students to read, copy and edit: in a copy, `python train.py` runs the edited files."""
