// The path under which a reverse proxy serves Trackside, such as /trackside; empty at the top of a host.
export const root = document.documentElement.dataset.root;
