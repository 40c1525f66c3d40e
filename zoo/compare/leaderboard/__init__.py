"""From finished cells to the table of who is better: what was measured, what is shown, what is written of it."""

from mtlzoo.compare.leaderboard.build import Leaderboard as Leaderboard
from mtlzoo.compare.leaderboard.build import leaderboard as leaderboard
from mtlzoo.compare.leaderboard.index import write_cells as write_cells
from mtlzoo.compare.leaderboard.tables import show as show
from mtlzoo.compare.leaderboard.tables import write as write
