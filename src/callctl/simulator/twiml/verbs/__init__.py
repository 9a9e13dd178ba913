"""TwiML's verbs, a file each: how it is read, what it does to its leg, and the steps that only it has."""
