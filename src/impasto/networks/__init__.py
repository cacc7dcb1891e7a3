"""The networks: VGG-19, whole or in tiles; AdaIN; one's own style; LPIPS."""
