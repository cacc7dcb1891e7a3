"""All that the page does, as plain functions of a visitor and a form; no Gradio in it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import ImpastoError, PictureError
from impasto.images import Picture, fit, paintings
from impasto.reports.words import duration
from impasto.segmentation import from_clicks
from impasto.settings import settings_for
from impasto.studio import stage, uploads
from impasto.studio.forms import DRAWN, Form, job_of, restored
from impasto.studio.jobs import (
    LIVE_SIDE,
    Estimated,
    Event,
    Failed,
    Job,
    Painted,
    Said,
    Shown,
    Waiting,
    live,
)
from impasto.studio.painter import TRIAL_SIDE
from impasto.studio.queue import Atelier
from impasto.studio.uploads import Limits
from impasto.studio.visits import MOST_PHOTOS, Visit, Visits

PREVIEW_SIDES = (256, 320, 384, 512)  # px, of instant pictures
PREVIEW_SECONDS = 1.5  # that one may take, by the pace of the machine
PROGRAM_SECONDS = 0.5  # between two looks whether a program still waits for its picture
DARKENED = 0.25  # how bright what a mask leaves out is shown
SHEET_SIDE = 192  # px, of each picture of a sheet of all paintings


@dataclass(frozen=True)
class View:
    """What to show: the stage, and at the end what was painted."""

    html: str
    painted: Painted | None = None
    busy: bool = True


@dataclass(eq=False)
class Faces:
    """The photo and the picture as they are looked at, to be mixed at once."""

    photo: Picture
    painted: Picture


class Desk:
    """The studio without its page. Use as a context manager, or `close` it.

    `copies`: where the page's server keeps what it took and shows, if it does. `settings` hold for
    every picture (device, threads, memory limit).
    """

    def __init__(
        self,
        limits: Limits | None = None,
        hours: float = 1.0,
        copies: Path | None = None,
        **settings: Any,
    ) -> None:
        self.limits = limits or Limits()
        self.atelier = Atelier(**settings)
        self.visits = Visits(self._left, hours, copies, self.atelier.is_painting)
        self.faces: dict[str, Faces] = {}
        self.lock = threading.Lock()

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all work and all visits."""
        self.atelier.close()
        self.visits.close()

    def _left(self, key: str) -> None:
        for visitor in (key, f"{key} estimate", f"{key} sheet"):
            self.atelier.forget(visitor)
        self.faces.pop(key, None)

    # What visitors hand in

    def take_photo(self, key: str, file: Path) -> tuple[Path, dict[str, Any] | None]:
        """Take in a photo: the small copy that is shown, and the recipe if impasto painted it.

        A painted picture is no photo: only its recipe counts, and the photo of before stays.
        Raises PictureError.
        """
        visit = self.visits.of(key)
        if len(visit.photos) >= MOST_PHOTOS:
            raise PictureError(
                f"there are {MOST_PHOTOS} photos already: reload the page to begin anew"
            )
        place = uploads.taken(visit, file, self.limits)
        recipe = recipe_in(place)
        if recipe is None:
            visit.photo = place
            visit.photos.append(place)
        seen = uploads.proxy(place, visit.place("seen", ".jpg"))
        if recipe is None:
            visit.look = seen.read_bytes()
        else:
            place.unlink(missing_ok=True)
        return seen, recipe

    def seen(self, key: str) -> Path:
        """A small copy of the visitor's photo."""
        visit = self.visits.of(key)
        if visit.photo is None:
            raise PictureError("there is no photo yet: drop one, paste one or take one")
        return uploads.proxy(visit.photo, visit.place("seen", ".jpg"))

    def restore(self, key: str, recipe: dict[str, Any]) -> tuple[Form, list[str]]:
        """The form of a recipe, and what is missing; its photo is chosen if it was handed in."""
        visit = self.visits.of(key)
        form, missing = restored(recipe, visit)
        wanted = Path(str(recipe.get("content", ""))).stem
        for photo in visit.photos:
            if photo.stem == wanted or photo.stem.rsplit("-", 1)[0] == wanted:
                visit.photo = photo
        if visit.photo is None:
            missing.append("the photo: drop it, too")
        return form, missing

    def take_painting(self, key: str, file: Path) -> tuple[str, Path]:
        """Take in a painting: its name, and the small copy that is shown. Raises PictureError."""
        visit = self.visits.of(key)
        if len(visit.paintings) >= MOST_PHOTOS:
            raise PictureError(
                f"there are {MOST_PHOTOS} paintings already: reload the page to begin anew"
            )
        place = uploads.taken(visit, file, self.limits)
        name = place.stem
        visit.paintings[name] = place
        return name, uploads.proxy(place, visit.place("seen", ".jpg"), 320)

    def take_mask(self, key: str, file: Path, name: str) -> str:
        """Take in a mask that was drawn; the name it goes by. Raises PictureError."""
        visit = self.visits.of(key)
        before = visit.masks.get(name)
        visit.masks[name] = uploads.taken(visit, file, self.limits)
        if before is not None and not self.atelier.is_painting(key):
            before.unlink(missing_ok=True)
        return name

    def click(self, key: str, points: list[tuple[float, float]]) -> bytes:
        """A mask grown from points of the photo, in parts of its sides, which goes by the name
        drawn; the photo with what it leaves out darkened, a JPEG. Raises ImpastoError."""
        visit = self.visits.of(key)
        if visit.photo is None:
            raise PictureError("there is no photo yet: drop one, paste one or take one")
        photo = images.read(visit.photo, need=images.Need(LIVE_SIDE))
        width, height = photo.own_size
        clicks = [(x * width, y * height) for x, y in points]
        mask = from_clicks(photo, clicks)
        place = visit.place("clicked", ".png")
        images.write_bytes(images.encode(Picture(mask.expand(-1, 3, -1, -1))), place)
        visit.masks[DRAWN] = place
        return live(Picture(photo.pixels * (DARKENED + (1 - DARKENED) * mask)))

    # Painting

    def preview(self, key: str, form: Form) -> Iterator[View]:
        """An instant picture, as large as this machine paints in little more than a second."""
        visit = self.visits.of(key)
        if self.atelier.is_painting(key):  # the picture that grows is what one looks at
            return
        try:
            job = job_of(form, visit, True, self.preview_side())
        except ImpastoError as error:
            yield View(stage.message(str(error)), busy=False)
            return
        yield self._words(visit, "One moment: a sketch", self._alt(visit, form))
        for event in self.atelier.paint(key, job):
            if isinstance(event, Failed):
                if not event.text.startswith("stopped"):
                    yield View(stage.message(event.text, wrong=True), busy=False)
            elif isinstance(event, Painted):
                seen = visit.look = live(images.read(event.picture))
                event.picture.unlink(missing_ok=True)
                words = f"Instant sketch in {event.seconds:.1f} s. Paint refines it."
                yield View(
                    stage.picture(seen, self._alt(visit, form), words, final=True), busy=False
                )

    def preview_side(self) -> int:
        """Long side of an instant picture, px, that takes little more than a second here."""
        pace = self.atelier.pace or PREVIEW_SECONDS
        fits = [
            side for side in PREVIEW_SIDES if pace * (side / TRIAL_SIDE) ** 2 <= PREVIEW_SECONDS
        ]
        return max(fits, default=PREVIEW_SIDES[0])

    def paint(self, key: str, form: Form, go_on: bool = False) -> Iterator[View]:
        """Paint, and show the picture as it grows. go_on: from where it was stopped."""
        visit = self.visits.of(key)
        try:
            job = job_of(form, visit)
            self._check_size(job)
        except ImpastoError as error:
            yield View(stage.message(str(error), wrong=True), busy=False)
            return
        if go_on and visit.last is not None and visit.last.checkpoint is not None:
            job = replace(job, resume=visit.last.checkpoint)
        alt = self._alt(visit, form)
        for quick in (key, f"{key} estimate", f"{key} sheet"):
            self.atelier.stop(quick, quick=True)  # what is asked for now comes first
        yield self._words(visit, "Getting ready: the painting is measured first", alt)
        yield from self._show(self.atelier.paint(key, job), visit, alt)

    def paint_for_program(self, key: str, photo: Path, form: Form) -> Iterator[Path | None]:
        """Take a photo and paint it: the picture's file at the end, and None now and then before,
        so that whoever listens may leave. The photo does not stay. Raises ImpastoError."""
        visit = self.visits.of(key)
        place = uploads.taken(visit, photo, self.limits)
        try:
            job = job_of(form, visit, photo=place)
            self._check_size(job)
            for event in self.atelier.paint(key, job, every=PROGRAM_SECONDS):
                visit.seen = _now()
                if isinstance(event, Failed):
                    raise PictureError(event.text)
                yield event.picture if isinstance(event, Painted) else None
        finally:
            place.unlink(missing_ok=True)

    def _show(self, events: Iterator[Event], visit: Visit, alt: str) -> Iterator[View]:
        """What a visitor sees of what happens."""
        said = ""
        for event in events:
            visit.seen = _now()
            if isinstance(event, Said):
                said = event.text
            elif isinstance(event, Waiting):
                others = "1 picture is" if event.before == 1 else f"{event.before} pictures are"
                words = f"In the queue: {others} before yours" if event.before else "You are next"
                yield self._words(visit, words, alt)
            elif isinstance(event, Shown):
                if event.picture is not None:
                    visit.look = event.picture
                    words = ". ".join(filter(None, (stage.progress_words(event), said)))
                    yield View(stage.picture(event.picture, alt, words, work=event.work))
            elif isinstance(event, Failed):
                yield View(stage.message(event.text, wrong=True), busy=False)
            elif isinstance(event, Painted):
                yield self._finished(event, visit, alt)

    def _words(self, visit: Visit, words: str, alt: str) -> View:
        """Words below the picture that was seen last, or in its place."""
        if visit.look is None:
            return View(stage.message(words))
        return View(stage.picture(visit.look, alt, words, work=0.0))

    def _finished(self, painted: Painted, visit: Visit, alt: str) -> View:
        visit.last = painted
        visit.painted.insert(0, painted.picture)
        faces = _faces(visit.photo, painted.picture)
        if self.visits.has(visit):
            self.faces[visit.key] = faces
        words = "Stopped; this is the picture so far" if painted.stopped else "Done"
        words += f", after {duration(painted.seconds)}"
        visit.look = live(faces.painted)
        html = stage.picture(visit.look, alt, words, before=live(faces.photo), final=True)
        return View(html, painted, busy=False)

    def stop(self, key: str) -> None:
        """Stop what is painted for a visitor; the picture so far is kept."""
        self.atelier.stop(key)

    def estimate(self, key: str, form: Form) -> str:
        """Time and memory that a picture would take here, in words."""
        visit = self.visits.of(key)
        try:
            job = replace(job_of(form, visit), quick=True, only_estimate=True)
            self._check_size(job)
        except ImpastoError as error:
            return str(error)
        for event in self.atelier.paint(f"{key} estimate", job):
            if isinstance(event, Estimated):
                return f"about {duration(event.seconds)}, {event.bytes / 1e9:.1f} GB of memory"
            if isinstance(event, Failed) and not event.text.startswith("stopped"):
                return event.text
        return ""

    def sheet(self, key: str, form: Form, names: list[str]) -> Iterator[list[tuple[str, str]]]:
        """The photo in each of these styles, as instant pictures that come one by one."""
        visit, found = self.visits.of(key), []
        for name in names:
            job = job_of(
                replace(form, styles=(name,), mask=None, regions=()), visit, True, SHEET_SIDE
            )
            for event in self.atelier.paint(f"{key} sheet", job):
                if isinstance(event, Failed):
                    raise PictureError(event.text)
                if isinstance(event, Painted):
                    found.append((str(event.picture), name))
                    yield found

    # Afterwards

    def mixed(self, key: str, amount: float) -> str:
        """The picture between photo and painting, to be looked at, at once."""
        visit, faces = self.visits.of(key), self.faces.get(key)
        if faces is None or visit.last is None:
            return stage.message("Paint a picture first")
        seen = live(faces.photo.mixed(faces.painted, amount))
        return stage.picture(seen, "the picture", _amount_words(amount), before=live(faces.photo))

    def download(self, key: str, amount: float = 1.0) -> Path | None:
        """The picture's file, at full size and with its recipe, mixed with the photo as asked."""
        visit = self.visits.of(key)
        if visit.last is None or visit.photo is None:
            return None
        if amount >= 1:
            return visit.last.picture
        from impasto import mix

        place = visit.last.picture.with_name(f"{visit.last.picture.stem}-{round(100 * amount)}.png")
        mix(visit.photo, visit.last.picture, amount).save(place)
        return place

    def _check_size(self, job: Job) -> None:
        asked = settings_for(**job.changes).size
        if asked > self.limits.size:
            raise PictureError(
                f"the size is {asked} px: this studio paints up to {self.limits.size} px"
            )

    @staticmethod
    def _alt(visit: Visit, form: Form) -> str:
        """What a screen reader says of the picture."""
        named = [str(paintings.about(name)) or name for name in form.styles]
        assert visit.photo is not None
        return f"your photo in the style of {' and '.join(named)}"


def recipe_in(file: Path) -> dict[str, Any] | None:
    """The recipe that a picture carries, if impasto painted it."""
    try:
        return images.recipe_of(file)
    except ImpastoError:
        return None


def _faces(photo: Path | None, painted: Path) -> Faces:
    """The photo and the picture, as large as they are looked at."""
    picture = images.read(painted, need=images.Need(LIVE_SIDE))
    size = fit(picture.size, min(LIVE_SIDE, max(picture.size)))
    own = images.read(photo, need=images.Need(LIVE_SIDE)) if photo is not None else picture
    return Faces(own.resized(*size), picture.resized(*size))


def _amount_words(amount: float) -> str:
    return f"{amount:.0%} of the painting"


def _now() -> float:
    import time

    return time.monotonic()
