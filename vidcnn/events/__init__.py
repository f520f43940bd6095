"""What happened when: the scores of clips become stretches of time, and these files that people and players read."""
