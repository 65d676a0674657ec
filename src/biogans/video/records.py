"""The data folder of biogans preprocess: crops, a record of each video by which a run resumes, and tables of both."""

import csv
import glob
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from ..system.errors import InputError
from ..system.files import replacing
from ..system.json_text import read_json
from .settings import read_settings

MANIFEST = ("file", "split", "class", "video", "frame", "down", "right", "coverage", "sharpness")
VIDEOS = ("class", "video", "split", "path", "frames", "drift_px", "noise_gain", "noise_sigma", "threshold", "white",
          "crops", "empty", "out_of_focus")


class DataFolder(NamedTuple):
    """Paths in the data folder `path` of a data set called `name`."""

    path: Path
    name: str

    @property
    def settings(self):
        """File of the settings with which its images were made."""
        return self.path / "settings.json"

    @property
    def work(self):
        """Folder of records and strips."""
        return self.path / ".work"

    def split(self, source):
        """Folder of the crops of a Source, relative to the data folder."""
        return f"{self.name}_{source.split}/{source.factor}"

    def crops(self, source):
        """Folder of the crops of a Source."""
        return self.path / self.split(source)

    def record(self, source):
        """Record of a Source."""
        return self.work / f"{source.factor}.{source.name}.json"

    def strip(self, source):
        """Strip of a Source for the contact sheet."""
        return self.work / f"{source.factor}.{source.name}.png"


def check_folder(folder, settings, overwrite):
    """Raise InputError if a DataFolder holds other data, or images of other settings without `overwrite`."""
    output = folder.path
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: choose another name for the output folder")
    if not output.is_dir() or not any(path.name != ".lock" for path in output.iterdir()):
        return
    if not folder.settings.is_file() or not folder.work.is_dir():
        raise InputError(f"{output} is not empty, and not from biogans preprocess: choose another folder")
    if read_settings(folder.settings) != settings.to_text() and not overwrite:
        raise InputError(f"{output} holds images of other settings: choose another folder, or add --overwrite")


def remove_crops(folder, source):
    """Remove the crops of a video that an interrupted run left."""
    for stale in glob.glob(f"{glob.escape(str(folder.crops(source) / source.name))}.f*.png"):
        os.unlink(stale)


def record_key(source, settings):
    """Digest of all that decides the crops of a video: settings, split, and the names, sizes and dates of its files."""
    files = sorted(source.path.iterdir()) if source.path.is_dir() else [source.path]
    identity = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr((settings.to_text(), source.split, identity)).encode()).hexdigest()


def write_record(path, record):
    """Write the record of a video as JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record))


def load_finished(folder, source, settings):
    """Record of a video that is finished, with all its crops present; else None."""
    try:
        record = read_json(folder.record(source))
        whole = all((folder.crops(source) / row["file"]).stat().st_size == row["bytes"] for row in record["rows"])
        return record if whole and record["key"] == record_key(source, settings) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_tables(folder, sources):
    """Write manifest.csv, a line for each crop, and videos.csv, one for each video; return the records."""
    records = [read_json(folder.record(source)) for source in sources]
    crops = [{**row, "file": f"{folder.split(source)}/{row['file']}", "split": source.split, "class": source.factor,
              "video": source.name} for source, record in zip(sources, records) for row in record["rows"]]
    write_table(folder.path / "manifest.csv", MANIFEST, crops)
    write_table(folder.path / "videos.csv", VIDEOS, [record["video"] for record in records])
    return records


def write_table(path, columns, rows):
    """Write these columns of dicts as a CSV file."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
