// Shaka Player behind the common player interface; see watch.js.

import { idOfPlaylist, programme } from './title.js';

// Original ids are rendition ids in DASH and playlist addresses in HLS.
const idOf = (original) => idOfPlaylist(original) ?? original;

export async function open(video, url, { fail, from, codecOf, licence }) {
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  if (licence) player.configure({ drm: { servers: { 'org.w3.clearkey': licence } } });
  player.addEventListener('error', ({ detail }) => fail(`error ${detail.code}`));
  try {
    await player.attach(video);
    await player.load(url, from || null);
  } catch (error) {
    await player.destroy();
    throw error;
  }
  // With HLS it times text by the media segments that follow, so enable text once before any are loaded.
  const [text] = player.getTextTracks();
  if (text) {
    player.selectTextTrack(text);
    player.selectTextTrack(null);
  }

  const variants = () => player.getVariantTracks();
  const active = () => variants().find((one) => one.active);
  const best = (wanted, kept) => variants().filter(wanted).sort((a, b) => kept(b) - kept(a))[0];
  const withPicture = (id) => best((one) => idOf(one.originalVideoId) === id,
    (one) => one.originalAudioId === active()?.originalAudioId);
  const withSound = (id) => best((one) => idOf(one.originalAudioId) === id,
    (one) => one.originalVideoId === active()?.originalVideoId);
  const select = (variant) => { if (variant && !variant.active) player.selectVariantTrack(variant, true, 1); };

  return {
    picture: () => idOf(active()?.originalVideoId),
    async choosePicture(id) {
      player.configure({ abr: { enabled: id === null } });
      if (id === null) return;
      if (withPicture(id) === undefined) {
        // Shaka Player keeps one codec per size; to play another one, reload the title with that codec preferred.
        const paused = video.paused;
        player.configure({ preferredVideo: [{ codec: codecOf(id).split('.')[0] }] });
        await player.load(url, video.currentTime);
        if (!paused) await video.play();
      }
      select(withPicture(id));
    },
    sound: () => idOf(active()?.originalAudioId),
    chooseSound: (id) => select(withSound(id)),
    chooseText: (wanted) => player.selectTextTrack(
      player.getTextTracks().find((track) => programme(idOf(track.originalTextId)) === wanted) ?? null),
    throughput: () => player.getStats().estimatedBandwidth,
    close: () => player.destroy(),
  };
}
