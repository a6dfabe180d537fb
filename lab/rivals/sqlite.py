"""SQLite as one of the rivals, through python3's binding: speaks as dunlin.rs does. sqlite.py DIR write default|safest, or DIR read."""

import os
import pathlib
import sqlite3
import struct
import sys

RECORD = 256


def main(directory, mode, setting="default"):
    pathlib.Path(directory).mkdir(exist_ok=True)
    base = sqlite3.connect(os.path.join(directory, "log.db"), isolation_level=None)
    if mode == "read":
        # Row by row, so that a damaged page costs what is behind it and no more than that.
        for (payload,) in base.execute("select payload from log order by position"):
            sys.stdout.buffer.write(payload if isinstance(payload, bytes) else repr(payload).encode())
        return
    if setting == "safest":
        base.execute("pragma journal_mode=wal")
        base.execute("pragma synchronous=full")
    base.execute("create table if not exists log (position integer primary key, payload blob)")
    out, into = sys.stdout.buffer, sys.stdin.buffer
    out.write(b"ready\n")
    out.flush()
    while len(head := into.read(4)) == 4:
        records = struct.unpack("<I", head)[0]
        data = into.read(records * RECORD)
        rows = [(data[at : at + RECORD],) for at in range(0, len(data), RECORD)]
        try:
            base.execute("begin")
            base.executemany("insert into log (payload) values (?)", rows)
            base.execute("commit")
            out.write(b"A\n")
        except sqlite3.Error as error:
            if base.in_transaction:
                base.execute("rollback")
            out.write(b"E %s\n" % str(error).encode())
        out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
