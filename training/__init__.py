"""How the bundled models were made: `python -m training.train_all --out DIR` draws, trains, measures and saves them all."""
