"""What impasto says when it cannot go on: one family, one line each.

    ImpastoError
    |-- SettingError    a setting is out of range, unknown or contradicts another
    |-- PictureError    a picture cannot be read, painted or written
    |-- WeightsError    a network's file is missing, damaged or cannot be fetched
    `-- DivergedError   the optimization left the rails; the last good picture is kept

Every message names the value, the limit and the remedy. The command line prints it as one
line on stderr and exits with status 2 (1 for DivergedError, which leaves a picture behind). What
is done, but not wholly, is a LeftOutWarning.
"""


class ImpastoError(Exception):
    """Anything that impasto tells its user instead of going on."""


class SettingError(ImpastoError, ValueError):
    """A setting is out of range, unknown or contradicts another."""


class PictureError(ImpastoError):
    """A picture cannot be read, painted or written."""


class WeightsError(ImpastoError):
    """A network's weights are missing, damaged or cannot be fetched."""


class DivergedError(ImpastoError):
    """The loss became NaN or ran away; the steps before it stay valid."""


class LeftOutWarning(UserWarning):
    """A picture is written, but without a part of what it would say of itself."""
