"""The jobs around models: train, retrain, forecast, list, and judge what a running one said.

``training.py`` makes a model directory, ``retraining.py`` replaces the one in use, ``forecasting.py`` scores
models and writes forecasts, ``listing.py`` knows the names.
"""
