from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from personalake.synthesis.sandbox.syscalls import MACHINES, REFUSED, STARTS, filter_of

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


def answer(program: bytes, number: int, architecture: int, first: int = 0) -> int:
    """What the filter says of a call: a reading of it apart from the kernel's, for machines that aren't here."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, first, 0, 0, 0, 0, 0)
    at, held = 0, 0
    while True:
        code, then, otherwise, operand = struct.unpack_from("=HBBI", program, 8 * at)
        if code == 0x06:
            return int(operand)
        if code == 0x20:
            (held,) = struct.unpack_from("=I", data, operand)
            at += 1
            continue
        true = {0x15: held == operand, 0x35: held >= operand, 0x45: bool(held & operand)}[code]
        at += 1 + (then if true else otherwise)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"{header} isn't installed")
    pattern = r"#define __NR(?:3264)?_(\w+)\s+(\d+)"
    known = {name: int(number) for name, number in re.findall(pattern, header.read_text())}
    which = MACHINES.index(machine)
    ours = {name: numbers[which] for name, numbers in {**REFUSED, **STARTS}.items()}
    assert ours == {name: known.get(name) for name in ours}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("may_start", [False, True])
def test_a_call_is_refused_or_allowed_by_its_number(machine: str, may_start: bool) -> None:
    program, which, here = filter_of(machine, may_start=may_start), MACHINES.index(machine), ARCHITECTURE[machine]
    refused = {numbers[which] for numbers in REFUSED.values()}
    starts = {numbers[which] for numbers in STARTS.values()}
    for number in range(500):
        expected = EPERM if number in refused or (number in starts and not may_start) else ALLOW
        assert answer(program, number, here) == (ENOSYS if number == 435 else expected), number


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_may_be_started_where_namespaces_may_not(machine: str) -> None:
    program, here = filter_of(machine, may_start=True), ARCHITECTURE[machine]
    clone = STARTS["clone"][MACHINES.index(machine)] or 0
    assert answer(program, clone, here, 0x3D0F00) == ALLOW  # what glibc's pthread_create asks for
    assert answer(program, clone, here, 17) == ALLOW  # fork
    for namespace in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(program, clone, here, namespace | 17) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_abi_end_the_program(machine: str) -> None:
    program = filter_of(machine, may_start=False)
    assert answer(program, 1, 0x40000003) == KILL  # i386
    assert answer(program, 0x40000001, ARCHITECTURE[machine]) == KILL  # x32


def test_there_is_none_for_other_machines() -> None:
    with pytest.raises(ValueError, match="not in"):
        filter_of("riscv64", may_start=False)
