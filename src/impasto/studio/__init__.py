"""The studio: a page on this machine where people paint. `opened` opens it."""

from impasto.studio.launch import Options, opened

__all__ = ["Options", "opened"]
