"""The service: settings, runs, the ledger's upkeep, and what starts them."""
