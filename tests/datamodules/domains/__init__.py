"""What every column of the publishers' files may hold, declared apart from the data modules."""
