"""`impasto evaluate`: the judge's numbers for one or more results."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console

    from impasto.evaluation.comparison import Entry, Judged

GROUPS = {
    "distance to the photo": ("lpips", "self_similarity", "content", "cfsd"),
    "distance to the painting": (
        "style", "style_gram", "vgg_wasserstein", "vgg_gram", "color", "cast",
    ),
    "both together": ("score",),
    "defects": ("checkerboard", "halo", "bare"),
}  # fmt: skip


def evaluate(
    content: str | None = None,
    style: str | None = None,
    /,
    *results: Path,
    listed: Annotated[Path | None, Parameter(name="--list")] = None,
    lpips: Literal["alexnet", "vgg16"] = "alexnet",
    layers: bool = False,
    json: bool = False,
    csv: Path | None = None,
    html: Path | None = None,
) -> None:
    """Measure how near results are to their photo and to their painting.

    Smaller is nearer: 0 is the same. The photo itself is judged, too, as the baseline.
    docs/guide/evaluate.md explains every number.

    Parameters
    ----------
    content
        The photo.
    style
        The painting: a file, or a name that `impasto styles` lists.
    results
        The pictures to judge.
    listed
        Judge what this CSV file names, instead: columns photo, painting, method, result. Methods
        are then compared pair by pair of photo and painting.
    lpips
        The network of LPIPS; vgg16 needs `impasto weights get lpips-vgg16` once.
    layers
        Show the style distances layer by layer, too.
    json
        Print one JSON object for each result.
    csv
        Write every number to this file.
    html
        Write a page with every picture and its numbers to this file.
    """
    from impasto import images
    from impasto.evaluation import comparison

    for place in filter(None, (csv, html)):
        images.check_place(place)
    found = []
    for one in comparison.judged(_entries(content, style, results, listed), lpips):
        found.append(one)
        if json and one.entry.method != comparison.BASELINE:
            import json as json_format

            facts = asdict(one.verdict) | {"file": one.entry.result}
            if listed is not None:
                facts |= asdict(one.entry)
            print(json_format.dumps(facts), flush=True)
    if not json and listed is None:
        _print_table(found, layers)
    elif not json:
        _print_means(found)
    for target, text in ((csv, comparison.table), (html, comparison.page)):
        if target is not None:
            images.write_bytes(text(found).encode(), target)
            print(f"wrote {target}", file=sys.stderr)


def _entries(
    content: str | None, style: str | None, results: Sequence[Path], listed: Path | None
) -> "Sequence[Entry]":
    """What is to be judged. Raises ImpastoError where that is nothing, or two things."""
    from impasto.errors import SettingError
    from impasto.evaluation import comparison

    if listed is not None:
        if content is not None:
            raise SettingError(
                "results are named twice: give a photo, a painting and results, or --list alone"
            )
        return comparison.read_list(listed)
    if content is None or style is None or not results:
        raise SettingError(
            "there is nothing to judge: name a photo, a painting and one or more "
            "results after them, or --list FILE"
        )
    names = [file.name for file in results]
    shown = [f.name if names.count(f.name) == 1 else str(f) for f in results]
    return [
        comparison.Entry(content, style, m, str(f)) for m, f in zip(shown, results, strict=True)
    ]


def _print_table(found: "Sequence[Judged]", layers: bool) -> None:
    """One row for each measure, one column for each result."""
    from rich.table import Table
    from rich.text import Text

    verdicts = [one.verdict for one in found]
    table = Table("", *(_heading(one) for one in found), box=None)
    for heading, names in GROUPS.items():
        table.add_row(Text(heading, style="bold"))
        for name in names:
            values = (getattr(verdict, name) for verdict in verdicts)
            table.add_row(f"  {name}", *(f"{value:.4f}" for value in values))
            for layer in verdicts[0].layers.get(name, ()) if layers else ():
                values = (verdict.layers[name][layer] for verdict in verdicts)
                table.add_row(f"    {layer}", *(f"{value:.4f}" for value in values))
    _console().print(table)


def _console() -> "Console":
    """Stdout, where a name is shown as it is, whatever markup it looks like."""
    from rich.console import Console

    return Console(soft_wrap=True, markup=False, emoji=False)


def _heading(one: "Judged") -> str:
    from impasto.evaluation.comparison import BASELINE

    return f"{one.verdict.name} itself" if one.entry.method == BASELINE else one.verdict.name


def _print_means(found: "Sequence[Judged]") -> None:
    """Each method's means, then its differences from the first, pair by pair."""
    from rich.table import Table

    from impasto.evaluation import comparison

    methods = list(dict.fromkeys(one.entry.method for one in found))
    means = Table("method", "results", *comparison.MAIN, box=None)
    for method in methods:
        verdicts = [one.verdict for one in found if one.entry.method == method]
        sums = (sum(getattr(verdict, name) for verdict in verdicts) for name in comparison.MAIN)
        means.add_row(method, str(len(verdicts)), *(f"{s / len(verdicts):.4f}" for s in sums))
    console = _console()
    console.print(means)
    if len(methods) < 3:
        return
    console.print(f"\nminus {methods[1]} on the same photo and painting, mean ± standard error:")
    apart = Table("method", "pairs", *comparison.MAIN, box=None)
    for method in methods[2:]:
        found_apart = [comparison.differences(found, name) for name in comparison.MAIN]
        ours = [d for differences in found_apart for d in differences if d.method == method]
        if ours:
            cells = (f"{d.mean:+.4f}±{d.error:.4f}" for d in ours)
            apart.add_row(method, str(ours[0].pairs), *cells)
    console.print(apart)
