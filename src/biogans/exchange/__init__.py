"""Trained networks to and from other programs: ONNX, SavedModel, BioImage Model Zoo, PyTorch."""
