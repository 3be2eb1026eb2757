"""The Bayesian Autoformer: a small probabilistic transformer anchored at the naive forecast.

Only `config`, `anchor` and `member` can be imported without torch; the others load it.
"""
