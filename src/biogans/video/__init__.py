"""Fluorescence videos: from movies to standardised crops for training."""
