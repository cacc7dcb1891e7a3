"""Verdicts on many results: the photo as the baseline, methods paired by photo and painting.

The painting decides most of the size of every number, so methods are compared pair by pair: the
mean of the differences on the same photo and painting, with its standard error, says what the
difference of two means would hide.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from impasto.errors import PictureError
from impasto.evaluation.judge import NUMBERS, Judge, Verdict
from impasto.images import Picture, paintings
from impasto.networks.lpips import Network
from impasto.reports import pages

BASELINE = "photo"  # the method that paints nothing: what every other one must beat
COLUMNS = ("photo", "painting", "method", "result")
MAIN = ("lpips", "style", "score", "color")  # those that are shown under a picture


@dataclass(frozen=True)
class Entry:
    """One result: what it was painted from, and how."""

    photo: str
    painting: str
    method: str
    result: str


@dataclass(frozen=True, eq=False)
class Judged:
    """An entry with its picture and the verdict on it."""

    entry: Entry
    picture: Picture
    verdict: Verdict


@dataclass(frozen=True)
class Difference:
    """How a method differs from another in one number, over the pairs that both painted."""

    method: str
    number: str
    pairs: int
    mean: float
    """Of this method's number minus the other's on the same pair."""
    error: float
    """The standard error of that mean; NaN for a single pair."""


def read_list(file: Path) -> list[Entry]:
    """The results that a CSV file names: columns photo, painting, method, result.

    Files are looked for beside the list. Raises PictureError for a list that cannot be read.
    """
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PictureError(f"cannot read the list {file} ({error})") from error
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise PictureError(
            f"the list {file} has no column {missing[0]!r}: its first line must be "
            f"{','.join(COLUMNS)}"
        )
    rows = [{name: (row[name] or "").strip() for name in COLUMNS} for row in reader]
    if not rows:
        raise PictureError(f"the list {file} names no result")
    for number, row in enumerate(rows, 2):
        empty = [name for name in COLUMNS if not row[name]]
        if empty:
            raise PictureError(f"line {number} of {file} has no {empty[0]}")
        if row["method"] == BASELINE:
            raise PictureError(
                f"line {number} of {file} calls a method {BASELINE!r}, which is the baseline's "
                "name: choose another"
            )
        for name in ("photo", "result", "painting"):
            beside = file.parent / row[name]
            if beside.exists() and not (name == "painting" and paintings.is_painting(row[name])):
                row[name] = str(beside)
    return [Entry(**row) for row in rows]


def judged(entries: Sequence[Entry], lpips: Network = "alexnet") -> Iterator[Judged]:
    """A verdict on every result, after one on the photo itself for each photo and painting."""
    for pair, group in groupby(sorted(entries, key=_pair_of), key=_pair_of):
        judge = Judge(*pair, lpips)
        pictures = ((entry, paintings.picture(entry.result)) for entry in group)
        for number, (entry, picture) in enumerate(pictures):
            if number == 0:
                itself = judge.content.resized(*picture.size)
                yield Judged(Entry(*pair, BASELINE, entry.photo), itself, judge.judge(itself))
            yield Judged(entry, picture, judge.judge(picture))


def differences(found: Sequence[Judged], number: str) -> list[Difference]:
    """How each method differs from the first one (not the photo) in a number, pair by pair."""
    methods = list(dict.fromkeys(one.entry.method for one in found))
    painted = [method for method in methods if method != BASELINE]
    values = {
        (one.entry.method, one.entry.photo, one.entry.painting): getattr(one.verdict, number)
        for one in found
    }
    pairs = list(dict.fromkeys((one.entry.photo, one.entry.painting) for one in found))
    result = []
    for method in methods:
        if not painted or method == painted[0]:
            continue
        apart = [
            values[method, *pair] - values[painted[0], *pair]
            for pair in pairs
            if (method, *pair) in values and (painted[0], *pair) in values
        ]
        if apart:
            result.append(Difference(method, number, len(apart), *_mean_and_error(apart)))
    return result


def table(found: Sequence[Judged]) -> str:
    """Every number of every result as comma-separated values."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS, *NUMBERS])
    for one in found:
        entry, numbers = one.entry, [getattr(one.verdict, name) for name in NUMBERS]
        writer.writerow([entry.photo, entry.painting, entry.method, entry.result, *numbers])
    return buffer.getvalue()


def page(found: Sequence[Judged]) -> str:
    """Every picture with its numbers in a page of its own: a row for each photo and painting, a
    column for each method."""
    methods = list(dict.fromkeys(one.entry.method for one in found))
    pairs = list(dict.fromkeys((one.entry.photo, one.entry.painting) for one in found))
    by_place = {(one.entry.photo, one.entry.painting, one.entry.method): one for one in found}
    rows = [
        {
            "painting": {
                "name": painting,
                "picture": pages.picture_uri(paintings.picture(painting)),
            },
            "cells": [_shown(by_place.get((photo, painting, method))) for method in methods],
        }
        for photo, painting in pairs
    ]
    lines = [
        {
            "photo": one.entry.photo,
            "painting": one.entry.painting,
            "method": one.entry.method,
            "numbers": [getattr(one.verdict, name) for name in NUMBERS],
        }
        for one in found
    ]
    return pages.rendered(
        "evaluation.html", title="Results, judged", methods=methods, rows=rows, lines=lines,
        names=NUMBERS, differences=[d for name in MAIN for d in differences(found, name)],
    )  # fmt: skip


def _shown(one: Judged | None) -> dict[str, str] | None:
    if one is None:
        return None
    numbers = "  ".join(f"{name} {getattr(one.verdict, name):.3f}" for name in MAIN)
    return {"name": one.entry.result, "picture": pages.picture_uri(one.picture), "text": numbers}


def _pair_of(entry: Entry) -> tuple[str, str]:
    return entry.photo, entry.painting


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
