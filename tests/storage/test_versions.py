from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from tests.s3 import Server
from vidcnn.storage import versions
from vidcnn.storage.s3_client import make_client
from vidcnn.storage.uris import split_uri
from vidcnn.storage.versions import OutdatedError, VersionedStore

PATH = "bkt/night/x"


def open_store(s3: Server) -> VersionedStore:
    return VersionedStore.open(f"s3://bkt{s3.query}")[0]


def read(store: VersionedStore, path: str = PATH) -> bytes:
    return bytes(store.filesystem.open_input_file(path).read())


def no_login() -> Any:
    raise NoCredentialsError


@pytest.fixture(params=["conditions", "none", "no login"])
def store(s3: Server, request: pytest.FixtureRequest) -> VersionedStore:
    opened = open_store(s3)
    if request.param == "conditions":
        return opened
    return VersionedStore(opened.filesystem, None if request.param == "none" else no_login)


def test_an_object_replaces_the_version_that_is_named_and_no_other(store: VersionedStore) -> None:
    assert store.version(PATH) is None
    first = store.put(PATH, b"one", None)
    assert first == store.version(PATH)
    second = store.put(PATH, b"second", first)
    assert second != first
    other = VersionedStore(store.filesystem, store._make)
    for outdated in (None, first):
        with pytest.raises(OutdatedError, match=f"{PATH} was changed meanwhile"):
            other.put(PATH, b"late", outdated)
    assert read(store) == b"second"
    store.delete(PATH)
    store.delete(PATH)
    with pytest.raises(OutdatedError):
        other.put(PATH, b"late", second)
    assert store.version(PATH) is None


class _Client:
    """A client whose next request of a kind ends in another way."""

    def __init__(self, s3: Server, action: str, *, is_sent: bool, error: Exception) -> None:
        self._client = make_client(split_uri(f"s3://bkt{s3.query}"))
        self._action, self._is_sent, self._error, self.num_calls = action, is_sent, error, 0

    def __getattr__(self, name: str) -> Any:
        def call(**options: Any) -> Any:
            if name != self._action:
                return getattr(self._client, name)(**options)
            self.num_calls += 1
            if self.num_calls > 1:
                return getattr(self._client, name)(**options)
            if self._is_sent:
                getattr(self._client, name)(**options)
            raise self._error

        return call


class _RefusalError(Exception):
    def __init__(self, status: int) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": "Told", "Message": "to"}}


def test_a_write_whose_answer_got_lost_is_known_again(s3: Server) -> None:
    client = _Client(s3, "put_object", is_sent=True, error=TimeoutError("no answer"))
    store = VersionedStore(open_store(s3).filesystem, lambda: client)
    with pytest.raises(OSError, match="no answer"):
        store.put(PATH, b"one", None)
    version = store.put(PATH, b"one and more", None)
    assert read(store) == b"one and more"
    assert version == store.version(PATH)


def test_a_write_that_met_another_one_is_tried_again(s3: Server) -> None:
    client = _Client(s3, "put_object", is_sent=False, error=_RefusalError(409))
    store = VersionedStore(open_store(s3).filesystem, lambda: client)
    store.put(PATH, b"one", None)
    assert read(store) == b"one"
    assert client.num_calls == 2


def test_a_server_without_conditions_is_written_after_a_look(s3: Server) -> None:
    client = _Client(s3, "put_object", is_sent=False, error=_RefusalError(501))
    store = VersionedStore(open_store(s3).filesystem, lambda: client)
    version = store.put(PATH, b"one", None)
    assert not store.is_strict
    assert version == store.version(PATH)
    with pytest.raises(OutdatedError):
        store.put(PATH, b"late", '"another"')
    assert read(store) == b"one"


def test_a_storage_that_fails_is_an_error_in_one_line(s3: Server) -> None:
    client = _Client(s3, "put_object", is_sent=False, error=_RefusalError(503))
    store = VersionedStore(open_store(s3).filesystem, lambda: client)
    with pytest.raises(OSError, match=rf"^Told: to \({PATH}\)$") as raised:
        store.put(PATH, b"one", None)
    assert not isinstance(raised.value, OutdatedError)
    with pytest.raises(OSError, match="NoSuchBucket"):
        open_store(s3).put("nobody/x", b"one", None)


def test_what_is_large_is_sent_in_pieces(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "PIECE_BYTES", 6 * 2**20)
    store = open_store(s3)
    content = bytes(range(256)) * (14 * 2**12)
    with memoryview(content) as view:
        version = store.put(PATH, view, None)
    assert read(store) == content
    assert version == store.version(PATH)
    other = open_store(s3)
    with pytest.raises(OutdatedError):
        other.put(PATH, content, None)
    uploads = make_client(split_uri(f"s3://bkt{s3.query}")).list_multipart_uploads(Bucket="bkt")
    assert not uploads.get("Uploads")


def test_deleting_leaves_no_mark_of_a_folder(s3: Server) -> None:
    store = open_store(s3)
    store.put(PATH, b"one", None)
    store.delete(PATH)
    client = make_client(split_uri(f"s3://bkt{s3.query}"))
    assert not client.list_objects_v2(Bucket="bkt").get("Contents")
