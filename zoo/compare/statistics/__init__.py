"""Statistics over seeds and users: pure functions of arrays, no files, no models."""
