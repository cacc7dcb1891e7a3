"""Put pictures of several presets side by side: one row a preset, one column a painting.

python tools/compare_presets.py OUT ROW1COL1 ROW1COL2 ... -- ROW2COL1 ...
"""

import sys
from pathlib import Path

from PIL import Image

SIDE, GAP = 384, 4  # px, of each picture and between them


def main(words: list[str]) -> None:
    target, rows = words[0], [row.split() for row in " ".join(words[1:]).split(" -- ")]
    columns = max(map(len, rows))
    step = SIDE + GAP
    sheet = Image.new("RGB", (columns * step - GAP, len(rows) * step - GAP), "white")
    for top, row in enumerate(rows):
        for left, name in enumerate(row):
            with Image.open(name) as image:
                small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (left * step, top * step))
    sheet.save(Path(target), quality=80)


if __name__ == "__main__":
    main(sys.argv[1:])
