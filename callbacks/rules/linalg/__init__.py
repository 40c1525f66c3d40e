"""Linear algebra that rules stand on, of many small matrices at once: torch in float64, no rule and no Lightning."""
