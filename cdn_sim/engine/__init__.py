"""The engine of the simulation: sessions, players, caches and links of one internet provider in one compiled loop.

Input: arrays of titles, sessions, caches and links. Output: the same arrays, advanced in time, and counts. Everything
here is a kernel (`cdn_sim.compiling`), so it neither allocates memory nor knows scenarios, days or events.
"""
