"""From members' forecasts and their past errors to one forecast."""
