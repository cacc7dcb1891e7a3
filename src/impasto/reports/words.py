"""Numbers as a person says them."""


def duration(seconds: float) -> str:
    """Seconds in words: 12 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
