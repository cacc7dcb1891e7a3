"""Studies: pictures of one run under settings that change, measured and laid side by side.

`figures` holds the studies of the literature, `sheet` a grid over any one or two settings; a
`Study` of either is painted cell by cell (`run`), measured, and written down by `report`.
"""

from impasto.studies.figures import STUDIES
from impasto.studies.report import OUTPUTS, write
from impasto.studies.sheet import Axis, axes_of, contact_sheet, sheet
from impasto.studies.study import Cell, Study, StudyPicture, files_of, prepare, run, with_measures

__all__ = [
    "OUTPUTS",
    "STUDIES",
    "Axis",
    "Cell",
    "Study",
    "StudyPicture",
    "axes_of",
    "contact_sheet",
    "files_of",
    "prepare",
    "run",
    "sheet",
    "with_measures",
    "write",
]
