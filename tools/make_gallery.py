"""Run the commands of docs/guide/gallery.md and put their pictures into docs/pictures/gallery.

python tools/make_gallery.py [--page studies] [--only WORD]

Another page is made the same way: --page studies runs those of docs/guide/studies.md. WORD: a part
of the commands to run.
"""

import argparse
import re
import shlex
from pathlib import Path

from PIL import Image

from impasto.cli import main as impasto

ROOT = Path(__file__).parents[1]
SIDE, FILM_SIDE, FIGURE_SIDE = 400, 160, 1000  # px, of the pictures shown


def commands(page: str) -> list[list[str]]:
    """The words of every command of a page, without the first."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("impasto ")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="commands with this word alone")
    parser.add_argument("--page", choices=("gallery", "instant", "studies"), default="gallery")
    given = parser.parse_args()
    only: str = given.only
    pictures = ROOT / "docs" / "pictures" / given.page
    page = (ROOT / "docs" / "guide" / f"{given.page}.md").read_text("utf-8")
    (ROOT / "out").mkdir(exist_ok=True)
    for words in commands(page):
        if only in " ".join(words):
            writes = words[0] in ("stylize", "texture", "rerun")
            assert impasto([*words, *(["--force"] if writes else [])]) == 0, words
    pictures.mkdir(parents=True, exist_ok=True)
    for name in re.findall(rf"pictures/{given.page}/([^)]+)", page):
        if source_of(Path(name)).exists():
            show(pictures / name)


def source_of(target: Path) -> Path:
    """What a command wrote for a picture of the page."""
    folder = ROOT / "out" / target.stem
    if target.suffix == ".gif":
        return ROOT / "out" / target.name
    found = (folder / "sheet.png", folder / "figure.png", folder.with_suffix(".png"))
    return next((file for file in found if file.exists()), found[-1])


def show(target: Path) -> None:
    """A small copy of what a command wrote."""
    if target.suffix == ".gif":
        show_film(target)
        return
    source = source_of(target)
    with Image.open(source) as image:
        side = {"figure": FIGURE_SIDE, "sheet": 2 * SIDE, "loss": 2 * SIDE}.get(source.stem, SIDE)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        if target.suffix == ".jpg":
            image.convert("RGB").save(target, quality=82)
        else:
            image.save(target, optimize=True)


def show_film(target: Path) -> None:
    """Every sixth frame, smaller: the pages are to stay light."""
    frames = []
    with Image.open(ROOT / "out" / target.name) as film:
        for number in range(0, getattr(film, "n_frames", 1), 6):
            film.seek(number)
            frame = film.convert("RGB")
            frame.thumbnail((FILM_SIDE, FILM_SIDE))
            frames.append(frame)
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=350, loop=0)


if __name__ == "__main__":
    main()
