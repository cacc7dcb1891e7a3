"""`impasto evaluate`: the judge's numbers for one or more results."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from impasto.judge import Verdict

GROUPS = {
    "distance to the photo": ("lpips", "self_similarity", "content", "cfsd"),
    "distance to the painting": (
        "style", "style_gram", "vgg_wasserstein", "vgg_gram", "colour", "cast",
    ),
    "both together": ("score",),
    "defects": ("checkerboard", "halo", "grey"),
}  # fmt: skip


def evaluate(
    content: str,
    style: str,
    /,
    *results: Path,
    lpips: Literal["alexnet", "vgg16"] = "alexnet",
    layers: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Measure how near results are to their photo and to their painting.

    Smaller is nearer: 0 is the same. docs/evaluate.md explains every number.

    Parameters
    ----------
    content
        The photo.
    style
        The painting: a file, or the name of a built-in one.
    results
        The pictures to judge.
    lpips
        The network of LPIPS; vgg16 needs `impasto weights get lpips-vgg16` once.
    layers
        Show the style distances layer by layer, too.
    json
        Print one JSON object for each result.
    """
    from impasto.errors import SettingError
    from impasto.judge import Judge

    if not results:
        raise SettingError("there is nothing to judge: name one or more results after the painting")
    judge = Judge(content, style, lpips)
    verdicts = []
    for result in results:
        verdict = judge.judge(result)
        verdicts.append(verdict)
        if json:
            import json as json_format

            print(json_format.dumps(asdict(verdict) | {"file": str(result)}), flush=True)
    if not json:
        _print_table(verdicts, layers)


def _print_table(verdicts: "list[Verdict]", layers: bool) -> None:
    """One row for each measure, one column for each result."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(verdict.name for verdict in verdicts), box=None)
    for heading, names in GROUPS.items():
        table.add_row(f"[bold]{heading}[/bold]")
        for name in names:
            values = (getattr(verdict, name) for verdict in verdicts)
            table.add_row(f"  {name}", *(f"{value:.4f}" for value in values))
            for layer in verdicts[0].layers.get(name, ()) if layers else ():
                values = (verdict.layers[name][layer] for verdict in verdicts)
                table.add_row(f"    {layer}", *(f"{value:.4f}" for value in values))
    Console(soft_wrap=True).print(table)
