"""Scheduled batch forecasting with a validated, weighted and calibrated ensemble."""
