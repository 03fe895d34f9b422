"""Who may reach the platform from elsewhere: nobody, unless there are users and TLS in front."""

from urllib.parse import urlsplit

from tasks.core.errors import BadInput
from tasks.settings import Settings


def check_exposure(settings: Settings, *, local_mlflow: bool) -> None:
    """Refuse to be reached from other machines without accounts and TLS.

    Args:
        settings: the project.
        local_mlflow: whether MLflow's server is ours; another has accounts and TLS of its own.

    Raises:
        BadInput: something that this needs is missing; the message names every setting.
    """
    platform = settings.platform
    addresses = {"prefect": platform.prefect_address}
    if local_mlflow:
        addresses["mlflow"] = platform.mlflow_address
    lacking: list[str] = []
    for name, address in addresses.items():
        if address is None:
            lacking.append(
                f"platform.{name}_address: https://NAME, that of a proxy with TLS in front"
            )
        elif not _is_https(address):
            raise BadInput(
                f"platform.{name}_address: {address} is no address https://NAME of a proxy with TLS"
            )
    if local_mlflow and not platform.accounts:
        lacking.append("platform.accounts: true")
    beyond = platform.host != "127.0.0.1" or any(addresses.values())
    if beyond and lacking:
        raise BadInput(
            "other machines are to reach the platform (platform.host, platform.…_address), which "
            f"is refused without users and TLS: set {'; '.join(lacking)}"
        )
    if platform.accounts and settings.decisions.authentication != "required":
        raise BadInput(
            "platform.accounts: true needs decisions.authentication: required, since MLflow then "
            "knows who decides, and a form of Prefect does not"
        )


def _is_https(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return (
            parts.scheme == "https"
            and bool(parts.hostname)
            and parts.path in ("", "/")
            and not (parts.query or parts.fragment or parts.username)
        )
    except ValueError:
        return False
