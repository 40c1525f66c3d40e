"""``python -m mtlzoo``."""

from mtlzoo.cli import main

main()
