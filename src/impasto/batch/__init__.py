"""Many pictures: every photo times every style, by several processes, with a manifest."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.batch.api import estimate, paint, pool_for, remaining, stylize_all
    from impasto.batch.plan import Batch, Masks, plan_batch
    from impasto.batch.workers import Workers

__all__ = [
    "Batch",
    "Masks",
    "Workers",
    "estimate",
    "paint",
    "plan_batch",
    "pool_for",
    "remaining",
    "stylize_all",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: a pool alone needs no PyTorch."""
    for module in ("plan", "workers", "api") if name in __all__ else ():
        found = import_module(f"impasto.batch.{module}")
        if hasattr(found, name):
            return getattr(found, name)
    raise AttributeError(f"module 'impasto.batch' has no attribute {name!r}")
