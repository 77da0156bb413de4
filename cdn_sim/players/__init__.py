"""Players' rules for choosing renditions, as kernels over one row of state per session.

The rules follow their papers and dash.js; their results equal those of Sabre (Spiteri, Sitaraman, Sparacio: From theory
to practice, MMSys 2018). Units are milliseconds and kbit/s, so that a product is in bits.
"""
