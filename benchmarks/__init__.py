"""Benchmarks: `python -m benchmarks.NAME` prints a table and writes JSON with the machine in it.

Every figure is a ratio of things measured side by side in one run. Nothing else may be running.
"""
