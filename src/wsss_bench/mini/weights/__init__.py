"""The mini world's own pretraining: images with captions, never a mask, a box or a label file."""
