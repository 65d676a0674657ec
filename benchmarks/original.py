"""The PyTorch code of Osokin et al. (2017) as a contender of compare.py: an adapter to the user's own copy of it.

`git clone https://github.com/aosokin/biogans` gives its folder `code`. Its main.py runs from there as it is, with the
options of its authors' scripts, up to its training loop; iterations are then its own train_one_step, one at a time,
with its own reading of images. It was written for PyTorch 0.2: what has changed since is in CHANGES, and is applied to
the text in memory as it is read. No file of it is changed, and none is written into its folder.
"""

import contextlib
import importlib.util
import multiprocessing
import os
import sys
import types
from pathlib import Path

from biogans.system.errors import InputError

USUAL_ITERATION = 26        # counted from 0; WGAN updates its critic 100 times in the first 25 and in every 500th
MODULES = ("utils", "custom_dataloaders", "dcgan", "dcgan_starshaped", "gan", "wgan", "nearest_neighbors",
           "reconstruction")
ARCHITECTURES = {"DCGAN": "DCGAN", "DCGAN-separable": "DCGAN-sep", "DCGAN-starshaped": "DCGAN-star-shaped"}
# {module: {what it says: what PyTorch 2 understands}}
CHANGES = {
    "dcgan": {"'.format(": "'.replace('.', '-').format("},      # names of modules have no dots any more
    "gan": {
        ".data[0]": ".item()",                          # a mean has no axis any more
        ", volatile=True": "",                          # draw() computes without gradients
        "torch.cat(errD_a, 0)": "torch.stack(errD_a, 0)",       # for the same reason
        "torch.cat(errD_b, 0)": "torch.stack(errD_b, 0)",
        "size_average=True": "reduction='mean'",
    },
    "custom_dataloaders": {
        "make_dataset(root, class_to_idx)": "make_dataset(root, class_to_idx, IMG_EXTENSIONS)",
        "make_dataset(data_path, class_to_idx)": "make_dataset(data_path, class_to_idx, IMG_EXTENSIONS)",
    },
}


class Original:
    """A training of the original code, eager or with its networks compiled; `task` is compare.py's."""

    def __init__(self, task):
        import torch
        self.torch = torch
        threads = len(os.sched_getaffinity(0))
        self.torch.set_num_threads(threads)
        self._set_precision(task["precision"])
        run = run_main(Path(task["original"]), options(task, self.torch.cuda.is_available()))
        self.model, self.opt = run["gan_model"], run["opt"]
        self.images = run["gan"].GanImageloader()
        self.real = self.images.return_iterator(run["dataloader_train"], self.model.is_cuda, self.opt.nc)
        self.fake = self.model.fake_data_generator(self.opt.batch_size, self.opt.nz)
        self.updates = 0
        self.model.optimizerD.register_step_post_hook(self._count_update)
        if task["compiled"]:
            compile_networks(self.model)

    def _set_precision(self, precision):
        """TF32 is PyTorch's default for convolutions; float32 must be asked for."""
        torch = self.torch
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.precision = (torch.autocast(device, torch.bfloat16) if precision == "bfloat16"
                          else contextlib.nullcontext())

    def _count_update(self, *unused):
        self.updates += 1

    def iterate(self):
        """Losses of critic and generator after one iteration: what its loop calls."""
        self.updates = 0
        self.model.netD.train()
        self.model.netG.train()
        with self.precision:
            return self.model.train_one_step(self.real, self.fake, num_disc_iters=self.opt.num_disc_iters,
                                             i_iter=USUAL_ITERATION)

    def draw(self, folder):
        """Its pictures of the same latents after each so many iterations; Variable(volatile=True) meant no_grad."""
        with self.torch.no_grad():
            self.model.save_samples(self.images.last_images, self.model.generate_fixed_noise(self.opt), 1, self.opt)

    def facts(self):
        last = self.images.last_images.shape        # ([factors], batch, channels, height, width)
        return {
            "same": {
                "generator_parameters": parameters(self.model.netG), "critic_parameters": parameters(self.model.netD),
                "critic_updates": self.updates, "images_per_update": last[:-3].numel(),
                "image": [last[-2], last[-1], last[-3]],
            },
            "versions": {"torch": self.torch.__version__},
        }

    def device_memory(self):
        return self.torch.cuda.max_memory_allocated() if self.model.is_cuda else None

    def profile(self):
        """{operation: seconds} of one iteration: GPU kernels, or PyTorch's operations on the CPU."""
        profiler = self.torch.profiler
        on_gpu = self.model.is_cuda
        kinds = [profiler.ProfilerActivity.CPU] + [profiler.ProfilerActivity.CUDA] * on_gpu
        with profiler.profile(activities=kinds) as record:
            self.iterate()
        rows = record.key_averages()
        if on_gpu:
            rows = [row for row in rows if row.device_type == self.torch.autograd.DeviceType.CUDA]
        times = {row.key: 1e-6 * (row.self_device_time_total if on_gpu else row.self_cpu_time_total) for row in rows}
        return dict(sorted(times.items(), key=lambda item: -item[1]))


