"""Servers of one's own: which addresses are linked, and what is said where one is missing."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from flows.forms import form_url
from tasks.registry import Registry
from tests.sections import settings_from

RUN = UUID(int=1)


def test_links_lead_to_where_people_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = {"name": "tiny", "state_dir": str(tmp_path), "tracking_uri": "http://mlflow:5000"}
    settings = settings_from(project=project)
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    monkeypatch.delenv("PREFECT_UI_URL", raising=False)
    monkeypatch.delenv("MLFLOW_UI_URL", raising=False)
    assert form_url(RUN).startswith("http://prefect:4200/runs/")
    assert Registry(settings).links.version(3).startswith("http://mlflow:5000/#/models/tiny")

    monkeypatch.setenv("PREFECT_UI_URL", "https://prefect.example.com/")
    monkeypatch.setenv("MLFLOW_UI_URL", "https://mlflow.example.com")
    assert form_url(RUN).startswith("https://prefect.example.com/runs/")
    assert Registry(settings).links.version(3).startswith("https://mlflow.example.com/#/models/")


def test_deploy_wants_a_server(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "perpetune", "deploy"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "PREFECT_API_URL is not set" in done.stderr
