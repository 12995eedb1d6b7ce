"""Pure: the supervisor's decisions. They become actions, which the loop performs."""
