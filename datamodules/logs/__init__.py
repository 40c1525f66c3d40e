"""What is made of logs before they are prepared: side tables joined, cores, negatives, the past, a column of splits."""
