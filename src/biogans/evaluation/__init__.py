"""Evaluation of generated cells: two-sample tests, distances, diversity, saliency, model cards."""
