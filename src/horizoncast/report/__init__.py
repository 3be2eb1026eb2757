"""Records, charts and summaries of a run: what people and programs read afterwards."""
