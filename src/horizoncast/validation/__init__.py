"""Pseudo out-of-sample validation: where to cut, what to run, what the errors mean."""
