"""What all benchmarks share: the machine, a table, a JSON file."""

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import impasto
from impasto.machine import device

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    chosen = device.choose_device("auto")
    gpu = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else None
    return {
        "impasto": impasto.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": device.has_bfloat16(torch.device("cpu")),
        "gpu": gpu,
    }


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line that all benchmarks have: --json FILE."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--json", type=Path, help="write the figures to this file")
    return made


def publish(name: str, rows: Sequence[dict[str, Any]], target: Path | None, **more: Any) -> None:
    """Print the rows as a table, and write them with the machine as JSON."""
    columns = list(rows[0])
    cells = [columns] + [[_text(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    for key, value in more.items():
        print(f"{key}: {_text(value)}")
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        found = {"benchmark": name, "machine": machine(), "rows": list(rows)} | more
        target.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cpu_name() -> str:
    """The processor as the kernel calls it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
