"""`impasto export`: a trained network as ONNX."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from impasto.errors import SettingError


def export(
    network: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    force: bool = False,
    json: bool = False,
) -> None:
    """Write a trained network as ONNX, compared with PyTorch by onnxruntime.

    Needs `pip install 'impasto[onnx]'`. Input and output are RGB in [0, 1], float32,
    1 x 3 x height x width, of any size from 16 px a side. docs/guide/train.md tells more.

    Parameters
    ----------
    network
        A file that `impasto train` wrote, or the name of a built-in one (`impasto styles`).
    output
        Where to write it, .onnx; if not given: beside the network, under its name.
    force
        Overwrite the file if it exists.
    json
        Print one JSON object about the file.
    """
    from impasto.cli.outputs import check_place

    if not network.name:
        raise SettingError(f"{str(network)!r} is no network: name a .safetensors file")
    target = network.with_suffix(".onnx") if output is None else output
    if target.suffix != ".onnx":
        raise SettingError(f"the output is {target.name!r}: name it .onnx")
    check_place(target, force)

    from impasto.networks import residual
    from impasto.training import onnx as onnx_export

    difference = onnx_export.write(residual.load(network), target)
    if json:
        import json as json_format

        found = {"output": str(target), "bytes": target.stat().st_size, "difference": difference}
        print(json_format.dumps(found), flush=True)
    words = f"wrote {target}: within {difference:.1g} of PyTorch, where 1 is full brightness"
    print(words, file=sys.stderr)
