"""The local recogniser: pocketsphinx behind the managed protocol, on loopback, for local mode."""
