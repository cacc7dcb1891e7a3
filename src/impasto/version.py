"""The version of impasto, which every recipe carries."""

__version__ = "0.1.0"
