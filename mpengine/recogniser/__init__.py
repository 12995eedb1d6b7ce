"""The local recogniser: pocketsphinx with the managed protocol, on loopback, for local mode."""
