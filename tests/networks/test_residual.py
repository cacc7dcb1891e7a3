"""The network of one's own style: its layers against PyTorch's modules, its files, its ONNX."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from impasto import images, weights
from impasto.errors import SettingError, WeightsError
from impasto.networks import residual, vgg
from impasto.networks.residual import Residual, Shape, doubled, fresh
from impasto.objective import Styles, objective_of
from impasto.scene import Scene
from impasto.settings import settings_for
from impasto.training import onnx as export
from impasto.weights import trained as built_in
from small import EXAMPLES, Run

SMALL = Shape(width=4, blocks=2)


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def trained(shape: Shape = SMALL) -> Residual:
    """A network none of whose weights are as they began."""
    network = fresh(shape, seed=1)
    generator = torch.Generator().manual_seed(2)
    for tensor in network.tensors.values():
        tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    return Residual(shape, network.tensors, {"style": ["great-wave"]})


def block(
    into: int, out: int, side: int, *, stride: int = 1, rectify: bool = True
) -> nn.Sequential:
    layers = [
        nn.ReflectionPad2d(side // 2),
        nn.Conv2d(into, out, side, stride, bias=False),
        nn.InstanceNorm2d(out, affine=True),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if rectify else []))


def johnson(network: Residual, photo: torch.Tensor) -> torch.Tensor:
    """The same network of PyTorch's own modules; for sides that are multiples of four."""
    w, found = network.shape.width, network.tensors

    def named(name: str, *sizes: int, **more: bool | int) -> nn.Sequential:
        made = block(*sizes, **more)
        made[1].weight.data = found[f"{name}.weight"]
        made[2].weight.data, made[2].bias.data = found[f"{name}.scale"], found[f"{name}.shift"]
        return made

    up = nn.Upsample(scale_factor=2, mode="nearest")
    x = named("stem", 3, w, 9)(photo - 0.5)
    x = named("down2", 2 * w, 4 * w, 3, stride=2)(named("down1", w, 2 * w, 3, stride=2)(x))
    for n in range(1, network.shape.blocks + 1):
        first = named(f"block{n}.first", 4 * w, 4 * w, 3)
        second = named(f"block{n}.second", 4 * w, 4 * w, 3, rectify=False)
        x = x + second(first(x))
    x = named("up2", 2 * w, w, 3)(up(named("up1", 4 * w, 2 * w, 3)(up(x))))
    last = nn.functional.conv2d(nn.ReflectionPad2d(4)(x), found["out.weight"], found["out.bias"])
    return 0.5 + 0.6 * torch.tanh(last)


def test_the_network_is_that_of_pytorchs_modules() -> None:
    network, photo = trained(), noise(32, 48)
    with torch.no_grad():
        torch.testing.assert_close(network(photo), johnson(network, photo), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (17, 19), (61, 99), (64, 34)])
def test_pictures_of_any_size_keep_it(size: tuple[int, int]) -> None:
    with torch.no_grad():
        painted = trained()(noise(*size))
    assert painted.shape == (1, 3, *size)
    assert painted.dtype == torch.float32
    assert -0.1 <= float(painted.min()) < float(painted.max()) <= 1.1


