"""Masks that make themselves: faces, people, and regions that a click begins."""
