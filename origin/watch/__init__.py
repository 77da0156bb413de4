"""The web pages: a list of titles with their posters, and a watch page with a choice of players.

The pages in `static` are the same for every title: their scripts read a title's manifests like any player. The players
are not in the repository: `fetch` downloads them from npm. Pages load a player that was not downloaded from a public
CDN. In both cases, browsers verify it against the digest in `players`.
"""
