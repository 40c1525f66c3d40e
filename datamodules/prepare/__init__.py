"""Prepares rows once: splits them, learns vocabularies and statistics from train, and keeps encoded columns on disk."""
