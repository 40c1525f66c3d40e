"""zoo/metrics."""
