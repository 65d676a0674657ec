from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = (HERE / "src/biogans/__init__.py").read_text().split('__version__ = "')[1].split('"')[0]

ROOMS = ("system", "core", "data", "video", "exchange", "evaluation", "latent")

setup(
    name="biogans",
    version=VERSION,
    description="Generative adversarial networks for images of biological cells",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "src"},
    packages=["biogans", *(f"biogans.{room}" for room in ROOMS)],
    package_data={"biogans.latent": ["page/*"]},
    install_requires=[
        "tensorflow>=2.18",
        "keras>=3.13.2",        # earlier ones have holes in the reading of HDF5 files
        "numpy>=1.26",
        "scipy>=1.15",
        "scikit-learn>=1.3",
        "h5py>=3.11",
        "pillow>=10.1",
        "tifffile>=2025.1.10",
        "scikit-image>=0.22",
        "imageio>=2.31",
        "imageio-ffmpeg>=0.8",  # its wheel holds the program ffmpeg, which writes MP4
        "matplotlib>=3.10",
        "tqdm>=4.66",
        "onnx>=1.16",
        "tensorboard>=2.18",
        "pooch>=1.7",
        "requests>=2.28",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.18"],
        "jax": ["jax>=0.5"],    # earlier ones draw other initial weights from the same seed
        "torch": ["torch>=2.10"],       # earlier ones can be made to run code by a weights file (CVE-2026-24747)
        "course": ["jupyterlab>=4", "latex2mathml>=3.77"],
        "zoo": ["bioimageio.core>=0.11", "pydantic<2.13"],      # with later ones its validator fails
        "test": ["pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6.100", "onnxruntime>=1.18", "playwright>=1.45",
                 "websocket-client>=1.8"],
    },
    entry_points={"console_scripts": ["biogans = biogans.commands:main"]},
)
