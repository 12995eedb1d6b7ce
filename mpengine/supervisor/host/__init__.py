"""What the system tells the supervisor and is told by it: signals, systemd, the use of CPU and memory."""
