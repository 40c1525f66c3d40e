"""Ranking items for users: encoders of both, losses of their vectors, the best of all items. PMTRec is made of it."""
