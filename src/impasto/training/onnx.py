"""A network of one's own style as ONNX, for other programs, phones and browsers.

The graph is written node by node, with no exporter in between: the same operations as
`Residual.__call__`, in float32, for any height and width. It is run by onnxruntime and compared
with PyTorch before anything is written.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from impasto import images, machine
from impasto.errors import SettingError, WeightsError
from impasto.networks.residual import EPSILON, REACH, Residual

if TYPE_CHECKING:
    import onnx

OPSET = 13  # of ONNX: of 2020, read by every runtime since; it has all that is needed
IR_VERSION = 8  # of the file, what onnxruntime 1.10 and later read
TOLERANCE = 1e-3  # in units of full brightness: a quarter of a step of 8 bits
TRIED = ((64, 64), (61, 99), (18, 16))  # height and width, px, of the pictures compared


@machine.neutral()
def onnx_bytes(network: Residual) -> tuple[bytes, float]:
    """The network as an ONNX file, and its largest difference from PyTorch, of pixels in [0, 1].

    Input `photo` and output `painting`: RGB float32 in [0, 1], 1 3 height width, from 16 px a
    side. Raises WeightsError if the two differ by more than 0.001, SettingError where
    `pip install 'impasto[onnx]'` is needed.
    """
    _installed()
    data = graph(network).SerializeToString()
    difference = compared(network, data)
    if not difference <= TOLERANCE:
        raise WeightsError(
            f"onnxruntime's picture differs from PyTorch's by {difference:.2g}, more than "
            f"{TOLERANCE:g}: nothing is written; use another version of onnxruntime"
        )
    return data, difference


def write(network: Residual, path: Path) -> float:
    """Write the network as ONNX, whole or not at all; its largest difference from PyTorch."""
    data, difference = onnx_bytes(network)
    images.write_bytes(data, path)
    return difference


def graph(network: Residual) -> "onnx.ModelProto":
    """The network as an ONNX model."""
    from onnx import TensorProto, helper

    made = _Graph(network)
    made.paint()
    shape: list[int | str | None] = [1, 3, "height", "width"]
    model = helper.make_model(
        helper.make_graph(
            made.nodes,
            "style",
            [helper.make_tensor_value_info("photo", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("painting", TensorProto.FLOAT, shape)],
            made.constants,
        ),
        producer_name="impasto",
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {"style": ", ".join(network.recipe.get("style", ()))})
    return model


def compared(network: Residual, data: bytes) -> float:
    """The largest difference of onnxruntime's pictures from PyTorch's, of noise in a few sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
    exact = Residual(network.shape, {n: t.detach() for n, t in network.tensors.items()})
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for height, width in TRIED:
        photo = torch.rand(1, 3, height, width, generator=generator)
        (painting,) = session.run(None, {"photo": photo.numpy()})
        with torch.no_grad():
            expected = exact(photo).clamp(0, 1)
        largest = max(largest, float((torch.from_numpy(painting) - expected).abs().max()))
    return largest


class _Graph:
    """The nodes of the model so far, and its constants. Each method appends, and gives the name
    of its result."""

    def __init__(self, network: Residual) -> None:
        self.network = network
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def paint(self) -> None:
        """All nodes of the pass, from `photo` to `painting`."""
        half = self.constant("half", torch.tensor(0.5))
        large = x = self.layer("stem", self.node("Sub", "photo", half))
        middle = x = self.layer("down1", x, stride=2)
        x = self.layer("down2", x, stride=2)
        for number in range(1, self.network.shape.blocks + 1):
            change = self.layer(f"block{number}.first", x)
            x = self.node("Add", self.layer(f"block{number}.second", change, rectify=False), x)
        x = self.layer("up1", self.doubled(x, middle))
        x = self.layer("up2", self.doubled(x, large))
        x = self.node("Tanh", self.convolved("out", x))
        x = self.node("Mul", x, self.constant("reach", torch.tensor(REACH)))
        x = self.node("Add", x, half)
        limits = [self.constant(str(v), torch.tensor(float(v))) for v in (0, 1)]
        self.node("Clip", x, *limits, out="painting")

    def layer(self, name: str, x: str, stride: int = 1, rectify: bool = True) -> str:
        tensors = self.network.tensors
        x = self.convolved(name, x, stride)
        after = [
            self.constant(f"{name}.{part}", tensors[f"{name}.{part}"])
            for part in ("scale", "shift")
        ]
        x = self.node("InstanceNormalization", x, *after, epsilon=EPSILON)
        return self.node("Relu", x) if rectify else x

    def convolved(self, name: str, x: str, stride: int = 1) -> str:
        tensors = self.network.tensors
        beyond = tensors[f"{name}.weight"].shape[-1] // 2
        pads = torch.tensor([0, 0, beyond, beyond, 0, 0, beyond, beyond])
        x = self.node("Pad", x, self.constant(f"pads{beyond}", pads), mode="reflect")
        terms = [
            self.constant(f"{name}.{part}", tensors[f"{name}.{part}"])
            for part in ("weight", "bias")
            if f"{name}.{part}" in tensors
        ]
        return self.node("Conv", x, *terms, strides=[stride, stride])

    def doubled(self, x: str, like: str) -> str:
        """Each value repeated, cropped to the height and width of `like`."""
        scales = self.constant("scales", torch.tensor([1.0, 1.0, 2.0, 2.0]))
        x = self.node(
            "Resize", x, "", scales,
            mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
        zero, two, four = (self.constant(f"at{n}", torch.tensor([n])) for n in (0, 2, 4))
        ends = self.node("Slice", self.node("Shape", like), two, four, zero)
        begins = self.constant("corner", torch.tensor([0, 0]))
        return self.node("Slice", x, begins, ends, self.constant("axes", torch.tensor([2, 3])))

    def node(self, operator: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        from onnx import helper

        out = out or f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [out], **attributes))
        return out

    def constant(self, name: str, value: Tensor) -> str:
        """A constant by that name; once, however often it is asked for."""
        from onnx import numpy_helper

        if all(known.name != name for known in self.constants):
            self.constants.append(numpy_helper.from_array(value.detach().cpu().numpy(), name))
        return name


def _installed() -> None:
    """SettingError without the two libraries."""
    for name in ("onnx", "onnxruntime"):
        if find_spec(name) is None:
            raise SettingError(f"export needs {name}: pip install 'impasto[onnx]'")
