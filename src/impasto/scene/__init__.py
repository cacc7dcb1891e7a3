"""What is painted with what: the photo, its regions, and the paintings each of them takes."""

from impasto.scene.regions import AnyPicture, Part, Region, Style
from impasto.scene.scene import Scene
from impasto.scene.view import View

__all__ = ["AnyPicture", "Part", "Region", "Scene", "Style", "View"]
