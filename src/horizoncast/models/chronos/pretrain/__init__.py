"""Training of a small Chronos-Bolt model from scratch on synthetic series."""
