"""Images to train on: downloaded or simulated."""
