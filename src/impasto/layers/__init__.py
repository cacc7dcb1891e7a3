"""The layers of a network: convolutions and poolings that keep no more than a gradient needs."""
