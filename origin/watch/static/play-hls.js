// hls.js behind the interface that all players have here; see watch.js.

import { idOfPlaylist as idOf, programme } from './title.js';

const KEY_ERRORS_MS = 200; // within which errors of one key follow each other

export async function open(video, url, { fail, from, licence }) {
  const protection = licence && { emeEnabled: true, drmSystems: { 'org.w3.clearkey': { licenseUrl: licence } } };
  const hls = new Hls({ startPosition: from || -1, ...protection });
  let giveUp;
  const ready = new Promise((resolve, reject) => {
    giveUp = reject;
    hls.once(Hls.Events.MANIFEST_PARSED, resolve);
  });
  const recovered = { mediaError: false, keyError: undefined };
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (error.type === Hls.ErrorTypes.KEY_SYSTEM_ERROR && hls.levels.length
      && (error.errorAction?.resolved || error.frag?.level === -1)) {
      clearTimeout(recovered.keyError);
      recovered.keyError = setTimeout(loadWhatIsLeft, KEY_ERRORS_MS);
      return;
    }
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
  // Where the licence lacks a key, hls.js removes the levels that need it. A segment of them that is being loaded then
  // ends loading, and those in the buffer can't be decrypted: start again at the same time with the levels that are left.
  const loadWhatIsLeft = () => {
    const [time, paused] = [video.currentTime, video.paused];
    hls.recoverMediaError();
    hls.startLoad(time);
    if (!paused) video.play().catch(() => {}); // a later jump or the end of the page may stop it
  };
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
    close: () => {
      clearTimeout(recovered.keyError);
      hls.destroy();
    },
  };
}
