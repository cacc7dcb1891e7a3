"""Make the stored numbers that the masks' networks are tested against.

    pip install tflite==2.18.0 facenet-pytorch==2.6.0
    python tools/reference_segmentation.py selfie_segmentation.tflite > tests/data/segmentation.json

Faces: as facenet-pytorch finds them, the package that MTCNN's weights come from. People: the graph
of the .tflite file (tools/rebuild_weights.py says where it is), operation by operation as the file
has them, in float32; its output averaged over squares of 32 px.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from facenet_pytorch.models.utils.detect_face import detect_face
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

PHOTO = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
SQUARE = 32


def faces(pixels: np.ndarray) -> dict[str, Any]:
    """Box and score, and landmarks, of each face; thresholds and smallest face are the usual."""
    with torch.no_grad():
        boxes, points = detect_face(
            pixels, 20, PNet(), RNet(), ONet(), [0.6, 0.7, 0.7], 0.709, "cpu"
        )
    return {
        "boxes": boxes[0].astype(float).round(2).tolist(),
        "landmarks": points[0].astype(float).round(2).tolist(),
    }


def people(file: Path, pixels: np.ndarray) -> list[list[float]]:
    """The graph's output for the photo at 256 px, in squares."""
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    small = F.interpolate(image, (256, 256), mode="bicubic", align_corners=False, antialias=True)
    found = run(file.read_bytes(), small.clamp(0, 1))
    return [[round(v, 4) for v in row] for row in F.avg_pool2d(found, SQUARE)[0, 0].tolist()]


def run(data: bytes, image: Tensor) -> Tensor:
    """What the graph of a file makes of an image, 1 3 h w, as 1 c h w."""
    import tflite

    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    values: dict[int, Tensor] = {int(graph.InputsAsNumpy()[0]): image.permute(0, 2, 3, 1)}
    types = {0: np.float32, 1: np.float16, 2: np.int32}
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength():
            array = np.frombuffer(buffer.DataAsNumpy().tobytes(), types[tensor.Type()])
            values[i] = torch.from_numpy(array.reshape(tensor.ShapeAsNumpy()).copy())
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = tflite.utils.opcode2name(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        inputs = [values[int(k)] for k in operator.InputsAsNumpy()]
        values[int(operator.OutputsAsNumpy()[0])] = one(tflite, name, operator, inputs)
    return values[int(graph.OutputsAsNumpy()[0])].permute(0, 3, 1, 2)


def one(tflite: Any, name: str, operator: Any, inputs: list[Tensor]) -> Tensor:
    """The output of one operation, b h w c."""
    x = inputs[0].float()
    plain = {
        "DEQUANTIZE": lambda: x,
        "RELU": lambda: x.clamp_min(0),
        "HARD_SWISH": lambda: x * (x + 3).clamp(0, 6) / 6,
        "LOGISTIC": lambda: 1 / (1 + torch.exp(-x)),
        "ADD": lambda: x + inputs[1],
        "MUL": lambda: x * inputs[1],
        "AVERAGE_POOL_2D": lambda: x.mean((1, 2), keepdim=True),
    }
    if name in plain:
        return plain[name]()
    channels_first = x.permute(0, 3, 1, 2)
    if name == "RESIZE_BILINEAR":
        size = tuple(inputs[1].tolist())
        made = F.interpolate(channels_first, size, mode="bilinear", align_corners=False)
        return made.permute(0, 2, 3, 1)
    weight, bias = inputs[1].float(), inputs[2].float()
    if name == "CUSTOM":  # Convolution2DTransposeBias: each place becomes a square
        made = torch.einsum("bhwi,oyxi->bhywxo", x, weight) + bias
        b, h, y, w, z, o = made.shape
        return made.reshape(b, h * y, w * z, o)
    deep = name == "DEPTHWISE_CONV_2D"
    options = tflite.DepthwiseConv2DOptions() if deep else tflite.Conv2DOptions()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    stride, side = options.StrideW(), weight.shape[1]
    total = max(0, (-(-x.shape[1] // stride) - 1) * stride + side - x.shape[1])  # SAME
    pads = (total // 2, total - total // 2) * 2
    kernel = weight.permute(3, 0, 1, 2) if deep else weight.permute(0, 3, 1, 2)
    groups = x.shape[3] if deep else 1
    made = F.conv2d(F.pad(channels_first, pads), kernel, bias, stride, groups=groups)
    return made.permute(0, 2, 3, 1)


def main() -> None:
    with Image.open(PHOTO) as image:
        pixels = np.asarray(image.convert("RGB"))
    about = "examples/astronaut.jpg: facenet-pytorch 2.6.0, and the graph of MediaPipe's .tflite"
    found = {"about": about, "faces": faces(pixels), "square": SQUARE}
    found["people"] = people(Path(sys.argv[1]), pixels)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
