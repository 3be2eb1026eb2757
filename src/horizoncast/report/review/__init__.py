"""The weekly review as data: read from the ledger or from metrics.jsonl, rendered elsewhere."""
