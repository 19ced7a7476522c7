"""Compiles the Kafka Streams contestant, where this machine has a `javac`, and says how it is run on the Java that runs the broker."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from infra.embedded.jars import class_path
from infra.embedded.kafka_node import java
from tests.benchmarks.quix_home import Skipped
from topics.errors import TidemarkError

HERE = Path(__file__).parent
COMPILE_S = 120
OPTIONS = ("-Xmx1g", "-Xms1g", "-XX:+UseSerialGC", "-XX:-UsePerfData", "--enable-native-access=ALL-UNNAMED")
"""A heap that is never short. On one core the serial collector is the quickest, and the one that the JVM takes there by itself."""


def options() -> tuple[str, ...]:
    """The JVM's options; BENCH_JAVA_OPTIONS in the environment says others, for whoever believes that they are quicker."""
    said = os.environ.get("BENCH_JAVA_OPTIONS")
    return OPTIONS if said is None else tuple(said.split())


def streams_command(directory: Path) -> list[str]:
    """The command that runs the contestant; compiles it into `directory`. Raises Skipped."""
    compiler = shutil.which("javac")
    if compiler is None:
        raise Skipped("Kafka Streams needs a javac to compile its program, and there is none on the path")
    try:
        jars = os.pathsep.join((class_path(), class_path(sums=HERE / "jars.sha256")))
    except TidemarkError as error:
        raise Skipped(f"Kafka Streams: {error}") from error
    out = directory / "streams-classes"
    command = [compiler, "--release", "17", "-cp", jars, "-d", str(out), str(HERE / "WindowedSum.java")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"the Kafka Streams program does not compile:\n{done.stderr[-2000:]}")
    return [java(), *options(), "-cp", os.pathsep.join((str(out), jars)), "WindowedSum"]
