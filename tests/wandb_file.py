"""Reads the file that wandb keeps of a run: records in the blocks of a LevelDB log, each a protobuf message."""

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

from wandb.proto.wandb_internal_pb2 import Record

FILE_HEADER, BLOCK, RECORD_HEADER = 7, 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


class WandbRun(NamedTuple):
    """What a run's file holds; the first record of the run, its config, its rows, and the last value of each name."""

    run: Any
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    exit_code: int | None


def records(path: Path) -> list[Any]:
    data, place, found, parts = path.read_bytes(), FILE_HEADER, [], b""
    assert data[:4] == b":W&B"
    while place + RECORD_HEADER <= len(data):
        if BLOCK - place % BLOCK < RECORD_HEADER:  # too little room for a header: the rest of the block is empty
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + RECORD_HEADER])
        place += RECORD_HEADER
        parts = (b"" if kind in (FULL, FIRST) else parts) + data[place : place + length]
        place += length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            found.append(record)
    return found


def read_run(path: Path) -> WandbRun:
    """Read a `.wandb` file."""
    every = records(path)
    (run,) = [record.run for record in every if record.WhichOneof("record_type") == "run"][:1]
    config: dict[str, Any] = {}
    for part in [run.config, *(record.config for record in every if record.HasField("config"))]:
        config |= {item.key: json.loads(item.value_json) for item in part.update}
    rows = [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in every
        if record.HasField("history")
    ]
    summary = {
        item.key or ".".join(item.nested_key): json.loads(item.value_json)
        for record in every
        if record.HasField("summary")
        for item in record.summary.update
    }
    exits = [record.exit.exit_code for record in every if record.HasField("exit")]
    return WandbRun(run, config, rows, summary, exits[-1] if exits else None)
