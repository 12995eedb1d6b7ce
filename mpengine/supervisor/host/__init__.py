"""The supervisor and its system: signals, and notices to systemd."""
