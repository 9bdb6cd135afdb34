"""A bucket of an S3 server on this machine; its clients are told by environment, as users do."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def serving_bucket(name: str) -> Iterator[str]:
    """The bucket's URL; it is there within, and the environment says where and for whom."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    given = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in given.items():
                patch.setenv(variable, value)
            import s3fs

            s3fs.S3FileSystem.clear_instance_cache()  # of a server that was here before
            s3fs.S3FileSystem().mkdir(name)
            yield f"s3://{name}"
            s3fs.S3FileSystem.clear_instance_cache()
    finally:
        server.stop()
