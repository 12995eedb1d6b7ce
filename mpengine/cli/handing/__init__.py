"""The parts of `mpengine listen --exec` and `--exec-each`: messages, the commands that get them, and up to where."""
