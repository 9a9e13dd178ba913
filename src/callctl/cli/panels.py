"""The groups that the help of ``watch`` puts its options in."""

LISTEN, SHOW, KEEP, ACT = "Listen", "Show", "Keep", "Act"
