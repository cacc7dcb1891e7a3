"""Numbers as a person says them, and names that any terminal can print."""


def duration(seconds: float) -> str:
    """Seconds in words: 12 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def printable(text: str) -> str:
    """The text with escapes for what would move a terminal's cursor or is no letter: names of files
    may hold anything."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )
