# Run by gdb: stops at every call of `stop` (or what is asked for) and writes what gdb knows of each frame, one fact a line, tab-separated.
# STOP core bias thread-pointer / GLOBAL name / FRAME pc cfa kind / REG dwarf bytes / VAR name / TYPE type size static-size / FIELD path name type bitpos bitsize
# COUNT path elements / LEAF path kind value
import os

import gdb

DIRECTORY = os.environ["ORACLE_DIRECTORY"]
PROGRAM = os.environ["ORACLE_PROGRAM"]
ARGUMENTS = os.environ.get("ORACLE_ARGUMENTS", "")
BREAKPOINTS = os.environ.get("ORACLE_BREAKPOINTS", "stop").split()
STOPS = int(os.environ.get("ORACLE_STOPS", "20"))
FRAMES = int(os.environ.get("ORACLE_FRAMES", "12"))
GLOBALS = os.environ.get("ORACLE_GLOBALS", "").split()
GENERAL = ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"]
out = open(os.path.join(DIRECTORY, "facts"), "w")


def fact(*parts):
    out.write("\t".join(str(part).replace("\n", " ") for part in parts) + "\n")


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


def leaves(path, value, depth, in_memory=True):
    kind = value.type.strip_typedefs()
    code = kind.code
    try:
        if depth == 0 and code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_ARRAY):
            in_memory = value.address is not None
        if depth > 6:
            return
        if code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            placed = [field for field in kind.fields() if hasattr(field, "bitpos")]
            bases = [field for field in placed if field.is_base_class]
            members = [field for field in placed if not field.is_base_class]
            for number, field in enumerate(bases):
                leaves(path + "/^%d" % number, value[field], depth + 1, in_memory)
            for number, field in enumerate(members):
                step = path + "/#%d" % number
                fact("FIELD", step, field.name, field.type, field.bitpos, field.bitsize)
                leaves(step, value[field], depth + 1, in_memory)
            return
        if code == gdb.TYPE_CODE_ARRAY:
            low, high = kind.range()
            fact("COUNT", path, high - low + 1)
            for index in range(0, min(high - low + 1, 6)):
                leaves(path + "/[%d]" % index, value[index], depth + 1, in_memory)
            return
        if value.is_optimized_out:
            fact("LEAF", path, "gone", "")
            return
        if code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
            if depth > 0 and not in_memory:
                # A reference within pieces: gdb 13 fails an assertion.
                return
            address = value.referenced_value().address
            if address is None:
                fact("LEAF", path, "synthetic", "")
            else:
                fact("LEAF", path, "int", int(address.cast(gdb.lookup_type("long"))) & (1 << 64) - 1)
            leaves(path + "/*", value.referenced_value(), depth + 3, in_memory)
        elif code == gdb.TYPE_CODE_PTR:
            text = value.format_string(raw=True)
            if "synthetic" in text:
                fact("LEAF", path, "synthetic", "")
            else:
                fact("LEAF", path, "int", int(value))
        elif code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_BOOL, gdb.TYPE_CODE_ENUM):
            if kind.sizeof == 16:
                fact("LEAF", path, "hex", value.format_string(format="x"))
            else:
                fact("LEAF", path, "int", int(value))
        elif code == gdb.TYPE_CODE_FLT:
            fact("LEAF", path, "float", float(value).hex())
    except gdb.error as error:
        text = str(error)
        gone = "optimized out" in text or "not available" in text or "DW_OP" in text or "synthetic" in text
        fact("LEAF", path, "gone" if gone else "error", text)


def variables(frame):
    block = frame.block()
    while True:
        for symbol in block:
            # A label without code counts as an optimised variable for gdb 13.
            if str(symbol.type) == "__CORE_ADDR" or not (symbol.is_variable or symbol.is_argument or symbol.is_constant):
                continue
            fact("VAR", symbol.name)
            try:
                value = symbol.value(frame)
                fact("TYPE", value.type, value.type.sizeof, symbol.type.sizeof)
                leaves("", value, 0)
            except (gdb.error, RuntimeError) as error:
                text = str(error)
                gone = "optimized out" in text or "DW_OP" in text
                fact("LEAF", "", "gone" if gone else "error", text)
        if block.function is not None:
            return
        block = block.superblock


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
