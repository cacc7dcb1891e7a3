"""Help in two lengths: `--help` shows what nine people in ten need, `--help-all` every option.

What is basic is marked where an option is defined: in the fields of the settings, and in `BASIC`
for what the commands themselves take.
"""

from dataclasses import fields
from typing import TYPE_CHECKING

from cyclopts.help import DefaultFormatter, HelpEntry

from impasto.settings import Settings, TrainingSettings

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

HELP_ALL = "--help-all"
HELP_FLAGS = ("--help", "-h", HELP_ALL)
WHOLE_PANELS = ("Commands", "Arguments", "Parameters")  # the others hold what most people leave
BASIC = ("mask", "keep", "output", "force", "timelapse", "styles", "name", "workers", "dry_run")
FIELDS = (*fields(Settings), *fields(TrainingSettings))
BASIC_OPTIONS = {
    "--" + name.replace("_", "-")
    for name in (*BASIC, *(item.name for item in FIELDS if item.metadata["basic"]))
}
SHORT = {"--" + i.name.replace("_", "-"): i.metadata["help"] for i in FIELDS}


class Helper(DefaultFormatter):
    """Leaves out of the help what only `--help-all` shows, and counts it."""

    everything = False
    hidden = 0

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Show a panel, or what is basic in it."""
        if not self.everything:
            entries = [_shortened(entry) for entry in panel.entries if _basic(entry, panel)]
            self.hidden += len(panel.entries) - len(entries)
            panel = panel.copy(entries=entries)
        if panel.entries:
            super().__call__(console, options, panel)

    def begin(self, everything: bool) -> None:
        """Show everything from now on, or what is basic."""
        self.everything, self.hidden = everything, 0


def _basic(entry: HelpEntry, panel: "HelpPanel") -> bool:
    return panel.title in WHOLE_PANELS or bool(BASIC_OPTIONS.intersection(entry.names))


def _shortened(entry: HelpEntry) -> HelpEntry:
    """An entry in short: a setting's first sentence, a switch's positive name alone."""
    text = next((SHORT[name] for name in entry.positive_names if name in SHORT), None)
    changes = {} if text is None else {"description": text, "choices": None}  # the text has them
    found: HelpEntry = entry.copy(negative_names=(), negative_shorts=(), **changes)
    return found


HELPER = Helper()
