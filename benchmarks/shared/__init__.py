"""What several benchmarks share: how figures are published, and the textbook implementation."""
