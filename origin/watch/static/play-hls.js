// hls.js behind the common player interface; see watch.js.

import { idOfPlaylist as idOf, programme } from './title.js';

const KEY_ERRORS_MS = 200; // errors of one key follow each other within this time

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
      recovered.keyError = setTimeout(reload, KEY_ERRORS_MS);
      return;
    }
    if (!error.fatal) return;
    // Let hls.js recover from a media error once.
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR && !recovered.mediaError) {
      recovered.mediaError = true;
      hls.recoverMediaError();
    } else {
      giveUp(new Error(error.details)); // no effect once `ready` has settled
      fail(error.details);
    }
  });
  // If the licence lacks a key, hls.js removes the levels that need it. But loading stops if one of their segments was
  // being loaded, and buffered ones can't be decrypted. So restart at the same time with the remaining levels.
  const reload = () => {
    const [time, paused] = [video.currentTime, video.paused];
    hls.recoverMediaError();
    hls.startLoad(time);
    if (!paused) video.play().catch(() => {}); // a seek or closing the page may interrupt it
  };
  hls.loadSource(url);
  hls.attachMedia(video);
  try {
    await ready;
  } catch (error) {
    hls.destroy();
    throw error;
  }

  // hls.js lists a video rendition once per audio group.
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
