"""Foreign candle files: where their bytes are, how their rows are cut, what their columns and times mean."""
