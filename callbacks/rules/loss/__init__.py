"""Rules on losses: one file each, and what several of them stand on."""
