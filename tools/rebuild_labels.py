"""Rebuild src/impasto/data/imagenet_labels.json, the names of ImageNet's 1000 classes.

pip download --no-deps torchvision==0.29.2 && python tools/rebuild_labels.py torchvision-*.whl

They are a list in torchvision's source, read out of its wheel: nothing of it is installed or run.
"""

import ast
import json
import sys
import zipfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src" / "impasto" / "data" / "imagenet_labels.json"
NAME = "_IMAGENET_CATEGORIES"


def labels(wheel: Path) -> list[str]:
    """The classes' names in the order of the network's outputs."""
    with zipfile.ZipFile(wheel) as archive:
        source = archive.read("torchvision/models/_meta.py").decode("utf-8")
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == NAME:
            return list(ast.literal_eval(statement.value))
    raise SystemExit(f"{wheel} has no list of classes")


def main() -> None:
    found = labels(Path(sys.argv[1]))
    assert len(found) == len(set(found)) == 1000
    TARGET.write_text(json.dumps(found, indent=0, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
