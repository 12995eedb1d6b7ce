"""What callbacks get. The origin engine's class, field by field."""

from dataclasses import dataclass
from datetime import datetime


@dataclass
class TranscriptionResult:
    """Recognised speech. `timestamp` is local time without a zone, as from `datetime.now()`: when it was published."""

    text: str
    is_final: bool
    timestamp: datetime
    user_name: str
