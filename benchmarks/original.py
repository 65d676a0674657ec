"""The PyTorch code of Osokin et al. (2017) as a contender of compare.py: an adapter to the user's own copy.

`git clone https://github.com/aosokin/biogans` provides the folder `code`. Its main.py runs as it is, with the options
from the authors' scripts, up to the training loop. Iterations are calls of its own train_one_step, with its own reading
of images. The code was written for PyTorch 0.2; CHANGES lists the adaptations to today's PyTorch, which are applied in
memory when the files are read. Nothing in the user's folder is changed or added.
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
# {module: {original text: replacement for PyTorch 2}}
CHANGES = {
    "dcgan": {"'.format(": "'.replace('.', '-').format("},      # names of modules must not contain dots
    "gan": {
        ".data[0]": ".item()",                          # a mean has no axis since PyTorch 0.4
        ", volatile=True": "",                          # write_image() disables gradients
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
    """Training with the original code, eager or with compiled networks; `task` comes from compare.py."""

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
        """Set the precision explicitly, because PyTorch's default for convolutions is TF32."""
        torch = self.torch
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.precision = (torch.autocast(device, torch.bfloat16) if precision == "bfloat16"
                          else contextlib.nullcontext())

    def _count_update(self, *unused):
        self.updates += 1

    def iterate(self):
        """Run one iteration as the original's loop does; return the losses of critic and generator."""
        self.updates = 0
        self.model.netD.train()
        self.model.netG.train()
        with self.precision:
            return self.model.train_one_step(self.real, self.fake, num_disc_iters=self.opt.num_disc_iters,
                                             i_iter=USUAL_ITERATION)

    def write_image(self, folder):
        """Write the pictures that the original saves during training; no_grad replaces its Variable(volatile=True)."""
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
                         f"and torchvision there, or omit --original")


def check_folder(folder):
    """Raise InputError if `folder` does not contain the code to which CHANGES applies."""
    for name in (*MODULES, "main"):
        path = folder / f"{name}.py"
        if not path.is_file():
            raise InputError(f"--original {folder}: {name}.py is missing: give the folder «code» of a checkout of "
                             f"https://github.com/aosokin/biogans")
        for old in CHANGES.get(name, ()):
            if old not in path.read_text():
                raise InputError(f"{path} does not contain «{old}»: give --original an unchanged checkout")


def options(task, cuda):
    """Arguments of main.py for compare.py's task: options from the authors' scripts, otherwise its defaults."""
    star = task["architecture"] == "DCGAN-starshaped"
    return ["--dataroot", task["data_per_factor"] if star else task["data"],
            "--dataset_type", "conditional-cached" if star else "folder-cached",
            "--image_height", str(task["height"]), "--image_width", str(task["width"]),
            "--model_type", ARCHITECTURES[task["architecture"]], "--GAN_algorithm", task["algorithm"],
            "--num_disc_iters", "1" if task["algorithm"] == "GAN" else "5",
            "--batch_size", str(task["batch_size"]), "--ngf", str(task["ngf"]), "--ndf", str(task["ndf"]),
            "--experiment", task["folder"], *(["--cuda"] if cuda else [])]


def run_main(folder, arguments):
    """Run main.py up to its training loop and return the names that it defines."""
    check_folder(folder)
    multiprocessing.set_start_method("fork", force=True)        # its image readers find the modules by name
    for name in MODULES:
        sys.modules[name] = module = types.ModuleType(name)
        execute(folder / f"{name}.py", vars(module))
    sys.modules["gan"].GAN_base.train = lambda model, dataloader, opt: None
    sys.argv = ["main.py", *arguments]
    names = {"__name__": "__main__"}
    execute(folder / "main.py", names)
    return names


def execute(path, names):
    """Run a file with its CHANGES applied."""
    text = path.read_text()
    for old, new in CHANGES.get(path.stem, {}).items():
        text = text.replace(old, new)
    names["__file__"] = str(path)
    exec(compile(text, str(path), "exec"), names)


def compile_networks(model):
    """Compile both networks; torch.compile cannot differentiate twice, so the penalty uses the uncompiled critic."""
    model.netG.compile()
    model.netD.compile()
    if hasattr(model, "compute_gradient_penalties"):
        penalties = model.compute_gradient_penalties
        model.compute_gradient_penalties = lambda critic, real, fake: penalties(critic.forward, real, fake)


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())
