"""The catalogue of weights: what ships, what can be downloaded, whose they are."""

from dataclasses import dataclass

from impasto.errors import WeightsError
from impasto.weights import packages

VGG16_CONVOLUTIONS = (2, 2, 3, 3, 3)  # per block; Simonyan and Zisserman 2015, table 1, column D
VGG19_CONVOLUTIONS = (2, 2, 4, 4, 4)  # column E


@dataclass(frozen=True)
class WeightFile:
    """One file of weights: where it comes from and how it is recognized."""

    name: str
    file: str
    summary: str
    license: str
    sha256: str | None = None
    """Of the file that ships; None for what is downloaded and converted."""
    url: str | None = None
    download_sha256: str | None = None
    """The published beginning of the download's SHA-256 (torchvision puts it in the name)."""
    download_bytes: int = 0
    package: str | None = None
    """The package of the registry that it comes out of, on demand, as "name-version"."""
    convolutions: tuple[int, ...] = ()
    classifier: bool = False
    """Whether the fully connected layers are kept, as `fc6`, `fc7` and `fc8`."""
    instead: str = "the backbone vgg19"
    """What works without these weights."""

    @property
    def ships(self) -> bool:
        """True if the file is part of the package."""
        return self.url is None and self.package is None


_TORCHVISION = "https://download.pytorch.org/models/"

CATALOGUE: dict[str, WeightFile] = {
    entry.name: entry
    for entry in (
        WeightFile(
            name="vgg19",
            file="vgg19.safetensors",
            summary="the Oxford VGG-19 of the paper, each filter's mean activation scaled to one",
            license="CC BY 4.0, Simonyan and Zisserman",
            sha256="16a5ced0d68954907a1a0bec9899b4e36ac89360c54856259d111d3f610cdd28",
            convolutions=VGG19_CONVOLUTIONS,
        ),
        WeightFile(
            name="adain-decoder",
            file="adain_decoder.safetensors",
            summary="relu4_1 of vgg19 back to a picture, for instant mode",
            license="MIT, Naoto Inoue",
            sha256="c5281ff0094fff425b1215acf77430d1beb5dc2367f0aefd4932773cc4837f42",
        ),
        WeightFile(
            name="lpips-alexnet",
            file="lpips_alexnet.safetensors",
            summary="AlexNet and the linear heads of LPIPS 0.1, for `impasto evaluate`",
            license="BSD-2-Clause, Zhang, Isola, Efros, Shechtman and Wang",
            sha256="04d09751b91df68ebcfc2e27954073917901eb9213fa653e00511bc1344f6141",
        ),
        WeightFile(
            name="mtcnn",
            file="mtcnn.safetensors",
            summary="P-, R- and O-Net of MTCNN, which find faces, for the mask `face`",
            license="MIT, Timothy Esler; Zhang, Zhang, Li and Qiao",
            sha256="526d46ed65e029f9c42aced6d99f115ada540d9461821ea46813ee92dc8f664e",
        ),
        WeightFile(
            name="selfie-segmentation",
            file="selfie_segmentation.safetensors",
            summary="MediaPipe's selfie segmentation, for the masks `person` and `background`",
            license="Apache-2.0, Google",
            sha256="728300ccb3a7f4e911538d4d0b74df88722d05061100e1e30d72f672b0b51444",
        ),
        WeightFile(
            name="lpips-vgg16",
            file="lpips_vgg16.safetensors",
            summary="VGG-16 and linear heads of LPIPS 0.1, for impasto evaluate --lpips vgg16",
            license="BSD-2-Clause, Zhang, Isola, Efros, Shechtman and Wang",
            package=packages.LPIPS,
            download_sha256=packages.LPIPS_SHA256,
            download_bytes=63_722_000,
        ),
        WeightFile(
            name="vgg19-torchvision",
            file="vgg19_torchvision.safetensors",
            summary="VGG-19 as torchvision trained it",
            license="BSD-3-Clause, torchvision",
            url=_TORCHVISION + "vgg19-dcbb9e9d.pth",
            download_sha256="dcbb9e9d",
            download_bytes=574_673_361,
            convolutions=VGG19_CONVOLUTIONS,
        ),
        WeightFile(
            name="vgg16-torchvision",
            file="vgg16_torchvision.safetensors",
            summary="VGG-16 as torchvision trained it",
            license="BSD-3-Clause, torchvision",
            url=_TORCHVISION + "vgg16-397923af.pth",
            download_sha256="397923af",
            download_bytes=553_433_881,
            convolutions=VGG16_CONVOLUTIONS,
        ),
        WeightFile(
            name="vgg19-classifier",
            file="vgg19_classifier.safetensors",
            summary="all of VGG-19 as torchvision trained it, for impasto classify",
            license="BSD-3-Clause, torchvision",
            url=_TORCHVISION + "vgg19-dcbb9e9d.pth",
            download_sha256="dcbb9e9d",
            download_bytes=574_673_361,
            convolutions=VGG19_CONVOLUTIONS,
            classifier=True,
            instead="the network efficientnet-lite0",
        ),
    )
}


def entry(name: str) -> WeightFile:
    """The catalogue's entry of that name; WeightsError where there is none."""
    try:
        return CATALOGUE[name]
    except KeyError:
        known = ", ".join(CATALOGUE)
        raise WeightsError(f"no weights are called {name!r}: choose from {known}") from None


def convolution_names(convolutions: tuple[int, ...]) -> list[str]:
    """`conv1_1`, `conv1_2`, `conv2_1`, ... for so many convolutions in each block."""
    return [f"conv{b}_{i}" for b, n in enumerate(convolutions, 1) for i in range(1, n + 1)]
