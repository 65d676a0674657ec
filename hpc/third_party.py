"""Print the third-party notices of an installation, from the metadata of what its environment holds.

    .venv/bin/python hpc/third_party.py

`make install` writes them into THIRD-PARTY.txt. The full licence texts lie where each line says.
"""

import sysconfig
from importlib import metadata
from pathlib import Path

INSIDE = """
Some packages contain other software under other licences: imageio-ffmpeg the program ffmpeg (GPL 3 or later), h5py the
HDF5 library, imagecodecs and pillow the libraries of image formats, the nvidia packages CUDA (NVIDIA's licence).
src/biogans/latent/page contains ONNX Runtime Web (MIT); its version, digests and licence are in onnxruntime-web.txt."""


def licence(package):
    """The licence that a package states, as an SPDX expression if it has one."""
    text = package["License-Expression"]
    classifiers = [line.rpartition(" :: ")[2] for line in package.get_all("Classifier") or []
                   if line.startswith("License ::") and not line.endswith("OSI Approved")]
    short = [line.strip() for line in (package["License"] or "").splitlines() if line.strip()][:1]
    return text or ", ".join(classifiers) or " ".join(short)[:60] or "see its files"


def licence_files(distribution):
    """The files of a distribution that hold a licence or a notice, relative to the folder of libraries."""
    wanted = ("licen", "copying", "notice", "copyright")
    return sorted(str(path) for path in distribution.files or []
                  if ".dist-info" in path.parts[0] and path.name.lower().startswith(wanted))


def main():
    libraries = Path(sysconfig.get_path("purelib"))
    print("Python packages of this installation, below .venv/{}:\n".format(
        libraries.relative_to(Path(sysconfig.get_path("data")))))
    found = {d.metadata["Name"].lower(): d for d in metadata.distributions()}
    for name, distribution in sorted(found.items()):
        if name != "biogans":
            print("{} {}: {}".format(name, distribution.version, licence(distribution.metadata)))
            for path in licence_files(distribution):
                print("    " + path)
    print(INSIDE)


if __name__ == "__main__":
    main()
