"""Files, locks, processes and the command line: what every room stands on."""
