"""What a process gives up before it reads what anyone may have written, as far as the kernel has means for that.

`confinement` puts together `landlock`, `seccomp`, `privileges` and `resources`, which are thin shells of system calls.
"""
