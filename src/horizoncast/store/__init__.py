"""Results on disk: run folders, the metrics log and the cache of bank rows."""
