"""The checks behind ``callctl doctor``: what stands between these settings and a call that is seen and controlled.

Each takes what it needs as arguments and returns findings; nothing here prints, and no secret is in what it returns.
"""
