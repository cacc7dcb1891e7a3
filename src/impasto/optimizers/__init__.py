"""What moves the pixels: L-BFGS, and the first-order methods of PyTorch."""
