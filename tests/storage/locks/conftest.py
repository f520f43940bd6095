"""Storage with versions, in a real server."""

from __future__ import annotations

import pytest
from pyarrow import fs as pafs

from tests.s3 import Server
from vidcnn.storage.versions import VersionedStore


@pytest.fixture
def store(s3: Server) -> VersionedStore:
    return VersionedStore.open(f"s3://bkt{s3.query}")[0]


@pytest.fixture
def storage(store: VersionedStore) -> pafs.FileSystem:
    return store.filesystem
