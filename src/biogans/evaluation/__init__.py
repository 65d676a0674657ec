"""How good are generated cells? Two-sample tests, distances, diversity, saliency, model cards."""
