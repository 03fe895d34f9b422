"""Passwords in addresses, taken out before anything is shown or kept."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


def redacted(address: str) -> str:
    """`address` with its password, if there is one, as three asterisks."""
    try:
        parts = urlsplit(address)
        password = parts.password
    except ValueError:
        return address
    if password is None:
        return address
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}:***@{host}").geturl()


def without_passwords(value: Any) -> Any:
    """The same JSON-able value, with every text in it `redacted`."""
    if isinstance(value, Mapping):
        return {key: without_passwords(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_passwords(item) for item in value]
    return redacted(value) if isinstance(value, str) and "://" in value else value
