"""Writes tests/vectors/config_updates with Fabric's configtxlator (see the README there)."""

from tests.network.rules.changes import CHANGES, changed, original
from tests.network.rules.channel.test_configupdate import VECTORS, compute_with_fabric

if __name__ == "__main__":
    for name, change in CHANGES.items():
        folder = VECTORS / name
        folder.mkdir(parents=True, exist_ok=True)
        updated = changed(change)
        update = compute_with_fabric(folder, updated)
        for scratch in ("original", "updated", "update"):
            (folder / scratch).unlink()
        (folder / "original.pb").write_bytes(original().SerializeToString())
        (folder / "updated.pb").write_bytes(updated.SerializeToString())
        (folder / "update.pb").write_bytes(update)
