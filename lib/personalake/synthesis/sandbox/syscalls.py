"""The system calls that a sandboxed program is refused, as the kernel's own filter (seccomp, classic BPF).

Namespaces hide files, processes and the network. This takes away what they leave open: new processes (a namespace
doesn't count them, and RLIMIT_NPROC doesn't hold for root), sockets (AF_VSOCK reaches a virtual machine's host from any
network namespace), memory that RLIMIT_AS doesn't count, the user's keyrings, and the doors to more privileges. Numbers:
the kernel's `asm/unistd_64.h` (x86-64) and `asm-generic/unistd.h` (64-bit ARM); what a filter sees: seccomp(2).
"""

from __future__ import annotations

import struct
from functools import lru_cache

MACHINES = ("x86_64", "aarch64")
"""Where there is a filter, as `os.uname().machine` says it; the numbers below are in this order."""

STARTS: dict[str, tuple[int | None, int | None]] = {"clone": (56, 220), "fork": (57, None), "vfork": (58, None)}
"""What starts a process or a thread."""

REFUSED: dict[str, tuple[int | None, int | None]] = {
    # Ways out: to the network, into other processes, into other namespaces.
    "socket": (41, 198),
    "io_uring_setup": (425, 425),  # It opens sockets past any filter.
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    # What isn't namespaced.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "syslog": (103, 116),
    # Memory that no limit of the process counts.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "io_setup": (206, 0),
    # Much kernel for little use.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "modify_ldt": (154, None),
}
"""What is refused with EPERM, whatever its arguments."""

_CLONE3 = 435
_ARCHITECTURES = (0xC000003E, 0xC00000B7)  # AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64
_X32 = 0x40000000  # The calls of x86-64's other ABI, under numbers of their own.
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}

_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, of the argument its low half
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


@lru_cache(maxsize=4)
def filter_of(machine: str, *, may_start: bool) -> bytes:
    """Return the filter for a *machine* of :data:`MACHINES`, as bubblewrap's ``--seccomp`` reads it.

    With *may_start* a program may have threads and other processes. Calls of another ABI end it. Raises ValueError for
    another machine.
    """
    which = MACHINES.index(machine)
    refused = REFUSED if may_start else {**REFUSED, **STARTS}
    program = [
        _do(_LOAD, _ARCHITECTURE),
        *_unless(_EQUAL, _ARCHITECTURES[which], _KILL),
        _do(_LOAD, _NUMBER),
        *_where(_AT_LEAST, _X32, _KILL),
        # Its flags lie in memory, where a filter can't look; C libraries take ENOSYS for an old kernel, and use clone.
        *_where(_EQUAL, _CLONE3, _ENOSYS),
    ]
    for numbers in refused.values():
        number = numbers[which]
        program += [] if number is None else _where(_EQUAL, number, _EPERM)
    if may_start:
        program += [_do(_EQUAL, STARTS["clone"][which] or 0, then=0, otherwise=3), _do(_LOAD, _FIRST_ARGUMENT)]
        program += _where(_ANY_BIT, _NEW_NAMESPACES, _EPERM)
    return b"".join([*program, _do(_RETURN, _ALLOW)])


def _do(code: int, operand: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, operand)


def _where(test: int, operand: int, answer: int) -> list[bytes]:
    return [_do(test, operand, then=0, otherwise=1), _do(_RETURN, answer)]


def _unless(test: int, operand: int, answer: int) -> list[bytes]:
    return [_do(test, operand, then=1, otherwise=0), _do(_RETURN, answer)]
