"""The studio: a page on this machine where people paint. `opened` opens it, `serve` keeps it so."""

from impasto.studio.launch import Options, opened, serve
from impasto.studio.uploads import Limits

__all__ = ["Limits", "Options", "opened", "serve"]
