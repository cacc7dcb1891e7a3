"""How a network of one's own style is trained: every such setting, once, as in `settings.py`."""

from dataclasses import dataclass

from impasto.settings.fields import setting, settle


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a network is trained. Raises SettingError for a value out of its range."""

    steps: int = setting(4000, "How many steps to train.", at_least=1, group="Training")
    crop: int = setting(
        256,
        "Side of the squares of photos to learn from, px; half of it in the first part of the run.",
        at_least=64,
        at_most=2048,
        group="Training",
    )
    batch: int = setting(
        1, "How many squares in each step.", at_least=1, at_most=64, group="Training"
    )
    learning_rate: float = setting(
        0.002,
        "Highest step size of Adam; it rises to it and falls to zero.",
        above=0,
        at_most=1,
        group="Training",
    )
    width: int = setting(
        16,
        "Channels of the network: 16 makes a file of 0.86 MB, 32 one of 3.4 MB as the paper's.",
        at_least=4,
        at_most=128,
        group="Training",
    )
    blocks: int = setting(
        5, "Residual blocks of the network.", at_least=1, at_most=32, group="Training"
    )

    def __post_init__(self) -> None:
        settle(self)
