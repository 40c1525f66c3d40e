"""What the page says, a file each: a `SECTION` that is read from the board of one data set."""
