"""ABR rules of players, as kernels over one row of state per session.

The rules follow their papers and dash.js; their results equal those of Sabre (Spiteri, Sitaraman, Sparacio: From theory
to practice, MMSys 2018). Units are milliseconds and kbit/s, so that their product is in bits.
"""
