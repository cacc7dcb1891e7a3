"""The page: what happens where somebody clicks. What is painted, and how, is a `Desk`'s."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
from PIL import Image

from impasto.errors import ImpastoError
from impasto.studio import stage
from impasto.studio.desk import Desk, View
from impasto.studio.forms import DRAWN, Form
from impasto.studio.page import controls, layout
from impasto.studio.page.layout import KEEP, WHERE

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
AT_ONCE: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", **PRIVATE}
SLOW: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
Said = dict[Any, Any]
"""What each component holds."""
Changes = dict[Any, Any]
"""What components shall hold, and how they shall look."""


class Page:
    """What the page does when something is chosen: each method is one event's."""

    def __init__(self, desk: Desk, shown: SimpleNamespace, asked: SimpleNamespace) -> None:
        self.desk, self.shown, self.asked = desk, shown, asked
        self.said = {
            asked.choice, asked.second, asked.share, asked.where, asked.keep, asked.region_mask,
            asked.region_style, asked.timelapse, asked.editor, asked.known, asked.thumbs,
            asked.clicks,
            asked.photo, *asked.basic.values(), *asked.expert.values(),
        }  # fmt: skip

    # What the controls say

    def form(self, said: Said, request: gr.Request) -> Form:
        """What the controls say. Raises ImpastoError for what cannot be read."""
        asked = self.asked
        changes = {name: said[control] for name, control in asked.basic.items()}
        for name, control in asked.expert.items():
            value = controls.value_of(name, said[control])
            if value is not None:
                changes[name] = value
        styles = tuple(said[asked.choice][:1])
        if said[asked.second] and styles and said[asked.second] not in styles:
            styles += (said[asked.second],)
        regions: tuple[tuple[str, str], ...] = ()
        if said[asked.region_mask]:
            regions = ((said[asked.region_mask], said[asked.region_style]),)
        if "drawn" in (WHERE[said[asked.where]], said[asked.region_mask]):
            self._take_drawing(said[asked.editor], request)
        return Form(
            styles, float(said[asked.share]), changes, WHERE[said[asked.where]],
            KEEP[said[asked.keep]], regions, bool(said[asked.timelapse]),
        )  # fmt: skip

    def _take_drawing(self, drawn: Any, request: gr.Request) -> None:
        """Keep what was drawn as a mask, if something was."""
        for layer in (drawn or {}).get("layers") or []:
            with Image.open(layer) as image:
                seen = image.convert("RGBA").getchannel("A").getextrema()[1]
            if seen:
                self.desk.take_mask(key_of(request), Path(layer), DRAWN)

    # What is handed in

    def take_photo(self, said: Said, request: gr.Request) -> Changes:
        """A new photo; or a painted picture, whose settings are back."""
        asked, file = self.asked, said[self.asked.photo]
        if file is None:
            return {self.shown.stage: gr.skip()}
        try:
            seen, recipe = self.desk.take_photo(key_of(request), Path(file))
        except ImpastoError as error:
            return {self.shown.stage: stage.message(str(error), wrong=True), asked.photo: None}
        if recipe is not None:
            return self._restored(recipe, request)
        words = "Now choose a painting" if not said[asked.choice] else "One moment"
        return {
            asked.photo: str(seen),
            asked.editor: str(seen),
            asked.clicks: [],
            self.shown.stage: stage.picture(seen.read_bytes(), "your photo", words, final=True),
        }

    def click(self, event: gr.SelectData, said: Said, request: gr.Request) -> Changes:
        """A click into the photo: what looks alike there is the mask."""
        asked = self.asked
        if DRAWN not in (WHERE[said[asked.where]], said[asked.region_mask]):
            return {self.shown.stage: gr.skip()}
        with Image.open(said[asked.photo]) as image:
            width, height = image.size
        x, y = event.index
        points = [*said[asked.clicks], ((x + 0.5) / width, (y + 0.5) / height)]
        try:
            seen = self.desk.click(key_of(request), points)
        except ImpastoError as error:
            return {self.shown.stage: stage.message(str(error), wrong=True)}
        words = "Bright is what will be painted; another click adds to it"
        return {
            asked.clicks: points,
            self.shown.stage: stage.picture(seen, "your photo and the mask", words, final=True),
        }

    def _restored(self, recipe: dict[str, Any], request: gr.Request) -> Changes:
        """The controls as they were when a picture was painted."""
        asked = self.asked
        form, missing = self.desk.restore(key_of(request), recipe)
        preset = form.changes["preset"]
        changes: Changes = {}
        for name, control in asked.basic.items():
            value = form.changes.get(name, controls.usual(name, preset))
            changes[control] = value[0] if isinstance(value, list | tuple) and value else value
        for name, control in asked.expert.items():
            changes[control] = controls.text_of(name, form.changes.get(name))
        changes[asked.choice] = list(form.styles[:1])
        changes[asked.second] = form.styles[1] if len(form.styles) > 1 else ""
        changes[asked.share] = form.share
        changes[asked.where] = _said(WHERE, form.mask)
        changes[asked.keep] = _said(KEEP, form.keep)
        photo = self.desk.visits.of(key_of(request)).photo
        changes[asked.photo] = None
        words = "The settings of that picture are back"
        if missing:
            words += f"; missing: {'; '.join(missing)}"
        changes[self.shown.stage] = stage.message(words)
        if photo is not None:
            seen = self.desk.seen(key_of(request))
            changes[asked.photo] = str(seen)
            changes[self.shown.stage] = stage.picture(
                seen.read_bytes(), "your photo", words, final=True
            )
        return changes

    def take_painting(self, file: str, thumbs: Any, known: Any, request: gr.Request) -> Changes:
        """A painting of the visitor's own, chosen at once."""
        asked = self.asked
        try:
            name, seen = self.desk.take_painting(key_of(request), Path(file))
        except ImpastoError as error:
            return {self.shown.stage: stage.message(str(error), wrong=True)}
        thumbs, known = [(str(seen), name), *thumbs], [name, *known]
        choices = [(layout.title(n), n) for n in known]
        return {
            asked.thumbs: thumbs,
            asked.known: known,
            asked.paintings: gr.Gallery(thumbs, selected_index=0),
            asked.choice: [name],
            asked.second: gr.Dropdown([("none", ""), *choices]),
            asked.region_style: gr.Dropdown(choices),
        }

    @staticmethod
    def choose(event: gr.SelectData, known: list[str]) -> list[str]:
        """The painting that was clicked."""
        return [known[event.index]]

    # Painting

    def preview(self, said: Said, request: gr.Request) -> Iterator[Changes]:
        """An instant picture of what the controls say."""
        yield {self.shown.stage: gr.skip()}  # Gradio empties what a generator says nothing of
        try:
            form = self.form(said, request)
            if self.desk.visits.of(key_of(request)).photo is None or not form.styles:
                return
            for view in self.desk.preview(key_of(request), form):
                yield {self.shown.stage: view.html}
        except ImpastoError as error:
            yield {self.shown.stage: stage.message(str(error), wrong=True)}

    def paint(self, said: Said, request: gr.Request) -> Iterator[Changes]:
        """Paint what the controls say."""
        yield from self._painting(said, request, go_on=False)

    def go_on(self, said: Said, request: gr.Request) -> Iterator[Changes]:
        """Paint on from where it was stopped."""
        yield from self._painting(said, request, go_on=True)

    def _painting(self, said: Said, request: gr.Request, go_on: bool) -> Iterator[Changes]:
        shown = self.shown
        try:
            form = self.form(said, request)
        except ImpastoError as error:
            yield {shown.stage: stage.message(str(error), wrong=True)}
            return
        yield {
            shown.paint: gr.Button(visible=False),
            shown.stop: gr.Button(visible=True),
            shown.go_on: gr.Button(visible=False),
            shown.afterwards: gr.Column(visible=False),
        }
        for view in self.desk.paint(key_of(request), form, go_on):
            yield {shown.stage: view.html} | (self._after(view, request) if not view.busy else {})

    def _after(self, view: View, request: gr.Request) -> Changes:
        """The page when a run is over."""
        shown, painted = self.shown, view.painted
        changes: Changes = {
            shown.paint: gr.Button("Paint again" if painted else "Paint", visible=True),
            shown.stop: gr.Button(visible=False),
        }
        if painted is None:
            return changes
        visit = self.desk.visits.of(key_of(request))
        film = painted.film
        return changes | {
            shown.go_on: gr.Button(visible=painted.checkpoint is not None),
            shown.afterwards: gr.Column(visible=True),
            shown.amount: 1.0,
            shown.download: gr.DownloadButton(value=str(painted.picture)),
            shown.film: gr.DownloadButton(
                value=None if film is None else str(film), visible=film is not None
            ),
            shown.loss: stage.loss_plot(painted.history),
            shown.visit: gr.Accordion(visible=True),
            shown.gallery: [str(picture) for picture in visit.painted],
        }

    def several(self, said: Said, request: gr.Request) -> Iterator[Changes]:
        """Paint several photos, one after the other."""
        yield {self.shown.stage: gr.skip()}
        for file in said[self.asked.more] or []:
            try:
                seen, _ = self.desk.take_photo(key_of(request), Path(file))
            except ImpastoError as error:
                gr.Warning(str(error))
                continue
            yield {self.asked.photo: str(seen), self.asked.clicks: []}
            yield from self._painting(said, request, go_on=False)

    def stop(self, request: gr.Request) -> None:
        """Stop; the picture so far is kept."""
        self.desk.stop(key_of(request))

    def estimate(self, said: Said, request: gr.Request) -> str:
        """What the picture would take."""
        try:
            form = self.form(said, request)
            if self.desk.visits.of(key_of(request)).photo is None or not form.styles:
                return ""
            return self.desk.estimate(key_of(request), form)
        except ImpastoError as error:
            return str(error)

    def sheet(self, said: Said, request: gr.Request) -> Iterator[Changes]:
        """The photo in every style that is shown."""
        asked, known = self.asked, said[self.asked.known]
        yield {asked.sheet: gr.Gallery([], visible=True)}
        try:
            for found in self.desk.sheet(key_of(request), self.form(said, request), known):
                yield {asked.sheet: [(path, layout.title(name)) for path, name in found]}
        except ImpastoError as error:
            yield {self.shown.stage: stage.message(str(error), wrong=True)}

    def show_editor(self, said: Said) -> Changes:
        """The brush, where there is something to draw."""
        asked = self.asked
        draws = DRAWN in (WHERE[said[asked.where]], said[asked.region_mask])
        return {
            asked.editor: gr.ImageEditor(visible=draws), asked.hint: gr.Markdown(visible=draws),
        }  # fmt: skip

    # Afterwards

    def mix(self, amount: float, request: gr.Request) -> str:
        """The picture between photo and painting."""
        return self.desk.mixed(key_of(request), amount)

    def mixed_file(self, amount: float, request: gr.Request) -> Any:
        """Its file, at full size."""
        file = self.desk.download(key_of(request), amount)
        return gr.skip() if file is None else str(file)

    def leave(self, request: gr.Request) -> None:
        """The tab was closed."""
        self.desk.visits.leave(key_of(request))

    # What calls what

    def connect(self, blocks: gr.Blocks) -> None:
        """Let each component call what is its own."""
        shown, asked = self.shown, self.asked
        everything = [
            shown.stage, shown.paint, shown.stop, shown.go_on, shown.afterwards, shown.amount,
            shown.download, shown.film, shown.loss, shown.visit, shown.gallery,
        ]  # fmt: skip
        inputs = [
            asked.photo, asked.editor, shown.stage, asked.choice, asked.second, asked.share,
            asked.thumbs, asked.known, asked.paintings, asked.region_style, asked.where,
            asked.keep, asked.clicks,
            *asked.basic.values(), *asked.expert.values(),
        ]  # fmt: skip
        see: dict[str, Any] = {
            "fn": self.preview,
            "inputs": self.said,
            "outputs": [shown.stage],
            **AT_ONCE,
        }
        guess: dict[str, Any] = {
            "fn": self.estimate,
            "inputs": self.said,
            "outputs": [asked.estimate],
            **AT_ONCE,
        }
        taken = asked.photo.upload(self.take_photo, self.said, inputs, **SLOW)
        taken.then(**see).then(**guess)
        asked.own.upload(
            self.take_painting, [asked.own, asked.thumbs, asked.known], inputs, **PRIVATE
        ).then(**see)
        for gallery in (asked.paintings, asked.sheet):
            gallery.select(self.choose, [asked.known], [asked.choice], **AT_ONCE).then(**see).then(
                **guess
            )
        for name in ("strength", "style_scale"):
            asked.basic[name].release(**see)
        for control in (asked.basic["keep_colors"], asked.second):
            control.input(**see)
        asked.share.release(**see)
        asked.basic["preset"].input(
            lambda preset: controls.usual("strength", preset),
            [asked.basic["preset"]], [asked.basic["strength"]], **AT_ONCE,
        ).then(**guess)  # fmt: skip
        asked.basic["size"].input(**guess)
        for start, what in ((shown.paint, self.paint), (shown.go_on, self.go_on)):
            start.click(what, self.said, everything, **SLOW)
        shown.stop.click(self.stop, None, None, queue=False, **PRIVATE)
        asked.more.upload(
            self.several, {*self.said, asked.more}, [*everything, asked.photo, asked.clicks], **SLOW
        )
        asked.all.click(self.sheet, self.said, [asked.sheet, shown.stage], **SLOW)
        for control in (asked.where, asked.region_mask):
            control.input(self.show_editor, self.said, [asked.editor, asked.hint], **AT_ONCE).then(
                **see
            )
        asked.keep.input(**see)
        asked.photo.select(self.click, self.said, [asked.clicks, shown.stage], **SLOW)
        shown.amount.input(self.mix, [shown.amount], [shown.stage], **AT_ONCE)
        shown.amount.release(self.mixed_file, [shown.amount], [shown.download], **AT_ONCE)
        blocks.unload(self.leave)


def _said(words: dict[str, str | None], meant: str | None) -> str:
    """How the page says a mask."""
    return next(said for said, meaning in words.items() if meaning == meant)


def key_of(request: gr.Request) -> str:
    """Whose request it is."""
    return str(request.session_hash)
