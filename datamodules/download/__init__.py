"""Gets a publisher's files: downloads, unpacks, finds them, and says how far it is."""
