// The browser's built-in HLS player behind the common player interface; see watch.js.
//
// For iPhones: older versions of iOS have no Media Source Extensions. It chooses renditions by itself.

import { HLS_TYPE } from './title.js';

export async function open(video, url, { fail, from }) {
  if (!video.canPlayType(HLS_TYPE)) throw new Error('this browser has no built-in HLS player');
  const reason = () => ['', 'loading was stopped', 'the network failed', 'decoding failed', 'the format is not supported'][video.error?.code ?? 4];
  let loaded = false;
  await new Promise((resolve, reject) => {
    const failed = () => (loaded ? fail(reason()) : reject(new Error(reason())));
    video.addEventListener('loadedmetadata', resolve, { once: true });
    video.onerror = failed;
    video.src = url;
  }).catch((error) => {
    release(video);
    throw error;
  });
  loaded = true;
  if (from) video.currentTime = from;

  const tracks = (list) => [...(list ?? [])];
  return {
    isAutomatic: true,
    picture: () => undefined,
    choosePicture: () => {},
    sound: () => undefined,
    chooseSound: () => {},
    chooseText: (_, label) => tracks(video.textTracks).forEach((track) => {
      track.mode = label && track.label === label ? 'showing' : 'disabled';
    }),
    throughput: () => null,
    close: () => release(video),
  };
}

function release(video) {
  video.onerror = null;
  video.removeAttribute('src');
  video.load();
}
