"""An engine for another program: the `Engine` class for GUIs, and the child process that does its work."""
