"""Which Prefect server the flows of this process talk to."""

import os


def has_server() -> bool:
    """Whether it is one that stays: the platform's, or one of the user's own."""
    return bool(os.environ.get("PREFECT_API_URL"))


def no_answer() -> tuple[type[Exception], ...]:
    """What Prefect's client raises where its server does not answer, or not as it should."""
    import httpx
    from prefect.exceptions import PrefectException, PrefectHTTPStatusError

    return (httpx.HTTPError, PrefectHTTPStatusError, PrefectException, RuntimeError)
