"""Names and numbers of system calls, as in Linux's ``asm/unistd.h`` of two kinds of processors."""

from __future__ import annotations

import errno

_OPENING = "open openat openat2 creat open_by_handle_at name_to_handle_at open_tree open_tree_attr uselib"
_CHANGING = (
    "unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mkdir mkdirat rmdir mknod mknodat "
    "truncate chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes futimesat utimensat "
    "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr "
    "acct memfd_secret inotify_init inotify_init1 inotify_add_watch fanotify_init fanotify_mark quotactl "
    "quotactl_fd"
)
_NETWORK = "socket socketpair connect bind listen accept accept4"
_PROCESSES = (
    "execve execveat fork vfork ptrace process_vm_readv process_vm_writev process_madvise process_mrelease "
    "pidfd_open pidfd_getfd pidfd_send_signal tkill rt_sigqueueinfo rt_tgsigqueueinfo kcmp setpgid setsid "
    "setrlimit sched_setscheduler sched_setparam sched_setattr sched_setaffinity setpriority ioprio_set "
    "migrate_pages move_pages setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups "
    "capset"
)
_SYSTEM = (
    "mount umount2 pivot_root chroot move_mount fsopen fsconfig fsmount fspick mount_setattr unshare setns "
    "swapon swapoff reboot sethostname setdomainname settimeofday clock_settime adjtimex clock_adjtime "
    "init_module finit_module delete_module create_module kexec_load kexec_file_load syslog iopl ioperm "
    "modify_ldt vhangup nfsservctl lookup_dcookie perf_event_open bpf userfaultfd keyctl add_key request_key "
    "io_uring_setup io_uring_enter io_uring_register io_setup io_submit personality mq_open mq_unlink msgget "
    "semget shmget"
)

REFUSED: dict[int, tuple[str, ...]] = {
    errno.EACCES: (*_OPENING.split(), *_CHANGING.split()),
    errno.EPERM: (*_NETWORK.split(), *_PROCESSES.split(), *_SYSTEM.split()),
}
"""What is refused, by the error number with which it is."""

CONDITIONAL = ("clone", "clone3", "kill", "tgkill", "prlimit64", "ioctl", "fcntl")
"""What is refused with some arguments. All of them have a number on each kind of processor."""

# fmt: off
X86_64: dict[str, int] = {
    "open": 2, "openat": 257, "openat2": 437, "creat": 85, "open_by_handle_at": 304, "name_to_handle_at": 303,
    "open_tree": 428, "open_tree_attr": 467, "uselib": 134, "unlink": 87, "unlinkat": 263, "rename": 82,
    "renameat": 264, "renameat2": 316, "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266, "mkdir": 83,
    "mkdirat": 258, "rmdir": 84, "mknod": 133, "mknodat": 259, "truncate": 76, "chmod": 90, "fchmod": 91,
    "fchmodat": 268, "fchmodat2": 452, "chown": 92, "lchown": 94, "fchown": 93, "fchownat": 260, "utime": 132,
    "utimes": 235, "futimesat": 261, "utimensat": 280, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
    "setxattrat": 463, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "removexattrat": 466,
    "file_setattr": 469, "acct": 163, "memfd_secret": 447, "inotify_init": 253, "inotify_init1": 294,
    "inotify_add_watch": 254, "fanotify_init": 300, "fanotify_mark": 301, "quotactl": 179, "quotactl_fd": 443,
    "socket": 41, "socketpair": 53, "connect": 42, "bind": 49, "listen": 50, "accept": 43, "accept4": 288,
    "execve": 59, "execveat": 322, "fork": 57, "vfork": 58, "ptrace": 101, "process_vm_readv": 310,
    "process_vm_writev": 311, "process_madvise": 440, "process_mrelease": 448, "pidfd_open": 434, "pidfd_getfd": 438,
    "pidfd_send_signal": 424, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "kcmp": 312,
    "setpgid": 109, "setsid": 112, "setrlimit": 160, "sched_setscheduler": 144, "sched_setparam": 142,
    "sched_setattr": 314, "sched_setaffinity": 203, "setpriority": 141, "ioprio_set": 251, "migrate_pages": 256,
    "move_pages": 279, "setuid": 105, "setgid": 106, "setreuid": 113, "setregid": 114, "setresuid": 117,
    "setresgid": 119, "setfsuid": 122, "setfsgid": 123, "setgroups": 116, "capset": 126, "mount": 165,
    "umount2": 166, "pivot_root": 155, "chroot": 161, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "fspick": 433, "mount_setattr": 442, "unshare": 272, "setns": 308, "swapon": 167, "swapoff": 168,
    "reboot": 169, "sethostname": 170, "setdomainname": 171, "settimeofday": 164, "clock_settime": 227,
    "adjtimex": 159, "clock_adjtime": 305, "init_module": 175, "finit_module": 313, "delete_module": 176,
    "create_module": 174, "kexec_load": 246, "kexec_file_load": 320, "syslog": 103, "iopl": 172, "ioperm": 173,
    "modify_ldt": 154, "vhangup": 153, "nfsservctl": 180, "lookup_dcookie": 212, "perf_event_open": 298, "bpf": 321,
    "userfaultfd": 323, "keyctl": 250, "add_key": 248, "request_key": 249, "io_uring_setup": 425,
    "io_uring_enter": 426, "io_uring_register": 427, "io_setup": 206, "io_submit": 209, "personality": 135,
    "mq_open": 240, "mq_unlink": 241, "msgget": 68, "semget": 64, "shmget": 29, "clone": 56, "clone3": 435,
    "kill": 62, "tgkill": 234, "prlimit64": 302, "ioctl": 16, "fcntl": 72, "seccomp": 317,
}

