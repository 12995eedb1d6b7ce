"""The supervisor and its system: signals, what /proc shows, and notices to systemd."""