def test_doubling_repeats_each_value_and_crops() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    expected = torch.tensor([[[[1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [3.0, 3.0, 4.0]]]])
    assert torch.equal(doubled(x, torch.zeros(1, 5, 3, 3)), expected)


def test_contrast_and_brightness_of_the_photo_do_not_matter() -> None:
    """Each picture is normalized by its own statistics (Ulyanov et al. 2016)."""
    network, photo = trained(), noise(32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(0.5 + 0.2 * photo), network(photo), atol=2e-3, rtol=0)


def test_bfloat16_paints_nearly_the_same() -> None:
    network = trained()
    half = Residual(network.shape, network.tensors, dtype=torch.bfloat16)
    with torch.no_grad():
        difference = (half(noise(64, 64)) - network(noise(64, 64))).abs()
    assert float(difference.mean()) < 0.02


def test_a_file_holds_network_and_recipe(tmp_path: Path) -> None:
    network, path = trained(), tmp_path / "wave.safetensors"
    residual.save(network, path)
    again = residual.load(path)
    assert (again.shape, again.recipe) == (network.shape, {"style": ["great-wave"]})
    for name, tensor in network.tensors.items():
        exact = tensor.half().float() if name.endswith(".weight") else tensor
        assert torch.equal(again.tensors[name], exact), name
    assert list(tmp_path.iterdir()) == [path]


def test_the_default_network_is_under_0_9_mb(tmp_path: Path) -> None:
    residual.save(fresh(Shape()), tmp_path / "wave.safetensors")
    assert 0.8e6 < (tmp_path / "wave.safetensors").stat().st_size < 0.9e6


def test_fresh_networks_differ_by_their_seed_alone() -> None:
    first, same, other = (fresh(SMALL, seed).tensors["stem.weight"] for seed in (3, 3, 4))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def broken(tmp_path: Path) -> dict[str, Path]:
    """Files that are no networks, each in its own way."""
    good = tmp_path / "good.safetensors"
    residual.save(trained(), good)
    tensors, facts = load_file(good), {"format": 1, "width": 4, "blocks": 2, "recipe": {}}
    paths = {
        name: tmp_path / f"{name}.safetensors"
        for name in ("text", "cut", "missing", "nan", "wide", "future", "json", "absent")
    }
    paths["text"].write_text("wave")
    paths["cut"].write_bytes(good.read_bytes()[:-100])
    fewer = {name: tensor for name, tensor in tensors.items() if name != "out.bias"}
    nan = tensors | {"out.bias": torch.full((3,), torch.nan)}
    for name, its, said in (
        ("missing", fewer, facts),
        ("nan", nan, facts),
        ("wide", tensors, facts | {"width": 8}),
        ("future", tensors, facts | {"format": 2}),
        ("json", tensors, {"format": 1}),
    ):
        save_file(its, paths[name], {residual.KEY: json.dumps(said)})
    return paths | {"vgg": weights.path("vgg19"), "folder": tmp_path}


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    for name, path in broken(tmp_path).items():
        with pytest.raises(WeightsError) as caught:
            residual.load(path)
        assert path.name in str(caught.value), name
        assert "\n" not in str(caught.value), name


def test_built_in_networks_go_by_name_and_are_listed(
    impasto: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(built_in, "_networks", lambda: tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    assert built_in.networks() == []
    residual.save(trained(), tmp_path / "shipped" / "poppies.safetensors")
    assert built_in.networks() == ["poppies.safetensors"]
    assert residual.load("poppies.safetensors").shape == SMALL
    status, out, _ = impasto("styles")
    assert status == 0
    assert out.splitlines()[-1].startswith("poppies.safetensors")
    _, out, _ = impasto("styles", "--json")
    assert Path(json.loads(out.splitlines()[-1])["file"]).is_file()
    residual.save(fresh(Shape(6, 1)), Path("poppies.safetensors"))  # one's own comes first
    assert residual.load("poppies.safetensors").shape == Shape(6, 1)


def test_the_network_that_ships_paints_like_its_painting() -> None:
    """The style loss of its picture is a quarter of the photo's at most, of a photo that it was
    not trained on."""
    network = residual.load("great-wave.safetensors")
    assert network.recipe["style"] == ["great-wave"]
    assert built_in.network_path("great-wave.safetensors").stat().st_size < 0.9e6
    settings = settings_for(size=192)
    chelsea = images.read(EXAMPLES / "chelsea.jpg").resized(192, 128)
    scene = Scene(chelsea, "great-wave", settings)
    layers = tuple(dict(settings.style_layers) | dict(settings.content_layers))
    styles = Styles(vgg.load("vgg19", layers), settings, 16)
    objective = objective_of(scene.at((192, 128)), styles)
    with torch.no_grad():
        painted = network(chelsea.pixels).clamp(0, 1)
    photo = float(objective.terms(chelsea.pixels)["style"])
    assert float(objective.terms(painted)["style"]) < photo / 4


def test_onnx_is_the_network_at_every_size(tmp_path: Path) -> None:
    network, path = trained(), tmp_path / "wave.onnx"
    assert export.write(network, path) < 1e-4
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for size in ((33, 50), (128, 96)):
        (painted,) = session.run(None, {"photo": noise(*size, seed=5).numpy()})
        with torch.no_grad():
            expected = network(noise(*size, seed=5)).clamp(0, 1).numpy()
        np.testing.assert_allclose(painted, expected, atol=1e-4)


def test_onnx_that_differs_is_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(export, "compared", lambda network, data: 2e-3)
    with pytest.raises(WeightsError, match="differs"):
        export.write(trained(), tmp_path / "wave.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx_export_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"pip install 'impasto\[onnx\]'"):
        export.write(trained(), tmp_path / "wave.onnx")


def test_export_from_the_command_line(impasto: Run, tmp_path: Path) -> None:
    network = tmp_path / "wave.safetensors"
    residual.save(trained(), network)
    status, out, err = impasto("export", network, "--json")
    assert (status, len(err.splitlines())) == (0, 1)
    assert json.loads(out)["difference"] < 1e-4
    assert (tmp_path / "wave.onnx").stat().st_size == json.loads(out)["bytes"]
    for words in ((network,), (network, "-o", tmp_path / "wave.pb"), (weights.path("vgg19"), "-o",
                  tmp_path / "vgg.onnx")):  # fmt: skip
        status, out, err = impasto("export", *words)
        assert (status, out, len(err.splitlines())) == (2, "", 1), words
    assert not (tmp_path / "vgg.onnx").exists()
