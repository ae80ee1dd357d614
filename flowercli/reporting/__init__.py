"""Figures, and pages that hold them: everything that imports matplotlib."""

import logging

# It tells where it keeps its list of fonts if the home directory cannot be written to, and that it makes that list.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
