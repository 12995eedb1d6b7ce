"""What the system tells the supervisor, and is told by it: signals, and notices to systemd."""
