# Run by gdb on a process at rest: writes the frames of all its threads with their variables, one fact a line.
# THREAD id / FRAME pc kind function / and what values.py writes of each variable
import os
import sys

import gdb

sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["ORACLE_SCRIPTS"])
import values
from values import fact, variables

LIMIT = 60
LOG = os.path.join(os.environ["ORACLE_DIRECTORY"], "log")


def watch():
    """gdb says only to its log why it does not find a value at entry."""
    begin = os.path.getsize(LOG)

    def why():
        gdb.flush(gdb.STDLOG)
        with open(LOG) as log:
            log.seek(begin)
            return " ".join(log.read().split())[-400:]

    return why


def prepare():
    values.watch = watch
    gdb.execute("set logging file " + LOG)
    gdb.execute("set logging debugredirect on")
    gdb.execute("set logging enabled on")
    gdb.execute("set debug entry-values 1")

    gdb.execute("set pagination off")
    gdb.execute("set confirm off")
    gdb.execute("set debuginfod enabled off")
    # To evaluate some values gdb would call functions of the process, and a process that was so used is not at rest.
    gdb.execute("set may-call-functions off")
    gdb.execute("set max-value-size unlimited")
    gdb.execute("set backtrace past-main on")
    gdb.execute("set backtrace past-entry on")


def frames():
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        fact("THREAD", thread.ptid[1])
        frame, level = gdb.newest_frame(), 0
        while frame is not None and level < LIMIT:
            frame.select()
            function = frame.function()
            kind = {gdb.INLINE_FRAME: "inline", gdb.TAILCALL_FRAME: "tail"}.get(frame.type(), "normal")
            fact("FRAME", frame.pc(), kind, function.name if function else "?")
            # A frame that gdb makes up for a function that ended by a tail call has no registers, so no values.
            if function is not None and kind != "tail":
                variables(frame)
            frame, level = frame.older(), level + 1


if __name__ == "__main__":
    prepare()
    frames()
    fact("END")
    values.out.close()
