"""Export: turn a trained run into a bundle that gives the same answer in every runtime."""

from lentigo.export.graph import export_graph
from lentigo.export.parity import Difference, ParityReport, check_parity
from lentigo.export.quantize import Variant, check_drop, measure_variant, quantise_int8, store_float16
from lentigo.export.stages import About
from lentigo.export.write import export_run

__all__ = [
    "About",
    "Difference",
    "ParityReport",
    "Variant",
    "check_drop",
    "check_parity",
    "export_graph",
    "export_run",
    "measure_variant",
    "quantise_int8",
    "store_float16",
]
