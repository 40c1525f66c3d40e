"""A comparison as one HTML page that needs no network, and its pictures for who shows them elsewhere."""

from mtlzoo.compare.page.board import Board as Board
from mtlzoo.compare.page.board import boards as boards
from mtlzoo.compare.page.sections.tradeoff import tradeoff as tradeoff
from mtlzoo.compare.page.vega import png as png
from mtlzoo.compare.page.write import write_page as write_page
