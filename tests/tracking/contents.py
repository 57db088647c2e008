"""Everything that MLflow has, without the ids that it draws: what two databases are compared by."""

import contextlib
import hashlib
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

QUERIES = {
    "runs": """select r.name, e.name, r.source_type, r.source_name, r.entry_point_name, r.user_id,
               r.status, r.start_time, r.end_time, r.deleted_time, r.source_version,
               r.lifecycle_stage from runs r join experiments e using (experiment_id)""",
    "tags": """select r.name, t.key, case t.key when 'mlflow.parentRunId'
               then (select name from runs p where p.run_uuid = t.value) else t.value end
               from tags t join runs r using (run_uuid)""",
    "params": "select r.name, p.key, p.value from params p join runs r using (run_uuid)",
    "metrics": """select r.name, m.key, m.value, m.timestamp, m.step, m.is_nan
                  from metrics m join runs r using (run_uuid)""",
    "latest_metrics": """select r.name, m.key, m.value, m.timestamp, m.step, m.is_nan
                         from latest_metrics m join runs r using (run_uuid)""",
    "datasets": """select e.name, d.name, d.digest, d.dataset_source_type, d.dataset_source,
                   d.dataset_schema, d.dataset_profile
                   from datasets d join experiments e using (experiment_id)""",
    "inputs": """select r.name, i.source_type, d.name, i.destination_type, i.step, t.name, t.value
                 from inputs i join runs r on r.run_uuid = i.destination_id
                 join datasets d on d.dataset_uuid = i.source_id
                 left join input_tags t using (input_uuid)""",
}
"""What is compared of each table; rows that name others by id name them by name."""

ELSEWHERE = {"alembic_version", "experiments", "experiment_tags", "workspaces"}
"""Tables that writing runs does not touch."""


def contents(database: Path) -> dict[str, Counter[Any]]:
    """The rows of every table about runs, and the files of runs by name, path and SHA-256."""
    with contextlib.closing(sqlite3.connect(database)) as opened:
        found = {name: Counter(opened.execute(query)) for name, query in QUERIES.items()}
        folders = opened.execute("select name, artifact_uri from runs").fetchall()
        for table in _others(opened):
            found[table] = Counter(opened.execute(f'select count(*) from "{table}"'))
    found["files"] = Counter(
        (name, path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
        for name, uri in folders
        if uri.startswith("file://")
        for folder in [Path(uri.removeprefix("file://"))]
        for path in folder.rglob("*")
        if path.is_file()
    )
    return found


def _others(opened: sqlite3.Connection) -> list[str]:
    """The tables that `QUERIES` leaves out, of which only the number of rows is compared."""
    names = {
        name for (name,) in opened.execute("select name from sqlite_master where type='table'")
    }
    return sorted(names - QUERIES.keys() - ELSEWHERE)
