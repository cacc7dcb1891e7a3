"""The frame of `benchmarks/gpu.sh`: which parts there are, and one report of all of them.

    python -m benchmarks.gpu missing                           # packages that are not installed
    python -m benchmarks.gpu plan [--device cuda] [--small] [--only PART,PART]
    python -m benchmarks.gpu tests [--device cuda] [--small] --json FILE     # the part `tests`
    python -m benchmarks.gpu gather DIR                        # DIR/gpu.json and DIR/gpu.md

A part is a process of its own, with its own limit in seconds (`benchmarks/shared/card.py` and the
benchmarks beside this one). `plan` prints a line for each: name, limit, words of the command. The
script notes in DIR/parts.tsv what became of each, and each writes DIR/parts/NAME.json. Nothing here
needs torch: a machine where that is broken gets a report, too.
"""

import argparse
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
FOR_TESTS = ("pytest", "hypothesis", "beartype")  # of the extra `dev`
LAST_LINES = 12  # of a failed part's errors that the report keeps
SECONDS = 460  # for all parts and what is installed for them: what is left of 8 minutes is gather's
STATUSES = {"0": "ok", "124": "overtime", "137": "overtime"}  # of timeout, by its exit status
SIZES, SMALL_SIZES = (512, 1024, 4096), (64, 96, 128)  # px
PAINTINGS = ("part", "s of painting", "s of the command", "peak GB", "loss at the end")


class Part(NamedTuple):
    """One thing that is measured."""

    name: str
    limit: int
    """Seconds after which the part is cut."""
    words: str
    """What follows `python -m`."""


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("what", choices=["missing", "plan", "tests", "gather"])
    options.add_argument("out", type=Path, nargs="?", help="the folder of the report")
    options.add_argument("--device", default="cuda")
    options.add_argument("--small", action="store_true", help="small pictures, few steps")
    options.add_argument("--only", default="", help="some of the parts, with commas between them")
    options.add_argument("--json", type=Path, help="write the counts of tests to this file")
    given = options.parse_args()
    if given.what == "missing":
        print(" ".join(missing()))
    elif given.what == "plan":
        chosen = plan(given.device, given.small)
        names = given.only.split(",") if given.only else [part.name for part in chosen]
        if unknown := set(names) - {part.name for part in chosen}:
            options.error(f"there is no part {sorted(unknown)[0]!r}")
        for part in chosen:
            if part.name in names:
                print(part.name, part.limit, part.words, sep="\t")
    elif given.what == "tests":
        sys.exit(tests(given.device, given.small, given.json))
    else:
        sys.exit(0 if gather(given.out) else 1)


def plan(device: str = "cuda", small: bool = False) -> list[Part]:
    """All parts, the most important first: of 8 minutes the last ones may find nothing left."""
    sizes = SMALL_SIZES if small else SIZES
    one = "benchmarks.shared.card"
    paintings = [
        Part(f"{preset}-{size}", 30 if size <= 1024 else 75,
             f"{one} paint --preset {preset} --size {size} --device {device}")
        for size in sizes for preset in ("best", "draft")
    ]  # fmt: skip
    side, race = sizes[0], "--steps 20 40" if small else "--steps 300 1000"
    flag = " --small" if small else ""
    rest = [
        Part("graphs", 45, f"{one} graphs --size {sizes[0]} --device {device}"),
        Part("memory", 45, f"{one} memory --size {288 if small else 2048} --device {device}"),
        Part("precision", 60, f"benchmarks.precision --size {side} --device {device} "
             "--formats float32 bfloat16 float16"),
        *paintings[4:],
        Part("batch", 60, f"{one} batch{flag} --device {device}"),
        Part("roofline", 45, f"benchmarks.roofline --device {device} "
             f"--sizes {'64' if small else '256 512 1024 2048'}"),
        Part("race", 120, f"benchmarks.race --device {device} --size {side} --repeats 1 {race}"),
        Part(f"draft-{side}-untried", 30, f"{one} paint --preset draft --size {side} --tries 1 "
             f"--device {device}"),
    ]  # fmt: skip
    found = [
        Part("machine", 60, f"{one} machine --device {device}"),
        *paintings[:4],
        Part("tests", 120, f"benchmarks.gpu tests{flag} --device {device}"),
        *rest,
    ]
    slower = 1 if device.startswith("cuda") else 3  # a processor needs more, and has all day
    return [part._replace(limit=slower * part.limit) for part in found]


def tests(device: str, small: bool, target: Path) -> int:
    """Run the tests with the marker `gpu`, a few of them if `small`; the exit status of pytest.

    Counts and the names of those that fail are written after each test, for a run that is cut.
    impasto is not imported here: the hook that checks shapes must come first.
    """
    import pytest

    os.environ["IMPASTO_TEST_DEVICE"] = device
    found: dict[str, Any] = {"passed": 0, "failed": 0, "skipped": 0, "failures": []}

    class Counter:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.when == "call" or report.outcome != "passed":
                found[report.outcome] += 1
            if report.failed:
                found["failures"].append(f"{report.nodeid.split('::')[-1]} ({report.when})")
            target.write_text(json.dumps({"figures": found}), "utf-8")

    words = ["-p", "no:xdist", "-p", "no:cacheprovider", "-W", "default", "-m", "gpu"]
    words += ["-k", "other_settings or refused"] if small else []
    return int(pytest.main([*words, str(ROOT / "tests" / "gpu")], plugins=[Counter()]))


