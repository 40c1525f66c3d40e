"""What runs say side by side: a matrix of cells, what they measured, statistics over seeds and users, a page."""
