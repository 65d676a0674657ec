"""What the latent space holds: reconstruction, interpolation, traversal and a page of sliders."""
