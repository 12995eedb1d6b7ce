"""Pure: what recognisers say and are told, one module for each protocol."""
