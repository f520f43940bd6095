from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs as pafs

from tests.predictions import cases
from tests.predictions.cases import open_output, rows_of, segment, video, write
from vidcnn.errors import OutputBusyError, OutputError
from vidcnn.predictions.object_output import ObjectStorage
from vidcnn.predictions.output import Output
from vidcnn.predictions.output_storage import look_at
from vidcnn.storage.locks.heartbeat import USUAL


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3", endpoint_url=f"http://{endpoint}")
    name = f"bucket-{abs(hash(request.node.name))}"
    client.create_bucket(Bucket=name)
    yield boto3.resource("s3", endpoint_url=f"http://{endpoint}").Bucket(name)
    client.close()


def uri(bucket: Any, endpoint: str, key: str) -> str:
    return f"s3://{bucket.name}/{key}?scheme=http&endpoint_override={endpoint}"


def objects(bucket: Any) -> set[str]:
    return {item.key for item in bucket.objects.all() if not item.key.endswith("/")}  # markers of folders


def rows_in(bucket: Any, endpoint: str, keys: set[str]) -> list[dict[str, Any]]:
    filesystem, _ = pafs.FileSystem.from_uri(uri(bucket, endpoint, ""))
    tables = [pq.ParquetFile(filesystem.open_input_file(f"{bucket.name}/{key}")).read() for key in keys]
    return cases.in_order(row for table in tables for row in table.to_pylist())


def test_a_single_object_is_published_as_a_whole(bucket: Any, endpoint: str) -> None:
    out = uri(bucket, endpoint, "preds.parquet")
    write(out, cases.OLD, publish=False)
    (part,) = objects(bucket)
    assert part.startswith(".preds.parquet.vidcnn/part-")
    write(out, cases.NEW[:3], publish=False)
    with open_output(out) as output:
        assert output.is_done(video("c"))
        for key in cases.NEW:
            output.add(key, rows_of(key))
        output.publish()
        assert output.summary().num_videos == 6
    assert objects(bucket) == {"preds.parquet"}
    keys = [*(key for key in cases.OLD if key.video.name == "c"), *cases.NEW]
    assert rows_in(bucket, endpoint, {"preds.parquet"}) == cases.expected_rows(keys)


def test_a_dataset_of_objects_replaces_a_changed_video(bucket: Any, endpoint: str) -> None:
    out = uri(bucket, endpoint, "night/preds")
    write(out, cases.OLD)
    assert all(key.startswith("night/preds/part-") for key in objects(bucket))
    write(out, cases.NEW)
    parts = objects(bucket)
    assert len(parts) == 2
    keys = [*(key for key in cases.OLD if key.video.name == "c"), *cases.NEW]
    assert rows_in(bucket, endpoint, parts) == cases.expected_rows(keys)


def test_a_failure_while_an_object_is_made_publishes_nothing(bucket: Any, endpoint: str) -> None:
    storage = ObjectStorage(uri(bucket, endpoint, "preds.parquet"), USUAL)
    assert storage.final_path is not None

    def fail(sink: Any) -> None:
        sink.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.write(storage.final_path, fail, lambda *_: None)
    assert not storage.has_final()
    storage.close()
    assert objects(bucket) == set()


@pytest.mark.parametrize("name", ["preds", "preds.parquet"])
def test_looking_at_objects_changes_nothing(bucket: Any, endpoint: str, name: str) -> None:
    out = uri(bucket, endpoint, name)
    look_at(out).close()
    assert objects(bucket) == set()
    write(out, [segment("a")])
    write(out, [segment("b")], publish=False)
    before = objects(bucket)
    with Output.in_storage(look_at(out), schema=cases.SCHEMA, settings=cases.SETTINGS) as output:
        assert output.is_done(video("b"))
        assert output.summary().num_videos == 2
        assert objects(bucket) == before
    with open_output(out), pytest.raises(OutputBusyError, match="held by another run"):
        look_at(out)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("s3://no-such-bucket/preds.parquet", "cannot write s3://no-such-bucket/preds.parquet: .*NoSuchBucket"),
        ("s3://no-such-bucket", "names a bucket"),
        ("ftp://host/preds.parquet", "cannot be an output: ftp:// is not one of"),
    ],
)
def test_object_storage_that_cannot_be_written_is_refused_before_any_work(
    bucket: Any, endpoint: str, out: str, message: str
) -> None:
    with pytest.raises(OutputError, match=message) as raised:
        open_output(f"{out}?scheme=http&endpoint_override={endpoint}")
    assert "\n" not in str(raised.value)
