"""Weights: what ships is what was recorded; downloads are resumed, checked and converted."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from impasto import weights
from impasto.errors import WeightsError
from impasto.networks import vgg
from small import Server, serving, tiny_vgg

SHIPPED = [name for name, entry in weights.CATALOGUE.items() if entry.ships]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_the_recorded_ones(name: str) -> None:
    assert weights.verify(name) == "ok"


def test_shipped_vgg_has_all_16_convolutions_in_fp16() -> None:
    tensors = weights.load("vgg19")
    names = weights.convolution_names(weights.VGG19_CONVOLUTIONS)
    assert len(names) == 16
    assert set(tensors) == {"mean"} | {f"{n}.{part}" for n in names for part in ("weight", "bias")}
    assert tensors["conv5_4.weight"].shape == (512, 512, 3, 3)
    assert tensors["conv1_1.weight"].dtype == torch.float16
    assert tensors["conv1_1.bias"].dtype == torch.float32


def test_shipped_decoder_leads_from_relu4_1_to_rgb() -> None:
    tensors = weights.load("adain-decoder")
    assert tensors["conv4_1.weight"].shape == (256, 512, 3, 3)
    assert tensors["conv1_1.weight"].shape == (3, 64, 3, 3)
    assert len(tensors) == 18


@pytest.fixture
def server(tmp_path: Path) -> Iterator[type[Server]]:
    """A local server of vgg16-torchvision; the cache is a folder of this test."""
    with serving("vgg16-torchvision", tiny_vgg(), tmp_path / "cache") as handler:
        yield handler


def test_download_converts_and_drops_the_classifier(server: type[Server]) -> None:
    seen: list[tuple[int, int]] = []
    where = weights.get("vgg16-torchvision", lambda done, whole: seen.append((done, whole)))
    assert seen[-1] == (len(server.body), len(server.body))
    tensors = weights.load("vgg16-torchvision")
    assert len(tensors) == 1 + 2 * 13
    torch.testing.assert_close(
        tensors["conv1_2.bias"], tiny_vgg()["features.2.bias"], rtol=0, atol=0
    )
    assert weights.verify("vgg16-torchvision") == "ok"
    assert sorted(p.suffix for p in where.parent.iterdir()) == [".safetensors", ".sha256"]
    vgg.load("vgg16-torchvision", ["relu5_3"])(torch.rand(1, 3, 32, 32), ["relu5_3"])


def test_download_happens_once(server: type[Server]) -> None:
    weights.get("vgg16-torchvision")
    weights.get("vgg16-torchvision")
    assert len(server.requests) == 1


def test_a_broken_download_is_resumed(server: type[Server]) -> None:
    server.break_after = 1000
    with pytest.raises(WeightsError, match="1000 of"):
        weights.get("vgg16-torchvision")
    server.break_after = None
    weights.get("vgg16-torchvision")
    assert server.requests == [None, "bytes=1000-"]
    assert weights.verify("vgg16-torchvision") == "ok"


def test_a_server_without_ranges_starts_again(server: type[Server]) -> None:
    server.break_after = 1000
    with pytest.raises(WeightsError):
        weights.get("vgg16-torchvision")
    server.break_after, server.ranges = None, False
    weights.get("vgg16-torchvision")
    assert weights.verify("vgg16-torchvision") == "ok"


def test_a_part_that_is_already_whole_is_used(server: type[Server]) -> None:
    cache = weights.cache_folder()
    cache.mkdir()
    (cache / "vgg16-tiny.pth.part").write_bytes(server.body)
    weights.get("vgg16-torchvision")
    assert weights.verify("vgg16-torchvision") == "ok"


def test_a_wrong_checksum_is_refused_and_deleted(server: type[Server]) -> None:
    server.body = server.body[:-1] + b"?"
    with pytest.raises(WeightsError, match="damaged on the way"):
        weights.get("vgg16-torchvision")
    assert list(weights.cache_folder().iterdir()) == []


def test_a_file_of_another_kind_is_refused(server: type[Server]) -> None:
    server.body = b"not a checkpoint"
    found = hashlib.sha256(server.body).hexdigest()
    entry = replace(weights.entry("vgg16-torchvision"), download_sha256=found)
    weights.CATALOGUE["vgg16-torchvision"] = entry  # undone by the fixture's monkeypatch
    with pytest.raises(WeightsError, match="no torchvision VGG"):
        weights.get("vgg16-torchvision")
    assert not weights.path("vgg16-torchvision").exists()


def test_an_archive_put_there_by_hand_is_converted_without_network(server: type[Server]) -> None:
    cache = weights.cache_folder()
    cache.mkdir()
    (cache / "vgg16-tiny.pth").write_bytes(server.body)
    assert "conv1_1.weight" in weights.load("vgg16-torchvision")
    assert server.requests == []


def test_without_network_the_error_says_which_file_to_put_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path))
    entry = replace(weights.entry("vgg19-torchvision"), url="http://127.0.0.1:9/vgg19-dcbb9e9d.pth")
    monkeypatch.setitem(weights.CATALOGUE, "vgg19-torchvision", entry)
    for call in (weights.get, weights.load):
        with pytest.raises(WeightsError) as caught:
            call("vgg19-torchvision")
        assert f"put vgg19-dcbb9e9d.pth into {tmp_path}" in str(caught.value)
        assert "vgg19 needs neither" in str(caught.value)
    assert weights.verify("vgg19-torchvision") == "absent"


def test_damage_is_seen(server: type[Server]) -> None:
    where = weights.get("vgg16-torchvision")
    where.write_bytes(where.read_bytes()[:-1] + b"?")
    assert weights.verify("vgg16-torchvision") == "damaged"
    where.write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="is damaged"):
        weights.load("vgg16-torchvision")


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(WeightsError, match="choose from vgg19"):
        weights.path("vgg13")
