"""What the processes share: messages, configuration, endpoints and socket helpers. Imports nothing above it."""
