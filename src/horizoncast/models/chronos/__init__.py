"""Chronos, natively: members, the base / train / load path, fine-tuning, embeddings.

Torch and chronos are imported inside functions and child processes only.
"""
