"""Loads prepared columns for training: whole batches by slicing, and what is drawn beside them."""
