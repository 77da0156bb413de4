"""The web pages: all titles with their posters, and a watch page with a choice of players.

The pages are files of `static`, the same for every title: scripts in them read the manifests, as any player does, and
learn there what a title has. The players are not kept in the repository: `fetch` brings them from npm, and where that
has not been done, pages take them from a public CDN; either way browsers check them against the digests in `players`.
"""
