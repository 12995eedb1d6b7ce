"""What is told of the connections to the engine's endpoints. Pure."""

from mpengine.shared.door import Crowd, Stranger
from mpengine.shared.messages import Error, ErrorCode
from mpengine.supervisor.decide.actions import Action, Log, report


def told_of_door(news: Crowd | Stranger) -> list[Action]:
    """The actions that tell `news`."""
    if isinstance(news, Stranger):
        return [Log("warning", "stranger_refused", {"endpoint": news.endpoint, "pid": news.pid})]
    if news.is_over:
        text = f"{news.endpoint} takes new connections again; {news.refused} were ended"
        return report(Error(source="supervisor", code=ErrorCode.CLIENTS_AGAIN, message=text), "warning")
    whose = f"; process {news.pid} has {news.most} of them" if news.pid else ""
    text = f"{news.endpoint} has {news.limit} connections (bus.clients) and takes no more for now{whose}"
    return report(Error(source="supervisor", code=ErrorCode.TOO_MANY_CLIENTS, message=text), "warning")
