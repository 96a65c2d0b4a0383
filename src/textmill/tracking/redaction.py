"""Passwords out of whatever a person reads: messages, tracebacks, tags."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

# User information is all between :// and the last @ before the path: a password may hold an @ that nobody has encoded.
_USER_INFORMATION = re.compile(r"(?<=://)[^\s/?#'\"<>]*@")
_SECRET_IN_QUERY = re.compile(
    r"(?i)([?&;](?:[\w-]*(?:password|passwd|secret|token|signature|credential|api_?key)[\w-]*|pwd|sig)=)[^&;#\s'\"]+"
)
_ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "TUNE_STORAGE")
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_SHORTEST_SECRET = 4  # a shorter one is part of ordinary words
_HIDDEN = "***"


def redacted(text: object) -> str:
    """`text` without user information of addresses, secrets in their queries, and the secrets that the environment holds.

    The last also where a message has cut an address into pieces, or decoded it.
    """
    shown = str(text)
    for secret in _known_secrets():
        shown = shown.replace(secret, _HIDDEN)
    shown = _USER_INFORMATION.sub(f"{_HIDDEN}@", shown)
    return _SECRET_IN_QUERY.sub(rf"\1{_HIDDEN}", shown)


def _known_secrets() -> list[str]:
    """What is secret in the environment, longest first, as it is there and percent-decoded."""
    found = [os.environ.get(name, "") for name in _SECRETS]
    for name in _ADDRESSES:
        address = os.environ.get(name, "")
        user_information = address.partition("://")[2].rpartition("@")[0]
        found += [user_information, user_information.partition(":")[2]]
        found += [value for _, _, value in (part.partition("=") for part in _query(address)) if value]
    decoded = {each for secret in found for each in (secret, unquote(secret))}
    return sorted((each for each in decoded if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)


def _query(address: str) -> list[str]:
    """Its parts that hold a secret, as name=value."""
    try:
        query = urlsplit(address).query
    except ValueError:
        return []
    return [part for part in query.split("&") if _SECRET_IN_QUERY.match(f"?{part}")]
