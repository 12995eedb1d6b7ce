"""How children are started, get their settings, and exchange messages with the supervisor."""
