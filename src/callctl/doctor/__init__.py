"""The checks of ``callctl doctor``: whether calls can be placed, seen and controlled with these settings.

Each takes what it needs as arguments and returns findings; nothing here prints, and no secret is in what it returns.
"""
