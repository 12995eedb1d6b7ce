"""Shared by all processes: messages, configuration, endpoints, sockets and logs."""
