"""The formats in which predict.py writes generated cells."""

from .ome_zarr import OmeZarr
from .stacks import Folder, Pages, Sink, Stack

FORMATS: dict[str, type[Sink]] = {"h5": Stack, "tiff": Pages, "png": Folder, "zarr": OmeZarr}
