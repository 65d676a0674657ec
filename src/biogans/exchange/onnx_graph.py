"""A generator as an ONNX graph, which ONNX Runtime runs in a browser or elsewhere, without Keras.

docs/explore.md explains why Keras's own export, which needs tf2onnx, is not used.
"""

import numpy as np

from ..system.errors import InputError
from ..system.lazy import keras

OPSET = 17
IR_VERSION = 8          # the one of this opset, so that every runtime that has all operators can read the file


def serialize(generator, half=True, channels_last=False, properties=None):
    """The bytes of an ONNX file that generates the same images as `generator`, a Keras model of the layers in LAYERS.

    half            store the kernels of convolutions and dense layers as float16, in half the bytes; they are cast to
                    float32 before use
    channels_last   output (batch, height, width, channels), as Keras does; ONNX's convolutions have channels first
    properties      {name: text}, metadata of the file

    Input "z", float32 (batch, nz); output "pixels", float32 (batch, channels, height, width) unless channels_last.
    Raises InputError for a layer that is not in LAYERS.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph(half)
    # A layer may be called several times; this visits each call.
    traced = keras.models.clone_model(generator, clone_function=lambda layer: layer, call_function=graph.call)
    height, width, channels = generator.output_shape[1:]
    images, shape = [graph.names[id(traced.output)]], [channels, height, width]
    if channels_last:
        graph.add("Transpose", images, "pixels", perm=[0, 2, 3, 1])
        shape = [height, width, channels]
    else:
        graph.add("Identity", images, "pixels")
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", generator.input_shape[1]])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", *shape])
    model = helper.make_model(helper.make_graph(graph.nodes, "generator", [z], [pixels], graph.arrays),
                              opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    helper.set_model_props(model, properties or {})
    onnx.checker.check_model(model)
    return model.SerializeToString()


class _Graph:
    """Nodes and arrays of a graph that grows call by call; `names`: {id of a Keras tensor: name of its value}.

    The names of constants are those of their layers, so that layers that are called several times have them once.
    """

    def __init__(self, half):
        self.nodes, self.arrays, self.names, self.half = [], [], {}, half
        self._known = set()

    def call(self, layer, inputs, **settings):
        """The Keras tensor that a layer makes of its `inputs`, one or a list; adds it to the graph."""
        kind = type(layer).__name__
        if kind not in LAYERS:
            raise InputError(f"layer {layer.name}: {kind} has no translation to ONNX: add one to onnx_graph.py (it has "
                             f"{', '.join(LAYERS)})")
        values = [self.names.get(id(tensor), "z") for tensor in (inputs if isinstance(inputs, list) else [inputs])]
        output = layer(inputs, **settings)
        self.names[id(output)] = LAYERS[kind](self, layer, *values)
        return output

    def add(self, operator, inputs, name, **attributes):
        """Add a node; returns the name of its output: `name`, with a number if there is one of this name."""
        from onnx import helper
        own, number = name, 1
        while own in self._known:
            own, number = f"{name}_call{number}", number + 1
        self._known.add(own)
        self.nodes.append(helper.make_node(operator, inputs, [own], name=own, **attributes))
        return own

    def array(self, name, values):
        """Add a constant, unless it is there; returns its name."""
        from onnx import numpy_helper
        if name not in self._known:
            self._known.add(name)
            self.arrays.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def kernel(self, name, values):
        """Add a constant that may be stored as float16, unless it is there; returns its name."""
        from onnx import TensorProto
        if not self.half or name in self._known:
            return self.array(name, values)
        return self.add("Cast", [self.array(f"{name}_half", values.astype("float16"))], name, to=TensorProto.FLOAT)


def _dense(graph, layer, value):
    result = graph.add("MatMul", [value, graph.kernel(f"{layer.name}_kernel", layer.kernel.numpy())], layer.name)
    if layer.use_bias:
        result = graph.add("Add", [result, graph.array(f"{layer.name}_bias", layer.bias.numpy())], f"{layer.name}_sum")
    return result


def _reshape(graph, layer, value):
    """A feature map is assembled with channels last, as in Keras, and then transposed."""
    shape = graph.array(f"{layer.name}_shape", np.array([-1, *layer.output.shape[1:]], "int64"))
    result = graph.add("Reshape", [value, shape], layer.name)
    if len(layer.output.shape) == 4:
        result = graph.add("Transpose", [result], f"{layer.name}_channels_first", perm=[0, 3, 1, 2])
    return result


def _cropping(graph, layer, value):
    start, end = layer.cropping
    bounds = [graph.array(f"{layer.name}_{name}", np.array([number], "int64"))
              for name, number in (("start", start), ("end", layer.input.shape[1] - end), ("axis", 1))]
    return graph.add("Slice", [value, *bounds], layer.name)


def _transposed_convolution(graph, layer, value):
    """Kernels are (height, width, out, in) in Keras and (in, out, height, width) in ONNX."""
    (high, wide), (down, across) = layer.kernel_size, layer.strides
    over = [(high - down) // 2, (wide - across) // 2]       # what "same" padding cuts off at the sides
    rest = [high - down - over[0], wide - across - over[1]]
    kernel = graph.kernel(f"{layer.name}_kernel", layer.kernel.numpy().transpose(3, 2, 0, 1))
    bias = [graph.array(f"{layer.name}_bias", layer.bias.numpy())] if layer.use_bias else []
    return graph.add("ConvTranspose", [value, kernel, *bias], layer.name, kernel_shape=[high, wide],
                     strides=[down, across], pads=over + rest)


def _batch_normalization(graph, layer, value):
    numbers = {"gamma": layer.gamma, "beta": layer.beta, "mean": layer.moving_mean, "variance": layer.moving_variance}
    names = [graph.array(f"{layer.name}_{name}", variable.numpy()) for name, variable in numbers.items()]
    return graph.add("BatchNormalization", [value, *names], layer.name, epsilon=layer.epsilon)


def _relu(graph, layer, value):
    return graph.add("Relu", [value], layer.name)


def _activation(graph, layer, value):
    operators = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}
    name = layer.activation.__name__
    if name not in operators:
        raise InputError(f"layer {layer.name}: the activation {name} has no translation to ONNX: add one to "
                         f"onnx_graph.py (it has {', '.join(operators)})")
    return graph.add(operators[name], [value], layer.name)


def _concatenate(graph, layer, *values):
    return graph.add("Concat", list(values), layer.name, axis=1)


LAYERS = {
    "Dense": _dense,
    "Reshape": _reshape,
    "Cropping1D": _cropping,
    "Conv2DTranspose": _transposed_convolution,
    "BatchNormalization": _batch_normalization,
    "ReLU": _relu,
    "Activation": _activation,
    "Concatenate": _concatenate,
}
