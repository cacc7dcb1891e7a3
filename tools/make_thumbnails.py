"""Write src/impasto/data/thumbnails: each painting that ships, as a JPEG of 160 px.

python tools/make_thumbnails.py
"""

from impasto.images import paintings


def main() -> None:
    for name in paintings.PAINTINGS:
        target = paintings.thumbnail(name)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(paintings.thumbnail_of(paintings.read(name)))


if __name__ == "__main__":
    main()
