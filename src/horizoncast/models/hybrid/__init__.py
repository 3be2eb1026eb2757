"""Parts of the hybrid of Chronos and the Autoformer."""
