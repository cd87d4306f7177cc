"""The strategies that ship: the product, what it is compared with, and the volatility target."""
