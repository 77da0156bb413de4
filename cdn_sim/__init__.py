"""CDN simulation: how edge caches at internet providers change the origin's load and the viewers' experience.

Input: a scenario (catalogue, viewers, networks, caches) or a log of requests. Output: hit ratios, traffic, stalls and
costs as a report, and fill plans for edges.

A simulation's results depend only on its inputs, not on the clock or on where it runs; `parallel` distributes runs over
processes or a Dask cluster. Real edge caches and a steering server, which decide by the same rules, are in `live`. This
package must not import the encoder, the packager, the ladders or the origin.
"""
