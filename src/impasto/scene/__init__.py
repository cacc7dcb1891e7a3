"""What is painted with what: the photo, its regions, and the paintings each of them takes.

Everything a run reads is settled here, once: several styles and their shares, crops and turns of a
painting, masks, transparency, and whose colours are kept. The engine asks for it size by size.
"""

from impasto.scene.parts import DIGITS, AnyPicture, Part, Region, Style, fingerprint
from impasto.scene.scene import Scene

__all__ = ["DIGITS", "AnyPicture", "Part", "Region", "Scene", "Style", "fingerprint"]
