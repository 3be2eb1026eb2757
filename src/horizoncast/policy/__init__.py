"""Pure functions of records: rollout states and, with the service, the schedule."""
