"""The core of BioGANs: what a student reads, copies and edits. Copied elsewhere, `python train.py` runs the copy."""
