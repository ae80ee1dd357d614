"""What a model is worth: answers about photographs that it was not trained on, and what they are held to.

Importing the package chooses how torch's OpenMP threads wait, which is read once, when torch is first imported.
"""

import os

# By default they spin, on cores that another run, a test or any other program could use: benchmarks/train_threads.py.
# What the user has set stays as it is, and GOMP_SPINCOUNT and KMP_BLOCKTIME go before it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