AARCH64: dict[str, int] = {
    "openat": 56, "openat2": 437, "open_by_handle_at": 265, "name_to_handle_at": 264, "open_tree": 428,
    "open_tree_attr": 467, "unlinkat": 35, "renameat": 38, "renameat2": 276, "linkat": 37, "symlinkat": 36,
    "mkdirat": 34, "mknodat": 33, "truncate": 45, "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchown": 55,
    "fchownat": 54, "utimensat": 88, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "setxattrat": 463,
    "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "removexattrat": 466, "file_setattr": 469, "acct": 89,
    "memfd_secret": 447, "inotify_init1": 26, "inotify_add_watch": 27, "fanotify_init": 262, "fanotify_mark": 263,
    "quotactl": 60, "quotactl_fd": 443, "socket": 198, "socketpair": 199, "connect": 203, "bind": 200, "listen": 201,
    "accept": 202, "accept4": 242, "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270,
    "process_vm_writev": 271, "process_madvise": 440, "process_mrelease": 448, "pidfd_open": 434, "pidfd_getfd": 438,
    "pidfd_send_signal": 424, "tkill": 130, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "kcmp": 272,
    "setpgid": 154, "setsid": 157, "setrlimit": 164, "sched_setscheduler": 119, "sched_setparam": 118,
    "sched_setattr": 274, "sched_setaffinity": 122, "setpriority": 140, "ioprio_set": 30, "migrate_pages": 238,
    "move_pages": 239, "setuid": 146, "setgid": 144, "setreuid": 145, "setregid": 143, "setresuid": 147,
    "setresgid": 149, "setfsuid": 151, "setfsgid": 152, "setgroups": 159, "capset": 91, "mount": 40, "umount2": 39,
    "pivot_root": 41, "chroot": 51, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "unshare": 97, "setns": 268, "swapon": 224, "swapoff": 225, "reboot": 142,
    "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "clock_settime": 112, "adjtimex": 171,
    "clock_adjtime": 266, "init_module": 105, "finit_module": 273, "delete_module": 106, "kexec_load": 104,
    "kexec_file_load": 294, "syslog": 116, "vhangup": 58, "nfsservctl": 42, "lookup_dcookie": 18,
    "perf_event_open": 241, "bpf": 280, "userfaultfd": 282, "keyctl": 219, "add_key": 217, "request_key": 218,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "io_setup": 0, "io_submit": 2,
    "personality": 92, "mq_open": 180, "mq_unlink": 181, "msgget": 186, "semget": 190, "shmget": 194, "clone": 220,
    "clone3": 435, "kill": 129, "tgkill": 131, "prlimit64": 261, "ioctl": 29, "fcntl": 25, "seccomp": 277,
}
# fmt: on
