"""Damaged files, and what a data module may make of them."""
