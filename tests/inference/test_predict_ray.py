"""The engine on Ray Data: the local engine's rows from two nodes, from an object store, after a stop, and after the
loss of a node."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken import write_broken
from tiny_bundle import blob_image, png_bytes, tiny_bundle

from lentigo.errors import BundleError, DataError, ImageError, MissingExtraError, OutputError
from lentigo.inference import Classifier, Row, Sources, distributed, predict_paths
from lentigo.inference.remote import list_images, read_many

CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier(tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"), threads=1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of good images, and every kind of broken file."""
    root = tmp_path_factory.mktemp("images")
    for i in range(40):
        path = root / ("", "a", "b/c")[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        blob_image(i).save(path)
    write_broken(root / "broken")
    (root / "a" / ".hidden.png").write_bytes(b"")
    (root / "a" / "皮肤, 图.png").write_bytes(png_bytes(blob_image(50)))
    return root


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """An object store on this machine with an empty bucket; clusters inherit where it is. None where there is nothing
    to make one with."""
    try:
        import boto3
        from moto.server import ThreadedMotoServer
    except ImportError:
        yield None
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    place = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in place.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=address)
        client.create_bucket(Bucket="photos")
        yield client
    server.stop()


@pytest.fixture(scope="module")
def cluster(store: object) -> Iterator[Any]:
    """Two nodes of one core each on this machine; the second may be killed."""
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'lentigo[ray]')")
    distributed._libraries()
    import ray
    from ray.cluster_utils import Cluster

    memory = 200 * 2**20
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False}
    )
    nodes.second = nodes.add_node(num_cpus=1, object_store_memory=memory)
    nodes.wait_for_nodes()
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_same(found: Path, expected: Path) -> None:
    """The same rows in the same order, numbers within 1e-5."""
    rows, wanted = read_csv(found), read_csv(expected)
    assert [row["path"] for row in rows] == [row["path"] for row in wanted]
    for row, other in zip(rows, wanted, strict=True):
        assert list(row) == list(other)
        numbers = [column for column in row if column != "path" and is_number(row[column])]
        assert {column: row[column] for column in row if column not in numbers} == {
            c: other[c] for c in other if c not in numbers
        }
        assert (set(CODES) <= set(numbers)) == (not row["error"])
        np.testing.assert_allclose([float(row[c]) for c in numbers], [float(other[c]) for c in numbers], atol=1e-5)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_two_nodes_give_the_rows_of_the_local_engine(images: Path, classifier: Classifier, tmp_path: Path) -> None:
    local = predict_paths(classifier, images, out=tmp_path / "local.csv", progress=False)
    summary = predict_paths(classifier, images, out=tmp_path / "ray.csv", progress=True, engine="ray")
    assert_same(tmp_path / "ray.csv", tmp_path / "local.csv")
    assert (summary.images, summary.failed, summary.labels) == (local.images, local.failed, local.labels)
    assert summary.failed > 30


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_stopped_run_goes_on(
    images: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "BLOCK", 4)
    monkeypatch.setattr(distributed, "CHUNK", 4)
    out, good = tmp_path / "out.parquet", images / "a"
    seen: list[Row] = []

    def stop(row: Row) -> None:
        seen.append(row)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_paths(classifier, good, out=out, progress=False, engine="ray", on_row=stop)
    summary = predict_paths(classifier, good, out=out, progress=False, engine="ray", resume=True)
    assert 5 <= summary.skipped < 14
    assert summary.images == 14 - summary.skipped
    whole = tmp_path / "whole.parquet"
    predict_paths(classifier, good, out=whole, progress=False)
    import pyarrow.parquet

    found, expected = (pyarrow.parquet.read_table(path) for path in (out, whole))
    assert found.schema == expected.schema
    assert found["path"].to_pylist() == expected["path"].to_pylist()
    for code in CODES:
        np.testing.assert_allclose(found[code].to_numpy(), expected[code].to_numpy(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_object_stores_are_read(store: Any, images: Path, classifier: Classifier, tmp_path: Path) -> None:
    if store is None:
        pytest.skip("no object store to read from: boto3 and moto are not installed")
    names = [path.relative_to(images) for path in images.rglob("*") if path.is_file() and path.stat().st_size]
    for name in names:
        store.put_object(Bucket="photos", Key=f"set/{name}", Body=(images / name).read_bytes())
    predict_paths(classifier, "s3://photos/set", out=tmp_path / "s3.csv", progress=False, engine="ray")
    predict_paths(classifier, images, out=tmp_path / "local.csv", progress=False)
    local = {row["path"].removeprefix(f"{images}/"): row for row in read_csv(tmp_path / "local.csv")}
    rows = read_csv(tmp_path / "s3.csv")
    # Pipes, dangling links and empty files are not in the store.
    order = [name for name in local if Path(name) in names]
    assert [row["path"].removeprefix("s3://photos/set/") for row in rows] == order
    for row in rows:
        other = local[row["path"].removeprefix("s3://photos/set/")]
        assert row["label"] == other["label"]
        assert row["error"].replace("s3://photos/set", str(images)) == other["error"]
        if row["label"]:
            np.testing.assert_allclose([float(row[c]) for c in CODES], [float(other[c]) for c in CODES], atol=1e-5)
    listed = ["s3://photos/set/0.png", "s3://photos/set/gone.png"]
    (tmp_path / "listed.txt").write_text("\n".join(listed))
    with (tmp_path / "listed.txt").open() as lines, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", lines)
        found: list[Row] = []
        predict_paths(classifier, "-", progress=False, engine="ray", on_row=found.append)
    assert [row.path for row in found] == listed
    assert found[0].label
    assert found[1].error == "s3://photos/set/gone.png: no such file"


@pytest.mark.usefixtures("cluster")
def test_a_network_that_answers_nan_is_told_as_such(images: Path, tmp_path: Path) -> None:
    poisoned = Classifier(tiny_bundle(tmp_path / "poisoned", poison=float("nan")), threads=1)
    with pytest.raises(BundleError, match="NaN"):
        predict_paths(poisoned, images / "0.png", progress=False, engine="ray")


@pytest.mark.slow
def test_the_loss_of_a_node_loses_and_doubles_nothing(
    cluster: Any, images: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._private.state import available_resources_per_node

    monkeypatch.setattr(distributed, "BLOCK", 4)
    monkeypatch.setattr(distributed, "CHUNK", 4)
    listing = tmp_path / "list.csv"
    good = [item.path for item in Sources(images) if "broken" not in item.path]
    listing.write_text("path\n" + "\n".join(f'"{good[i % len(good)]}"' for i in range(600)) + "\n", encoding="utf-8")
    second = cluster.second.node_id
    seen = 0
    busy = False

    def watch(row: Row) -> None:
        nonlocal seen, busy
        seen += 1
        if cluster.second is not None and seen >= 40:
            busy = available_resources_per_node().get(second, {}).get("CPU", 0) < 1
            if busy or seen > 300:
                node, cluster.second = cluster.second, None
                cluster.remove_node(node, allow_graceful=False)

    summary = predict_paths(classifier, listing, out=tmp_path / "ray.csv", progress=False, engine="ray", on_row=watch)
    assert busy, "the second node had nothing to do"
    assert summary.images == 600
    predict_paths(classifier, listing, out=tmp_path / "local.csv", progress=False)
    assert_same(tmp_path / "ray.csv", tmp_path / "local.csv")


# Without a cluster


class Batches:
    """A pipeline that gives what it is told."""

    def __init__(self, *tables: Any) -> None:
        self.tables = tables

    def iter_batches(self, **options: object) -> Iterator[Any]:
        yield from self.tables


def rows_of(*numbers: int) -> Any:
    import pyarrow

    rows = [json.dumps({"path": f"{number}.png", "probabilities": [0.5, 0.5]}) for number in numbers]
    return pyarrow.table({"number": list(numbers), "row": rows, "fatal": [""] * len(numbers)})


def test_a_row_that_comes_twice_is_taken_once_and_a_missing_one_is_told() -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'lentigo[ray]')")
    found = list(distributed._collect(Batches(rows_of(0, 1), rows_of(1, 2)), 3))
    assert [[row.path for row in rows] for rows in found] == [["0.png", "1.png"], ["2.png"]]
    assert found[0][0] == Row("0.png", (0.5, 0.5))
    with pytest.raises(OutputError, match="1 of 3 images were lost on the cluster; go on with --resume"):
        list(distributed._collect(Batches(rows_of(0, 2)), 3))


def test_what_the_engine_does_not_do_is_said_at_once(images: Path, classifier: Classifier, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(
        DataError, match=r"s3://b/x: an address, not a path; add --engine ray \(pip install 'lentigo\[ray\]'\)"
    ):
        predict_paths(classifier, "s3://b/x", out=out, progress=False)
    with pytest.raises(DataError, match="unknown engine 'rai'; did you mean 'ray'"):
        predict_paths(classifier, images, out=out, progress=False, engine="rai")
    (tmp_path / "set.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"set\.zip: archives and arrays are read without --engine ray only"):
        predict_paths(classifier, tmp_path / "set.zip", out=out, progress=False, engine="ray")
    with pytest.raises(DataError, match="heat maps are drawn without --engine ray only"):
        predict_paths(classifier, images, out=tmp_path / "maps.csv", heatmaps=tmp_path, progress=False, engine="ray")
    assert not out.exists()


def test_the_extra_is_named_where_ray_is_missing(
    images: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lentigo\[ray\]'"):
        predict_paths(classifier, images, out=tmp_path / "out.csv", progress=False, engine="ray")


def test_addresses_of_files_are_walked_as_folders_are(images: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    found = [item.path for item in Sources(f"file://{images}", remote=True)]
    local = [f"file://{item.path}" for item in Sources(images)]
    assert [path for path in local if not path.endswith(("pipe.jpg", "dangling.jpg"))] == found
    assert list(list_images(f"file://{images}/0.png", bool)) == [f"file://{images}/0.png"]
    with pytest.raises(DataError, match="no such file or folder"):
        list(list_images(f"file://{images}/gone", bool))
    with pytest.raises(DataError, match="cannot be opened"):
        list(list_images("foo://bucket/gone", bool))


def test_google_store_is_listed_and_read(images: Path) -> None:
    fs = pytest.importorskip("pyarrow.fs", reason="pyarrow is not installed")
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed")
    server = emulator.create_server("localhost", 0, in_memory=True, default_bucket="photos")
    server.start()
    try:
        port = server._api._httpd.socket.getsockname()[1]
        options = f"?scheme=http&endpoint_override=localhost%3A{port}&retry_limit_seconds=10"
        files, _ = fs.FileSystem.from_uri(f"gs://anonymous@photos{options}")
        content = (images / "0.png").read_bytes()
        for name in ("a.png", "b/c.png", ".hidden/d.png"):
            with files.open_output_stream(f"photos/in/{name}") as stream:
                stream.write(content)
        found = list(list_images(f"gs://anonymous@photos/in{options}", lambda name: name.endswith(".png")))
        assert found == [f"gs://anonymous@photos/in/{name}{options}" for name in ("a.png", "b/c.png")]
        missing = f"gs://anonymous@photos/in/gone.png{options}"
        first, second, gone = read_many([*found, missing], 10**7)
        assert first == second == content
        assert isinstance(gone, ImageError)
        with pytest.raises(DataError, match="no such file or folder"):
            list(list_images(f"gs://anonymous@photos/nothing{options}", bool))
    finally:
        server.stop()
