"""An engine inside another program: the `Engine` class of a GUI, and the child process that does its work."""
