"""Files, locks, processes and command lines: the foundation of all other rooms."""
