"""Pure: what the supervisor decides; it says what to do and does none of it."""
