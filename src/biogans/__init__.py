"""BioGANs: generative adversarial networks for images of biological cells."""

__version__ = "1.0.0"
