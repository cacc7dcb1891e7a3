"""Pages: whole in themselves, and everything in them escaped."""

import base64
import io

import torch
from PIL import Image

from impasto.images import Picture
from impasto.reports import pages


def test_a_page_is_escaped_and_needs_nothing_else() -> None:
    page = pages.rendered(
        "evaluation.html", title="<b> & co", methods=[], rows=[], lines=[], names=[], differences=[]
    )
    assert "&lt;b&gt; &amp; co" in page
    assert "<b> & co" not in page
    for outside in ("http://", "https://", 'src="/', "<script src"):
        assert outside not in page


def test_a_picture_in_a_page_is_a_jpeg_of_at_most_1024_px() -> None:
    uri = pages.picture_uri(Picture(torch.full((1, 3, 600, 2000), 0.5)))
    kind, data = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (1024, 307)
