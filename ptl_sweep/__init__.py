"""How far can synthetic images replace real ones? PTL sweeps, train2test distance and AP_t2t."""

__version__ = "0.1.0"
