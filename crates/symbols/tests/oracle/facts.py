# Run by gdb: stops at every call of `stop` (or what is asked for) and writes what gdb knows of each frame, one fact a line, tab-separated.
# STOP core bias thread-pointer / GLOBAL name / FRAME pc cfa kind / REG dwarf bytes / and what values.py writes of each variable
import os
import sys

import gdb

sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["ORACLE_SCRIPTS"])
from values import fact, leaves, out, variables

DIRECTORY = os.environ["ORACLE_DIRECTORY"]
PROGRAM = os.environ["ORACLE_PROGRAM"]
ARGUMENTS = os.environ.get("ORACLE_ARGUMENTS", "")
BREAKPOINTS = os.environ.get("ORACLE_BREAKPOINTS", "stop").split()
STOPS = int(os.environ.get("ORACLE_STOPS", "20"))
FRAMES = int(os.environ.get("ORACLE_FRAMES", "12"))
GLOBALS = os.environ.get("ORACLE_GLOBALS", "").split()
GENERAL = ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"]


def registers(frame):
    for number, name in enumerate(GENERAL):
        value = frame.read_register(name)
        if not value.is_optimized_out:
            fact("REG", number, (int(value) & (1 << 64) - 1).to_bytes(8, "little").hex())
    for number in range(16):
        value = frame.read_register("xmm%d" % number)
        if not value.is_optimized_out:
            lanes = value["v2_int64"]
            fact("REG", 17 + number, b"".join((int(lanes[i]) & (1 << 64) - 1).to_bytes(8, "little") for i in (0, 1)).hex())


def globals_():
    for name in GLOBALS:
        value = gdb.parse_and_eval(name)
        fact("GLOBAL", name)
        fact("TYPE", value.type, value.type.sizeof, value.type.sizeof)
        leaves("", value, 0)


def bias():
    for line in gdb.execute("info proc mappings", to_string=True).splitlines():
        words = line.split()
        if words and words[-1] == PROGRAM and words[3] == "0x0":
            return int(words[0], 16)
    raise RuntimeError("program is not mapped")


def stop(number):
    core = os.path.join(DIRECTORY, "core%d" % number)
    gdb.execute("generate-core-file " + core, to_string=True)
    fact("STOP", core, bias(), int(gdb.newest_frame().read_register("fs_base")))
    globals_()
    frame, level = gdb.newest_frame(), 0
    inside = False
    while frame is not None and level < FRAMES:
        # A function that ended by a tail call has no frame of its own, but gdb makes one up.
        if frame.type() == gdb.TAILCALL_FRAME:
            fact("TAIL", frame.pc())
            frame = frame.older()
            continue
        frame.select()
        function = frame.function()
        # Code of libraries has its own debug info, which is not compared here.
        if function is None or os.path.realpath(function.symtab.objfile.filename) != PROGRAM:
            if inside:
                break
            function = None
        inside = inside or function is not None
        text = gdb.execute("info frame", to_string=True).splitlines()
        cfa = next((line.split(" at ")[1].rstrip(":") for line in text if "frame at" in line and "aller" not in line), "0")
        kind = "inline" if frame.type() == gdb.INLINE_FRAME else "normal"
        fact("FRAME", frame.pc(), int(cfa, 16), kind, function.name if function else "?")
        registers(frame)
        if function is not None:
            variables(frame)
        frame, level = frame.older(), level + 1


gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set debuginfod enabled off")
gdb.execute("set print object off")
gdb.execute("set language auto")
gdb.execute("tbreak main")
gdb.execute("run %s > /dev/null 2>&1 < /dev/null" % ARGUMENTS)
for place in BREAKPOINTS:
    gdb.execute("break " + place)
gdb.execute("continue")
for number in range(STOPS):
    if not gdb.selected_inferior().pid:
        break
    stop(number)
    gdb.execute("continue")
fact("END")
out.close()
