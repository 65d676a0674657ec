"""The latent space: reconstruction, interpolation, traversal, and a page of sliders."""
