"""The decision log in MLflow: a run for each decision, running until its aliases are set."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.decisions import Decision
from tasks.registry.connection import Connection

if TYPE_CHECKING:
    from mlflow.entities import Run


class MlflowDecisionLog:
    """A `DecisionLog` in the experiment `PROJECT/decisions`."""

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection = connection
        self.experiment = f"{project}/decisions"

    def begin(self, decision: Decision) -> str:
        """Write a decision down; returns the id of its run."""
        with self._connection.client() as client:
            run = client.create_run(
                self._connection.experiment(client, self.experiment),
                tags=_tags(decision) | {"mlflow.user": decision.by},
                run_name=f"{decision.action} version {decision.version}",
            )
        return str(run.info.run_id)

    def finish(self, key: str) -> None:
        """Note that a decision's aliases and tags are set."""
        with self._connection.client() as client:
            client.set_terminated(key)

    def begun(self) -> Sequence[tuple[str, Decision]]:
        """Run id and decision of those that are begun and not finished, oldest first."""
        runs = self._runs("attributes.status = 'RUNNING'")
        return [(run.info.run_id, _decision(run)) for run in runs]

    def history(self) -> Sequence[Decision]:
        """Every decision, finished or not, newest first."""
        return [_decision(run) for run in reversed(self._runs(""))]

    def _runs(self, where: str) -> "list[Run]":
        with self._connection.client() as client:
            experiment = self._connection.find_experiment(client, self.experiment)
            found: list[Run] = []
            token = None
            while experiment is not None:
                page = client.search_runs(
                    [experiment], where, order_by=["tags.at ASC"], page_token=token
                )
                found += page
                token = page.token
                if not token:
                    break
        return found


def _tags(decision: Decision) -> dict[str, str]:
    return {
        "action": decision.action,
        "version": str(decision.version),
        "by": decision.by,
        "comment": decision.comment,
        "at": decision.at,
        "before": json.dumps(decision.before.to_json()),
        "after": json.dumps(decision.after.to_json()),
    }


def _decision(run: "Run") -> Decision:
    tags: dict[str, Any] = run.data.tags
    return Decision.from_json(
        {
            "action": tags["action"],
            "version": int(tags["version"]),
            "by": tags["by"],
            "comment": tags.get("comment", ""),
            "at": tags["at"],
            "before": json.loads(tags["before"]),
            "after": json.loads(tags["after"]),
        },
        f"run {run.info.run_id}",
    )
