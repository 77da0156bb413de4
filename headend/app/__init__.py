"""The application that stands on all rooms: the command line, the path of a master, jobs, and quality control.

Comes in: what a person or a program asks for. Goes out: published titles, reports and exit statuses. It imports every
room and ``headend.core``; only ``headend`` itself and ``benchmarks`` import it.
"""
