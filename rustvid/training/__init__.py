"""Training and evaluation: photographs with image labels in, weights and honest tables out."""
