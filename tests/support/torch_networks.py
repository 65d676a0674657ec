"""Networks in PyTorch with the array names and shapes of github.com/aosokin/biogans, which also generate.

Modules there have dots in their names, which PyTorch refuses since 0.4, so they are added without its check.
"""

import collections
import pickle
import struct

import torch
from torch import nn

MAGIC, PROTOCOL = 0x1950a86a20f9469cfc6c, 1001      # with which the files of PyTorch 0.2 begin


def sequence(modules):
    whole = nn.Sequential()
    whole._modules.update(modules)
    return whole


class Main(nn.Module):
    def __init__(self, modules):
        super().__init__()
        self.main = modules

    def forward(self, z):
        return self.main(z)


class Separable(nn.Module):
    """A transposed convolution whose first outputs read only the first inputs."""

    def __init__(self, inputs, outputs, *shape, part):
        super().__init__()
        self.red = int(inputs * part)
        self.convt_half = nn.ConvTranspose2d(self.red, int(outputs * part), *shape, bias=False)
        self.convt_all = nn.ConvTranspose2d(inputs, outputs - int(outputs * part), *shape, bias=False)

    def forward(self, x):
        return torch.cat([self.convt_half(x[:, :self.red]), self.convt_all(x)], 1)


def dcgan(size, nz, ngf, channels=2, part=None):
    """DCGAN_G: z (cells, nz, 1, 1) -> (cells, channels, *size); `part` is the share of red in a separable generator."""
    stages = stages_of(size)
    widths = [nz, *(ngf * 2 ** level for level in reversed(range(stages))), channels]
    modules = {}
    for level, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        name = "initial" if level == 0 else "final" if level == stages else "pyramid"
        shape = (tuple(side >> stages for side in size), 1, 0) if level == 0 else (4, 2, 1)
        modules[f"{name}.{inputs}-{outputs}.convt{'-sep' if part else ''}"] = (
            Separable(inputs, outputs, *shape, part=part) if part else
            nn.ConvTranspose2d(inputs, outputs, *shape, bias=False))
        if level < stages:
            modules[f"{name}.{outputs}.batchnorm"] = nn.BatchNorm2d(outputs)
            modules[f"{name}.{outputs}.ReLU"] = nn.ReLU()
        else:
            modules[f"{name}.{outputs}.tanh"] = nn.Tanh()
    return Main(sequence(modules))


class StarLayer(nn.Module):
    def __init__(self, inputs, outputs, *shape, classes, last=False):
        super().__init__()
        self.convt_red = nn.ConvTranspose2d(inputs // 2, outputs // 2, *shape, bias=False)
        self.convt_green = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs - outputs // 2, *shape, bias=False) for _ in range(classes))
        self.last = last
        if not last:
            self.batchnorm_red = nn.BatchNorm2d(outputs // 2)
            self.batchnorm_green = nn.ModuleList(nn.BatchNorm2d(outputs - outputs // 2) for _ in range(classes))

    def forward(self, red, greens):
        pairs = [torch.cat([red, green], 1) for green in greens]
        red, greens = self.convt_red(red), [layer(pair) for layer, pair in zip(self.convt_green, pairs)]
        if self.last:
            return torch.tanh(red), [torch.tanh(green) for green in greens]
        return torch.relu(self.batchnorm_red(red)), [
            torch.relu(layer(green)) for layer, green in zip(self.batchnorm_green, greens)]


class Star(nn.Module):
    """DCGAN_G_starShaped: z -> (classes, cells, 2, *size)."""

    def __init__(self, size, nz, ngf, classes):
        super().__init__()
        self.nz, self.classes, stages = nz, classes, stages_of(size)
        widths = [nz, *(ngf * 2 ** level for level in reversed(range(stages))), 2]
        self.main = nn.ModuleList(
            StarLayer(inputs, outputs, *((tuple(side >> stages for side in size), 1, 0) if level == 0 else (4, 2, 1)),
                      classes=classes, last=level == stages)
            for level, (inputs, outputs) in enumerate(zip(widths, widths[1:])))

    def forward(self, z):
        red, greens = z[:, :self.nz // 2], [z[:, self.nz // 2:]] * self.classes
        for layer in self.main:
            red, greens = layer(red, greens)
        return torch.stack([torch.cat([red, green], 1) for green in greens])


class Independent(nn.Module):
    """DCGAN_G_independent: z -> (classes, cells, 2, *size)."""

    def __init__(self, size, nz, ngf, classes, part=None):
        super().__init__()
        self.main = nn.ModuleList(dcgan(size, nz, ngf, part=part) for _ in range(classes))

    def forward(self, z):
        return torch.stack([network(z) for network in self.main])


def critic(size, ndf, channels=2):
    """DCGAN_D without batch normalisation."""
    stages = stages_of(size)
    widths = [channels, *(ndf << level for level in range(stages))]
    modules = {f"{'pyramid' if level else 'initial'}.{inputs}-{outputs}.conv":
               nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)
               for level, (inputs, outputs) in enumerate(zip(widths, widths[1:]))}
    modules[f"final.{widths[-1]}-1.conv"] = nn.Conv2d(widths[-1], 1, [side >> stages for side in size], bias=False)
    return Main(sequence(modules))


def stages_of(size):
    stages = 0
    while min(side >> stages for side in size) > 4:
        stages += 1
    return stages


def trained(network, nz, seed=0):
    """The network in evaluation mode, with scales, shifts and running statistics like those of a trained one."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, 0.2)
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(16, nz, 1, 1))
    return network.eval()


def drawn(network, z):
    """Images generated from z (cells, nz), as ours: (cells, height, width, channels), a star's red only once."""
    with torch.no_grad():
        images = network(torch.from_numpy(z)[:, :, None, None])
    if isinstance(network, Star):
        images = torch.cat([images[0][:, :1], *(pair[:, 1:] for pair in images)], 1)
    elif isinstance(network, Independent):
        images = torch.cat(list(images), 1)
    return images.permute(0, 2, 3, 1).numpy()


def write_as_in_2017(path, state):
    """Write a file as PyTorch 0.2 did: five pickles, then the arrays; no num_batches_tracked, another constructor."""
    state = {name: array for name, array in state.items() if not name.endswith("num_batches_tracked")}

    class Pickler(pickle._Pickler):
        def persistent_id(self, thing):
            return ("storage", torch.FloatStorage, thing[1], "cpu", thing[2], None) if type(thing) is tuple and (
                thing[:1] == ("array",)) else None

        def reducer_override(self, thing):
            if not isinstance(thing, torch.Tensor):
                return NotImplemented
            key = str(len(stored))
            stored[key] = thing.contiguous()
            return torch._utils._rebuild_tensor, (("array", key, thing.numel()), 0, tuple(thing.shape), thing.stride())

    stored = {}
    with open(path, "wb") as file:
        for thing in (MAGIC, PROTOCOL, {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}}):
            pickle.dump(thing, file, protocol=2)
        Pickler(file, protocol=2).dump(collections.OrderedDict(state))
        pickle.dump(sorted(stored), file, protocol=2)
        for key in sorted(stored):
            file.write(struct.pack("<q", stored[key].numel()) + stored[key].numpy().tobytes())
