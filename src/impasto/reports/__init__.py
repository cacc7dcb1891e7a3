"""Plots, and pages that need no other file."""
