"""Apache Kafka itself, one node in KRaft mode, from the jars that `tests/kafka/pom.xml` names."""

import signal
import socket
from pathlib import Path

from ingest.demo.kept_server import HOST, EmbeddedServerError, KeptServer, free_port
from tests.fetched import MissingError, fetched_once, program

ROOT = Path(__file__).parents[1]
POM = ROOT / "tests" / "kafka" / "pom.xml"
JARS = ROOT / ".kafka-jars"
RESOLVE_WITHIN_S = 240


def jars() -> Path:
    """The folder with the broker's jars; resolved once for each version of the pom, and kept."""

    def resolve(folder: Path) -> list[str]:
        return [program("mvn"), "--batch-mode", "--quiet", "--file", str(POM), f"-Djars={folder}", "package"]

    return fetched_once(POM, JARS, resolve, registry="Maven's registry", within_s=RESOLVE_WITHIN_S)


class ApacheKafka(KeptServer):
    """A broker that keeps topics, records and groups through `stop` and `kill`, and creates no topic by itself."""

    name = "kafka"
    stop_signal = signal.SIGTERM
    _worth_another_try = ("Address already in use",)

    def __init__(self, folder: Path | None = None, *, start_timeout_s: float = 60.0, stop_timeout_s: float = 20.0):
        super().__init__(folder, start_timeout_s=start_timeout_s, stop_timeout_s=stop_timeout_s)
        self._controller_port = 0

    def start(self) -> None:
        try:
            super().start()
        except EmbeddedServerError as error:
            if "UnsupportedClassVersionError" in str(error):
                raise MissingError("lacks Java 17 or newer") from None
            raise

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def _prepare(self, folder: Path) -> None:
        self._configure(folder)
        options = [
            "format",
            "--cluster-id",
            "dGVzdC1rYWZrYS1vbmUtbm9kZQ",
            "--config",
            str(folder / "server.properties"),
        ]
        self._run(self._java("kafka.tools.StorageTool", *options), 60)

    def _command(self, folder: Path) -> list[str]:
        if not self._has_been_up:
            self._controller_port = free_port()
        self._configure(folder)
        return self._java("kafka.Kafka", str(folder / "server.properties"))

    def _is_ready(self, folder: Path) -> bool:
        # Its log tells our broker from another's on the same port.
        if "Kafka Server started" not in self._log_of_this_start():
            return False
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _java(self, main: str, *arguments: str) -> list[str]:
        quick = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        logs = {"defaultLogLevel": "warn", "log.kafka.server.KafkaRaftServer": "info", "showDateTime": "true"}
        told = [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in logs.items()]
        return [program("java"), *quick, *told, "-classpath", f"{jars()}/*", main, *arguments]

    def _configure(self, folder: Path) -> None:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{HOST}:{self._controller_port}",
            "log.dirs": folder / "data",
            # As the compose file has it: a misspelt topic fails.
            "auto.create.topics.enable": "false",
            # One node can hold one copy, and few partitions of its own are opened sooner.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            # Tests kill consumers and the broker itself, and would wait for their sessions to end.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 2000,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
            # Records of tests are months old by their own timestamps: nothing goes unless a topic says so, but soon.
            "log.retention.ms": -1,
            "log.retention.check.interval.ms": 500,
            "log.initial.task.delay.ms": 500,
            "log.cleaner.backoff.ms": 500,
            "log.segment.delete.delay.ms": 100,
            "num.io.threads": 2,
            "num.network.threads": 2,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (folder / "server.properties").write_text(text)
