"""Schedules for a job: from a job spec and a cron expression to the text of files that run the job.

`cron` reads the expression and `task` what is to be run; `crontab`, `systemd` and `kubernetes` write the files. All of
it is pure but for `task`, which reads the job spec and looks at where it was called.
"""
