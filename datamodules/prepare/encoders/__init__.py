"""Turns raw columns into numbers: what they learn from train, and how they encode with it."""
