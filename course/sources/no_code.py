# %% [markdown]
r"""
# Generate cells without code

For biologists: choose a folder of images, train a network on it while you watch, and download the cells that it
generates. Run the cells from top to bottom, by the triangle on their left or with Shift+Enter. You may change the values
on the right of an equals sign; nothing else needs to be read.

**Your images.** One folder with PNG or TIFF files: one cell in each, all of the same size, centred, a few hundred at
least (`docs/biologist.md`: which images are suitable). The word `sample` stands for the images that come with
BioGANs, which are *simulated* yeast cells.

**What you get** after some minutes is a first impression. Good cells take hours; repeat step 2 to continue the training.
"""

# %% install

# %% form
# @title Step 1: choose
folder = "sample"           # @param {type:"string"}
classes = "Tea1"            # @param {type:"string"}
preset = "fast"             # @param ["fast", "paper"]
minutes = 5                 # @param {type:"number"}
results = "my_cells"        # @param {type:"string"}

# %% [markdown]
r"""
- `folder`: where your images are, or `sample`
- `classes`: names of the folders of images in it, separated by commas; empty for all of them
- `preset`: `fast` for a computer without a GPU, `paper` for the networks of the paper, which need a GPU and hours
- `minutes`: how long to train
- `results`: a folder for the results, which is created. Choose another one for other images
"""

# %% form
# @title Step 2: train, and watch
from pathlib import Path

import biogans
from biogans.system.notebook import Preview, run_command

SAMPLE = Path(biogans.__file__).resolve().parents[2] / "data_48-80" / "data"
data = SAMPLE if folder == "sample" else Path(folder).expanduser().resolve()
chosen = ["-p", classes.replace(" ", "")] if classes.strip() else []
try:
    run_command("train", "-d", data, *chosen, "-m", "DCGAN", "--preset", preset, "-e", 1_000_000, "-M", 20, "--resume",
                folder=results, seconds=60 * minutes, preview=Preview(f"{results}/images"))
    print(f"trained for {minutes:g} minutes, and saved. Run this cell again to continue, or go on to step 3")
except RuntimeError as problem:
    print(problem)

# %% [markdown]
r"""
The picture shows cells that the network generates, always from the same random numbers. It is replaced after every 20
iterations. Do the cells still improve? Then run the cell again. The square on top stops the training, and saves it.

## Before you show them

Generated cells are no observations. They show what your images have in common, and can't show what no image has shown.
`docs/biologist.md` explains how to measure how good they are.
"""

# %% form
# @title Step 3: generate cells, and download them
number_of_cells = 100       # @param {type:"integer"}
file_format = "tiff"        # @param ["tiff", "png", "h5"]

import shutil

from IPython.display import FileLink, display

weights = sorted(Path(results).glob("checkpoints/weights.generator.*.h5"), key=lambda path: path.stat().st_mtime)
if weights:
    try:
        run_command("predict", "-i", weights[-1].resolve(), "-n", number_of_cells, "--format", file_format,
                    folder=results)
        newest = max(Path(results, "images").glob("stack*"), key=lambda path: path.stat().st_mtime)
        if newest.is_dir():
            newest = Path(shutil.make_archive(str(newest), "zip", newest))
        print(f"{number_of_cells} cells:")
        display(FileLink(newest))
    except RuntimeError as problem:
        print(problem)
else:
    print("no trained network yet: run step 2 first, perhaps with more minutes")

# %% [markdown]
r"""
- `number_of_cells`: how many to generate. Repeat the step for other cells
- `file_format`: `tiff` for Fiji, `png` for a folder of images (as one ZIP file), `h5` for Python

Click on the link to download the file; on Colab, open the folder on the left and download it there.
"""
