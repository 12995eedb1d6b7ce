"""The checks of the recogniser: the way to its server and the key, or the model of this machine."""

import os
import stat
import time
from collections.abc import Iterator, Mapping

from mpengine import dialects
from mpengine.cli.check import verdicts
from mpengine.cli.check.deadline import within
from mpengine.cli.check.lines import Line, failed, ok, skipped
from mpengine.cli.check.verdicts import NETWORK
from mpengine.dialects.base import RemoteConfig, shown
from mpengine.shared import addresses
from mpengine.shared.config import Config
from mpengine.shared.config_tables import Secret
from mpengine.shared.errors import ConfigError, install

_MODEL_LIMIT_S = 60.0
# Connecting, the greeting, and the last results, each of which has a limit of its own; three times for refusals.
_KEY_LIMIT_S = 60.0


def recogniser(config: Config) -> Iterator[Line]:
    """The line `model` in local mode, otherwise the lines of `verdicts.NETWORK`."""
    address = config.remote.address
    if address is None:
        yield _model()
    else:
        yield from _server(config, *address)


def _model() -> Line:
    from mpengine.recogniser.process import try_model  # noqa: PLC0415  only here

    began = time.monotonic()
    try:
        within(_MODEL_LIMIT_S, try_model)
    except ConfigError as error:
        return failed("model", str(error), install("local"), error.exit_code)
    except TimeoutError as error:
        return failed("model", f"the model was not loaded: {error}", "see that 100 MB of memory are free")
    return ok("model", f"the English model is there, and has heard a second in {time.monotonic() - began:.1f} s")


def _server(config: Config, name: str, url: str) -> Iterator[Line]:
    from mpengine.streaming.trial import try_recogniser, try_way  # noqa: PLC0415  it loads TLS

    remote = config.remote
    server = addresses.server(f"remote.{name}", url)
    key = f"remote.{name}"
    way = list(
        verdicts.way(
            try_way(url, ca_file=remote.ca_file),
            shown(url),
            host=server.host,
            is_secure=server.is_secure,
            key=key,
            now_s=time.time(),
        )
    )
    yield from way
    if any(line.exit_code for line in way):
        yield skipped(NETWORK[-1], "it needs the way to the server")
        return
    secret = dialects.secret_of(remote)
    line = verdicts.key(try_recogniser(remote, config.audio, limit_s=_KEY_LIMIT_S), origin_of(secret, os.environ))
    yield line._replace(mend=line.mend or _closer(secret))


def origin_of(secret: Secret, environment: Mapping[str, str]) -> str:
    """Where a key came from, in words that follow "the key came"."""
    if not secret:
        return "from nowhere: there is none"
    if secret.path is not None:
        credentials = environment.get("CREDENTIALS_DIRECTORY")
        is_credential = bool(credentials) and os.path.dirname(secret.path) == os.path.abspath(credentials or "")
        return f"from the {'systemd credential' if is_credential else 'file'} {secret.path}"
    return f"from the variable {secret.variable}" if secret.variable else "from the configuration itself"


def _closer(secret: Secret) -> str:
    """What to do where others can read the file of the key."""
    if secret.path is None:
        return ""
    try:
        mode = os.stat(secret.path).st_mode
    except OSError:
        return ""
    is_open = stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH)
    return f"others may read the key: chmod 600 {secret.path}" if is_open else ""


def tls_library(remote: RemoteConfig | None) -> str:
    """The version of the TLS library; empty where no server is spoken to."""
    if remote is None or remote.starts_recogniser:
        return ""
    from mpengine.streaming.trial import TLS_LIBRARY  # noqa: PLC0415  it loads TLS

    return TLS_LIBRARY
