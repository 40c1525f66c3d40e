"""What raw columns are called and hold: which values may stand there, and what each of them means."""
