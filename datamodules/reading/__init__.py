"""Reads files of a publisher or a user into frames with named columns, block by block, and refuses what is damaged."""
