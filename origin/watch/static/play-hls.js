// hls.js behind the interface that all players have here; see watch.js.

import { idOfPlaylist as idOf, programme } from './title.js';

export async function open(video, url, { fail, from, licence }) {
  const protection = licence && { emeEnabled: true, drmSystems: { 'org.w3.clearkey': { licenseUrl: licence } } };
  const hls = new Hls({ startPosition: from || -1, ...protection });
  let giveUp;
  const ready = new Promise((resolve, reject) => {
    giveUp = reject;
    hls.once(Hls.Events.MANIFEST_PARSED, resolve);
  });
  const recovered = { mediaError: false };
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    // What hls.js can mend, it mends on request; once, not for ever.
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR && !recovered.mediaError) {
      recovered.mediaError = true;
      hls.recoverMediaError();
    } else {
      giveUp(new Error(error.details)); // for who still waits; otherwise it does nothing
      fail(error.details);
    }
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  try {
    await ready;
  } catch (error) {
    hls.destroy();
    throw error;
  }

  // A picture stands there once for each sound that it goes with.
  const level = (id) => {
    const group = hls.levels[hls.loadLevel]?.audioGroups?.[0];
    const levels = hls.levels.map((one, index) => ({ one, index })).filter(({ one }) => idOf(one.uri) === id);
    return (levels.find(({ one }) => one.audioGroups?.includes(group)) ?? levels[0])?.index;
  };
  return {
    picture: () => idOf(hls.levels[hls.currentLevel]?.uri),
    choosePicture: (id) => { hls.nextLevel = id === null ? -1 : level(id) ?? -1; },
    sound: () => idOf(hls.audioTracks[hls.audioTrack]?.url),
    chooseSound: (id) => hls.setAudioOption(hls.allAudioTracks.find((track) => idOf(track.url) === id)),
    chooseText: (wanted) => {
      hls.subtitleTrack = hls.subtitleTracks.findIndex((track) => programme(idOf(track.url) ?? '') === wanted);
    },
    throughput: () => hls.bandwidthEstimate,
    close: () => hls.destroy(),
  };
}
