"""The words of `listen --only`, and the topics that they stand for. Pure."""

from mpengine.shared.messages import FINALS, INTERIMS, TOPICS

EVERY = frozenset(TOPICS)
"""All topics of this version."""
OTHERS = ""
"""Stands for all topics that are new in a later version."""

WORDS = {
    "finals": frozenset({FINALS}),
    "interims": frozenset({INTERIMS}),
    "gaps": frozenset({"gap"}),
    "errors": frozenset({"error"}),
    "status": frozenset({"status"}),
    "levels": frozenset({"level"}),
    "metrics": frozenset({"metrics"}),
    "speech": frozenset({"speech_started", "utterance_end"}),
    "account": frozenset({"credits_low", "session_end"}),
    "metadata": frozenset({"metadata"}),
    "all": EVERY | {OTHERS},
}


def read_only(text: str) -> frozenset[str]:
    """The topics that `text` names: words, or topics as the page wire has them, with commas. Raises ValueError."""
    found: frozenset[str] = frozenset()
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        topics = WORDS.get(word) or WORDS.get(f"{word}s") or (frozenset({word}) & EVERY)
        if not topics:
            from mpengine.shared.guess import did_you_mean  # noqa: PLC0415  only for errors

            raise ValueError(f'unknown topic "{word}"; expected {", ".join(WORDS)}{did_you_mean(word, WORDS)}')
        found |= topics
    if not found:
        raise ValueError(f"expected one or more of {', '.join(WORDS)}")
    return found
