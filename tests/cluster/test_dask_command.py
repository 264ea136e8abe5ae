"""The command, as a user runs it: with certificates, and with workers that SLURM starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_cache.errors import PiCacheError
from pipeline.executors import submission
from pipeline.executors.submission import connect
from tests.cluster.slurm_lab import SlurmLab, slurm_on_path

pytest.importorskip("distributed", reason="distributed is not installed")

from tests.cluster.dask_lab import ROOT, cluster

BUILD = ("build-pis", "digits", "--limit", "48", "--shard-samples", "16", "--json")


def pipeline(*words: str, **settings: str) -> tuple[dict[str, object], str]:
    """What the command prints as JSON, and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **settings},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Of the store that this process alone builds."""
    cache = str(tmp_path_factory.mktemp("serial"))
    return pipeline(*BUILD, "--executor", "serial", "--cache", cache)[0]["digest"]


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """Dask's settings for an authority and one certificate of it, made by openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make certificates with")
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout")
    openssl(tmp_path, "req", "-x509", *key, "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")
    openssl(tmp_path, "req", *key, "key.pem", "-out", "request.pem", "-subj", "/CN=localhost")
    sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "cert.pem")
    openssl(tmp_path, "x509", "-req", "-in", "request.pem", *sign)
    files = {"CERT": str(tmp_path / "cert.pem"), "KEY": str(tmp_path / "key.pem")}
    settings = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(tmp_path / "ca.pem")}
    for who in ("SCHEDULER", "WORKER", "CLIENT"):
        settings |= {f"DASK_DISTRIBUTED__COMM__TLS__{who}__{k}": v for k, v in files.items()}
    return settings | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}


def test_a_build_with_certificates(
    tmp_path: Path,
    certificates: dict[str, str],
    digest: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cluster(tmp_path / "lab", workers=0, **certificates) as lab:
        lab.kill("scheduler")
        address = lab.scheduler(0, "--protocol", "tls")
        assert address.startswith("tls://")
        lab.worker("w0", "--protocol", "tls")
        where = ("--executor", "dask", "--scheduler", address, "--workers", "3")
        document, said = pipeline(
            *BUILD, *where, "--cache", str(tmp_path / "cache"), **certificates
        )
        monkeypatch.setattr(submission, "CONNECT", 2.0)
        with pytest.raises(PiCacheError, match=r"no Dask scheduler answers at tls://"):
            connect(address)  # without a certificate
        with pytest.raises(PiCacheError, match=r"no Dask scheduler answers at tcp://"):
            connect(address.replace("tls", "tcp"))
    assert document["digest"] == digest
    assert document["built"] == 3
    assert "--workers is not used" in said


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmLab]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with slurm_on_path(tmp_path / "slurm") as lab:
        yield lab


def test_workers_come_and_go_with_the_work(tmp_path: Path, slurm: SlurmLab, digest: object) -> None:
    """dask-jobqueue asks SLURM for workers while there are shards, and for none afterwards."""
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    with jobqueue.SLURMCluster(
        cores=1,
        processes=1,
        memory="1GiB",
        queue="main",
        walltime="00:10:00",
        interface="lo",
        python=sys.executable,
        log_directory=str(tmp_path / "log"),
        local_directory=str(tmp_path / "spill"),
        scheduler_options={"dashboard": False, "dashboard_address": ":0"},
        job_extra_directives=["--requeue", "--open-mode=append"],
    ) as workers:
        workers.adapt(minimum_jobs=0, maximum_jobs=2, interval="1s", wait_count=3)
        where = ("--executor", "dask", "--scheduler", workers.scheduler_address)
        document, said = pipeline(*BUILD, *where, "--cache", str(tmp_path / "cache"))
        assert document["digest"] == digest and document["built"] == 3, said
        from tests.cluster.dask_lab import wait

        wait(lambda: not slurm.call("squeue", "-h").strip())
