"""Fluorescence videos and fields of cells, cut into standardised images for training."""
