"""How children are started, told their settings, and spoken with."""
