"""Masks that make themselves: faces, people, and regions that a click begins."""

from impasto.segmentation.words import (
    LONGEST,
    WORDS,
    Finding,
    check_word,
    find_mask,
    found,
    from_clicks,
    is_word,
    mask_of,
    stands_before,
)

__all__ = [
    "LONGEST", "WORDS", "Finding", "check_word", "find_mask", "found", "from_clicks", "is_word",
    "mask_of", "stands_before",
]  # fmt: skip