def missing() -> list[str]:
    """What impasto and its tests need and is not here, as pip takes it; torch is not named."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    dev = project["optional-dependencies"]["dev"]
    needed = [*project["dependencies"], *(n for n in dev if _split(n)[0] in FOR_TESTS)]
    return [need for need in needed if _split(need)[0] != "torch" and not _is_here(need)]


def _split(requirement: str) -> tuple[str, list[tuple[str, tuple[int, ...]]]]:
    """The package of a requirement, and the bounds of its version: ">=" or "<" and a number."""
    name = re.split(r"[<>=]", requirement)[0]
    bounds = re.findall(r"(>=|<)([\d.]+)", requirement)
    return name, [(sign, _number(version)) for sign, version in bounds]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _is_here(requirement: str) -> bool:
    """True where a package is installed in a version that will do."""
    name, bounds = _split(requirement)
    try:
        found = _number(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False
    return all((found >= bound) if sign == ">=" else (found < bound) for sign, bound in bounds)


def gather(out: Path) -> bool:
    """Write gpu.json and gpu.md of all that was measured; whether no part failed."""
    parts = dict(_parts(out))
    machine = parts.get("machine", {}).get("figures", {})
    seconds = (out / "seconds").read_text("utf-8").split() if (out / "seconds").exists() else []
    report = {"benchmark": "gpu", "machine": machine, "parts": parts}
    report |= {"seconds": float(seconds[0])} if seconds else {}
    (out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    (out / "gpu.md").write_text("\n".join(_page(report)) + "\n", "utf-8")
    return all(part["status"] in ("ok", "left out") for part in parts.values())


def _parts(out: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What became of each part: its command, status, seconds, and figures or last errors."""
    for line in (out / "parts.tsv").read_text("utf-8").splitlines():
        name, status, seconds, limit, words = line.split("\t")
        word = STATUSES.get(status, "failed" if status.isdecimal() else status)
        found: dict[str, Any] = {"command": f"python -m {words}", "status": word}
        found |= {"seconds": float(seconds), "limit": int(limit)}
        written = _read(out / "parts" / f"{name}.json")
        for key in ("figures", "rows", "loss_ratio", "speedup", "features"):
            if key in written:
                found[key] = written[key]
        if word == "ok" and not written:
            found["status"] = "failed"  # it says so and wrote nothing
        if found["status"] not in ("ok", "left out"):
            found["errors"] = _last_lines(out / "parts" / f"{name}.err")
        yield name, found


def _read(file: Path) -> dict[str, Any]:
    """What a part wrote; nothing where that is no JSON, as of a part that was cut."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _last_lines(file: Path) -> list[str]:
    """The end of what a part said."""
    if not file.exists():
        return []
    return file.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]


def _page(report: dict[str, Any]) -> Iterator[str]:
    """The report as a page for docs/background/gpu.md."""
    machine, parts = report["machine"], report["parts"]
    yield (
        f"{machine.get('gpu') or machine.get('cpu', 'unknown machine')}, "
        f"{machine.get('gpu_gb', 0):.0f} GB, driver {machine.get('driver')}, "
        f"PyTorch {machine.get('torch')}, CUDA {machine.get('cuda')}, cuDNN "
        f"{machine.get('cudnn')}, commit {machine.get('commit')}; `benchmarks/gpu.sh`, "
        f"{report.get('seconds', 0):.0f} s:"
    )
    painted = {name: part for name, part in parts.items() if "paint " in part["command"]}
    rows = [
        {"part": name} | {key: part["figures"].get(key) for key in PAINTINGS[1:]}
        for name, part in painted.items()
        if "figures" in part
    ]
    yield from table(rows)
    for name, part in parts.items():
        if name in painted or name == "machine":
            continue
        measured = part.get("rows") or ([part["figures"]] if part.get("figures") else [])
        if measured:
            yield from ("", f"`{name}`: `{part['command']}`", *table(measured))
    others = [
        {"part": name, "became": part["status"], "s": part["seconds"],
         "last words": (part.get("errors") or [""])[-1]}
        for name, part in parts.items() if part["status"] != "ok"
    ]  # fmt: skip
    if others:
        yield from ("", "Not measured:", *table(others))


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Rows as a Markdown table, with the columns of the first."""
    if not rows:
        return
    yield ""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|---" * len(rows[0]) + "|"
    for row in rows:
        yield "| " + " | ".join(_cell(row.get(column)) for column in rows[0]) + " |"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).replace("|", "/")


if __name__ == "__main__":
    main()
