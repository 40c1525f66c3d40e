"""Callbacks for any Lightning project; nothing here imports the models or the data sets of mtlzoo."""

from mtlzoo.callbacks.predictions import ParquetPredictions

__all__ = ["ParquetPredictions"]
