"""Scalars of TensorBoard's event files: TFRecord frames around small protobuf messages.

Read by hand, since a record is a handful of fields (tensorflow/core/util/event.proto and
framework/summary.proto). Checksums of lengths tell such a file from any other.
"""

import struct
from collections.abc import Iterator

import numpy as np
import polars as pl

from cleanpipe.stability.logs.log import SCHEMA
from cleanpipe.stability.logs.log_columns import chosen

POLYNOMIAL = 0x82F63B78
"""Of CRC-32C, bits reversed."""
MASK = 0xA282EAD8
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def is_event_file(head: bytes) -> bool:
    """Whether the first bytes are a frame's length and its masked checksum."""
    if len(head) < 12:
        return False
    return bool(_masked(head[:8]) == struct.unpack("<I", head[8:12])[0])


def _masked(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def rows(data: bytes) -> tuple[pl.DataFrame, bool]:
    """Rows in the file's order, and whether the file ends within a record."""
    found: list[tuple[int, str, float]] = []
    place = 0
    while place + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        start = place + 12
        if start + length + 4 > len(data):
            return _table(found), True
        found.extend(_scalars(data[start : start + length]))
        place = start + length + 4
    return _table(found), place != len(data)


def _table(scalars: list[tuple[int, str, float]]) -> pl.DataFrame:
    names = chosen(dict.fromkeys(tag for _, tag, _ in scalars) | {"step": None})
    ours = {theirs: name for name, theirs in names.items() if name != "step"}
    kept = [(step, ours[tag], value) for step, tag, value in scalars if tag in ours]
    columns = {name: [v if n == name else None for _, n, v in kept] for name in SCHEMA}
    columns["step"] = [step for step, _, _ in kept]
    return pl.DataFrame(columns, schema=SCHEMA)


def _scalars(event: bytes) -> Iterator[tuple[int, str, float]]:
    """Step, tag and value of an event's scalars; an event of other things has none."""
    step = 0
    values: list[bytes] = []
    for number, value in _fields(event):
        if number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):
            values.extend(part for n, part in _fields(value) if n == 1 and isinstance(part, bytes))
    for message in values:
        fields = dict(_fields(message))
        tag, simple, tensor = fields.get(1), fields.get(2), fields.get(8)
        if not isinstance(tag, bytes):
            continue
        if isinstance(simple, float):
            yield step, tag.decode(errors="replace"), simple
        elif isinstance(tensor, bytes) and (held := _of_tensor(tensor)) is not None:
            yield step, tag.decode(errors="replace"), held


def _of_tensor(tensor: bytes) -> float | None:
    """The value of a tensor that holds one float; None of any other."""
    fields = dict(_fields(tensor))
    kind = {1: "<f4", 2: "<f8"}.get(int(fields.get(1, 0)))  # DT_FLOAT, DT_DOUBLE
    if kind is None:
        return None
    for number in (4, 5, 6):  # tensor_content, float_val, double_val
        held = fields.get(number)
        if isinstance(held, float):
            return held
        if isinstance(held, bytes) and len(held) == np.dtype(kind).itemsize:
            return float(np.frombuffer(held, kind)[0])
    return None


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Numbers and values of a message's fields; ends where they make no sense."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
        elif kind == BYTES:
            length, place = _varint(message, place)
            yield number, message[place : place + length]
            place += length
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
            if place + size > len(message):
                return
            yield number, struct.unpack_from("<f" if size == 4 else "<d", message, place)[0]
            place += size
        else:
            return


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, place
