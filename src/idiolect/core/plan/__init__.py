"""What a model costs in parameters, bytes, FLOPs and seconds, from its configuration alone. Imports no torch."""

from idiolect.core.plan.lines import Line, Section
from idiolect.core.plan.machine import MACHINES, Machine
from idiolect.core.plan.shape import Shape, shape_of

__all__ = ["MACHINES", "Line", "Machine", "Section", "Shape", "shape_of"]