def check_torch():
    """Raise InputError if torch or torchvision is missing."""
    missing = [name for name in ("torch", "torchvision") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"--original needs PyTorch: {sys.executable} has no {' and no '.join(missing)}: install torch "
                         f"and torchvision there, or leave --original out")


def check_folder(folder):
    """Raise InputError if `folder` doesn't hold the code that CHANGES is for."""
    for name in (*MODULES, "main"):
        path = folder / f"{name}.py"
        if not path.is_file():
            raise InputError(f"--original {folder}: no {name}.py there: give the folder «code» of a checkout of "
                             f"https://github.com/aosokin/biogans")
        for old in CHANGES.get(name, ()):
            if old not in path.read_text():
                raise InputError(f"{path} doesn't contain «{old}»: give --original an unchanged checkout")


def options(task, cuda):
    """Command line of main.py for compare.py's task: those of its authors' scripts and its own defaults."""
    star = task["architecture"] == "DCGAN-starshaped"
    return ["--dataroot", task["data_per_factor"] if star else task["data"],
            "--dataset_type", "conditional-cached" if star else "folder-cached",
            "--image_height", str(task["height"]), "--image_width", str(task["width"]),
            "--model_type", ARCHITECTURES[task["architecture"]], "--GAN_algorithm", task["algorithm"],
            "--num_disc_iters", "1" if task["algorithm"] == "GAN" else "5",
            "--batch_size", str(task["batch_size"]), "--ngf", str(task["ngf"]), "--ndf", str(task["ndf"]),
            "--experiment", task["folder"], *(["--cuda"] if cuda else [])]


def run_main(folder, arguments):
    """The names that main.py defines, once it has run up to its training loop."""
    check_folder(folder)
    multiprocessing.set_start_method("fork", force=True)        # its readers of images know the modules by name
    for name in MODULES:
        sys.modules[name] = module = types.ModuleType(name)
        execute(folder / f"{name}.py", vars(module))
    sys.modules["gan"].GAN_base.train = lambda model, dataloader, opt: None
    sys.argv = ["main.py", *arguments]
    names = {"__name__": "__main__"}
    execute(folder / "main.py", names)
    return names


def execute(path, names):
    """Run a file with the CHANGES of its name."""
    text = path.read_text()
    for old, new in CHANGES.get(path.stem, {}).items():
        text = text.replace(old, new)
    names["__file__"] = str(path)
    exec(compile(text, str(path), "exec"), names)


def compile_networks(model):
    """torch.compile both networks; it can't differentiate twice, so the penalty's pass stays as it is."""
    model.netG.compile()
    model.netD.compile()
    if hasattr(model, "compute_gradient_penalties"):
        penalties = model.compute_gradient_penalties
        model.compute_gradient_penalties = lambda critic, real, fake: penalties(critic.forward, real, fake)


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())
