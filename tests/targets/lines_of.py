"""What CPython itself says: the line of an instruction of a function in a file, compiled anew by the same Python.

Reads a JSON object on stdin: `places`, a list of [file, name, first line, byte offset], and `frames`, the text of frames.py,
which knows the code that it made without a file. Prints a JSON list with, for each place, the lines that the functions of
that name and first line have there; null for none. Python 3.8 to 3.15.
"""
import dis
import json
import sys


def line_of(code, offset):
    if offset < 0:
        return code.co_firstlineno
    if hasattr(code, "co_lines"):
        return next((line for start, end, line in code.co_lines() if start <= offset < end), None)
    found = None
    for start, line in dis.findlinestarts(code):
        if start <= offset:
            found = line
    return found


def all_codes(code):
    yield getattr(code, "co_qualname", code.co_name), code
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from all_codes(constant)


ASKED = json.load(sys.stdin)
COMPILED = {}
FRAMES = {"__name__": "frames"}
exec(compile(ASKED["frames"], "frames.py", "exec", dont_inherit=True), FRAMES)


def compiled(file):
    if file.startswith("<frozen "):
        import _imp
        name = file[len("<frozen "):-1]
        return _imp.get_frozen_object({"importlib._bootstrap": "_frozen_importlib",
                                       "importlib._bootstrap_external": "_frozen_importlib_external"}.get(name, name))
    made = FRAMES["made_up"](file)
    if made:
        return made
    with open(file, "rb") as source:
        return compile(source.read(), file, "exec", dont_inherit=True)


answers = []
for file, name, first_line, offset in ASKED["places"]:
    if file not in COMPILED:
        COMPILED[file] = list(all_codes(compiled(file)))
    answers.append([line_of(code, offset) for found, code in COMPILED[file]
                    if found == name and code.co_firstlineno == first_line])
print(json.dumps(answers))
